"""What is said of downloads: their numbers, their columns in the table at the end of a run, their part of a video's history."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.telling import Counted, Subject, SummaryColumn, Told, summed
from curation_assets.showing.figures import counts
from curation_assets.showing.telling import bytes_of, lines_of
from curation_resources.table_headers import TableHeader

COUNTED = Counted("videos fetched", "ok", "video_s", 3600, length=("duration_ms",))


def _failed(heads: Sequence[TableHeader]) -> str:
    found: Counter[str] = Counter()
    for head in heads:
        found.update(head.stats.get("errors", {}))
    return ", ".join(f"{k} {v}" for k, v in sorted(found.items())) or "0"


SUMMARY = (
    summed("videos"),
    summed("ok", "ok"),
    SummaryColumn("failed", _failed),
    summed("MB", "bytes", shown=lambda b: f"{b / 1e6:.1f}"),
    summed("fetch s", "wall_s", shown=lambda s: f"{s:.1f}"),
)


def recounted(table: pa.Table) -> Mapping[str, Any]:
    """The numbers kept with `raw_shards` that follow from its rows."""
    ok = table.filter(pc.equal(table["status"], "ok"))
    seconds = (pc.sum(ok["duration_ms"]).as_py() or 0) / 1000
    return {
        **{"ok": 0, "failed": 0, "rejected": 0},
        **counts(table, "status"),
        "bytes": pc.sum(ok["size"]).as_py() or 0,
        "video_s": round(seconds, 1),
        "hours": round(seconds / 3600, 4),
        "errors": dict(sorted(counts(table, "error_class").items())),
    }


def told(subject: Subject) -> Iterator[Told]:
    """How the download of a video went and where its bytes lie."""
    for row in subject.rows("raw_shards"):
        lines = lines_of(row, {"tar", "offset", "size", "subtitles", "info"})
        yield "download", [*lines, ("bytes", bytes_of(subject.store, row))]
