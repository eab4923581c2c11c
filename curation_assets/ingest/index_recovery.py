"""The dataset index made again from `video_metadata`, which says the same of every shard that was ever looked at.

Which video belongs to which shard is written nowhere else, and must stay as it is: everything that was made goes by it. What belongs here:
turning rows of `video_metadata` back into rows of the index (`video_metadata.py` turned them). What does not: reading sources, which
adds what no shard has yet (`dataset_index.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.ingest.normal_form import STATUS
from curation_assets.ingest.sources.rows import canonical_json
from curation_assets.schemas import schema
from curation_resources.tables import TableStore

INDEX_STATUS = {ours: theirs for theirs, ours in STATUS.items()}
WHOLE = ("title", "caption", "captions", "licence")
"""Columns that records have under the same names."""


def index_rows(shard: str, metadata: pa.Table) -> pa.Table:
    """The rows of a shard in the index, from its `video_metadata`."""
    rows = [
        {
            "dataset": row["dataset"],
            "video_id": row["video_id"],
            "shard": shard,
            "status": INDEX_STATUS[row["status"]],
            "source": row["source"],
            "line": row["line"],
            "record": _record(row),
            "error": row["error"] if row["status"] == "rejected" else None,
        }
        for row in metadata.to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema("dataset_index").arrow)


def _record(row: Mapping[str, Any]) -> str | None:
    extra = None if row["extra"] is None else orjson.loads(row["extra"])
    if row["status"] == "rejected":
        text = extra["text"] if extra else None
        return text if text is None else str(text)
    record = {"url": row["url"], **{name: row[name] for name in WHOLE if row[name] is not None}}
    if row["spans"]:
        record["spans"] = [_span(span) for span in row["spans"]]
    if extra is not None:
        record["extra"] = extra
    return canonical_json(record)


def _span(span: Mapping[str, Any]) -> list[Any]:
    captions = span["captions"] or ([] if span["caption"] is None else [span["caption"]])
    words: dict[str, Any] = {"captions": captions} if captions else {}
    words |= {} if span["licence"] is None else {"licence": span["licence"]}
    words |= {} if span["extra"] is None else {"extra": orjson.loads(span["extra"])}
    return [span["clip_id"], span["start_ms"], span["end_ms"], *([words] if words else [])]


def recovered_index(store: TableStore, path: Path) -> int:
    """Writes an index of all shards that have `video_metadata` to a local Parquet file.

    Returns:
        how many shards it has.

    Raises:
        DamagedTable: the `video_metadata` of a shard is damaged too.
    """
    shards = sorted(store.partitions("video_metadata"))
    with pq.ParquetWriter(path, schema("dataset_index").arrow) as writer:
        for shard in shards:
            writer.write_table(index_rows(shard, store.read("video_metadata", shard)))
    return len(shards)
