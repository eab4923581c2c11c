"""What a model said of clips that a pre-filter leaves out now, kept beside the table: a stricter `where` that is taken back asks for nothing anew.

An answer holds while all holds that was asked: code version, parameters but `where`, weights, and the video's rows in the tables that the model sees. What is
kept is no result. It stands in no table, lies in the partition's folder, and may go at any time, at the cost of asking again.

Answers in the table in force are known by its parameters where it has no pre-filter, else by the list of its clips in this file, which says which table it is
about: a run that is killed between the file and its table leaves a list that counts for nothing, and rows that are not in that table are kept until one has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.engine.making import VIDEOS, expected, video_hashes
from curation_assets.schemas import schema
from curation_resources import sealed_parquet
from curation_resources.provenance import Provenance, canonical_json
from curation_resources.table_headers import KEPT_FILE, TableHeader

if TYPE_CHECKING:
    from curation_assets.contracts.component import Component
    from curation_assets.engine.shard import Shard

SAID = b"curation.kept"
"""Metadata of the file: how its answers were had, which table it is about, and its videos."""


@dataclass
class _File:
    """What was kept.

    Attributes:
        way: how the answers were had.
        table: fingerprint of the table that `passed` is about.
        videos: video_id -> `asked`, the hash of its inputs; `passed` and `left`, the clips that were answered and are in the table, and in `rows`.
        rows: of the clips that were left out.
    """

    way: str
    table: str
    videos: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: pa.Table | None = None


class KeptAnswers:
    """The answers that are known of a shard's clips.

    Args:
        shard: as the stage sees it.
        part: the table, one with a pre-filter whose parameters have `where`.
        clips: all clips that the stage sees.
        passing: those of them that pass it, from `passing_clips`.
        reads: those of the stage.

    Attributes:
        to_ask: those of `passing` of which nothing is known.
    """

    def __init__(
        self,
        shard: Shard,
        part: Component,
        clips: pa.Table,
        passing: pa.Table,
        reads: Mapping[str, Callable[[pa.Table], pa.Table]] | None = None,
    ) -> None:
        self._shard, self._part = shard, part
        self._now = expected(part, shard)
        self._asked = video_hashes(shard, part.inputs, reads or {})
        clips = clips.filter(pc.equal(clips["status"], "ok"))
        self._video = dict(zip(clips["clip_id"].to_pylist(), clips["video_id"].to_pylist(), strict=True))
        self._passing = set(passing["clip_id"].drop_null().to_pylist()) & self._video.keys()
        self._header = None if shard.force else shard.store.usable_header(part.asset, shard.key)
        self._file = None if shard.force else self._read()
        self._in_table = self._of_table()
        self._aside = self._left_out() - self._in_table
        known = self._in_table | self._aside
        self.to_ask = passing.filter(pc.invert(_among(passing["clip_id"], known)))

    @property
    def reused(self) -> int:
        """Clips that are not asked about, because the answer is known."""
        return len(self._passing & (self._in_table | self._aside))

    def joined(self, new: pa.Table, faulty: Collection[str] = (), failed: Collection[str] = ()) -> pa.Table:
        """The rows of all clips that pass, and keeps those of the others.

        Args:
            new: rows of the clips in `to_ask`.
            faulty: videos that could not be read in full: what is said of their clips is no answer.
            failed: clips likewise.
        """
        rows = [new, *(t for t in (self._table_rows, self._aside_rows) if t.num_rows)]
        found = pa.concat_tables([self._fitting(r) for r in rows])
        found = found.filter(_among(found["clip_id"], self._passing))
        unread = frozenset(faulty)
        self._write({*_without_answer(new), *failed, *(c for c, v in self._video.items() if v in unread)})
        return found.sort_by([(k, "ascending") for k in schema(self._part.asset).key])

    @cached_property
    def _table_rows(self) -> pa.Table:
        table = self._shard.previous(self._part.asset) if self._in_table else None
        table = schema(self._part.asset).empty() if table is None else table
        return table.filter(_among(table["clip_id"], self._in_table))

    @cached_property
    def _aside_rows(self) -> pa.Table:
        kept = self._file.rows if self._file is not None and self._aside else None
        kept = schema(self._part.asset).empty() if kept is None else kept
        return kept.filter(_among(kept["clip_id"], self._aside))

    def _fitting(self, rows: pa.Table) -> pa.Table:
        return self._shard.store.prepare(self._part.asset, rows)

    def _of_table(self) -> set[str]:
        """The clips that were answered, and whose rows, if there are any, stand in the table in force."""
        header = self._header
        if header is None or _way(header.provenance) != _way(self._now):
            return set()
        if not _where(header.provenance):
            before = header.stats.get(VIDEOS, {})
            answered = {c for c, v in self._video.items() if before.get(v) == self._asked.get(v)}
        else:
            answered = self._said(header, "passed")
        rows = self._shard.previous(self._part.asset)
        return answered - set(_without_answer(rows)) if rows is not None else set()

    def _left_out(self) -> set[str]:
        return self._said(None, "left") if self._file is not None and self._file.way == _way(self._now) else set()

    def _said(self, header: TableHeader | None, what: str) -> set[str]:
        """Clips that the file names, of videos that are as they were; where it is about that table, if one is given."""
        if self._file is None or (header is not None and self._file.table != header.fingerprint):
            return set()
        same = [v for v in self._file.videos.items() if v[1]["asked"] == self._asked.get(v[0])]
        return {c for _, said in same for c in said[what]} & self._video.keys()

    @property
    def _path(self) -> str:
        return f"{self._shard.folder(self._part.asset)}/{KEPT_FILE}"

    def _read(self) -> _File | None:
        storage = self._shard.storage
        if not storage.exists(self._path):
            return None
        try:
            rows = sealed_parquet.read_bytes(storage.read(self._path))
            said = json.loads((rows.schema.metadata or {})[SAID])
        except (sealed_parquet.Damaged, KeyError, ValueError) as error:
            self._shard.log.warning(f"{self._path} is damaged ({error}); what it keeps is asked for again")
            return None
        return _File(said["way"], said["table"], said["videos"], rows.replace_schema_metadata(None))

    def _write(self, unanswered: Collection[str]) -> None:
        """Keeps the rows of clips that are left out now, and says of which clips the table that is being made has the answers."""
        dropped = self._in_table - self._passing
        left = self._aside | dropped
        passed = self._passing - set(unanswered)
        videos: dict[str, dict[str, Any]] = {v: {"asked": h, "passed": [], "left": []} for v, h in self._asked.items()}
        for clips, what in ((passed, "passed"), (left, "left")):
            for clip in sorted(clips):
                videos[self._video[clip]][what].append(clip)
        rows = [self._aside_rows, self._table_rows.filter(_among(self._table_rows["clip_id"], dropped))]
        if self._file is not None and self._file.way == _way(self._now):
            others = {v: said for v, said in self._file.videos.items() if v not in videos}
            current = self._header is not None and self._file.table == self._header.fingerprint
            videos |= {v: said if current else {**said, "passed": []} for v, said in others.items()}
            if self._file.rows is not None:
                rows.append(self._file.rows.filter(_among(self._file.rows["video_id"], others)))
        if not _where(self._now) and not any(said["left"] for said in videos.values()):
            if self._file is not None:
                self._shard.storage.remove(self._path)
            return
        said = {"way": _way(self._now), "table": self._now.fingerprint, "videos": videos}
        kept = pa.concat_tables([self._fitting(r) for r in rows]).replace_schema_metadata({SAID: json.dumps(said)})
        with self._shard.storage.publish(self._path) as file:
            sealed_parquet.write_table(kept, file)


def _where(provenance: Provenance) -> Any:
    """The pre-filter that a table was made with."""
    return provenance.params.get("where") if isinstance(provenance.params, Mapping) else None


def _way(provenance: Provenance) -> str:
    """How a model is asked, whatever about."""
    params = provenance.params if isinstance(provenance.params, Mapping) else {}
    asked = {k: v for k, v in params.items() if k != "where"}
    return canonical_json([provenance.code_version, asked, dict(provenance.weights)])


def _without_answer(rows: pa.Table) -> set[str]:
    """Clips of which a row says that something went wrong."""
    if "error" not in rows.column_names:
        return set()
    return set(rows.filter(pc.is_valid(rows["error"]))["clip_id"].to_pylist())


def _among(column: pa.ChunkedArray, values: Collection[str]) -> pa.ChunkedArray:
    """Whether each value is one of some; null is none."""
    return pc.fill_null(pc.is_in(column, value_set=pa.array(sorted(values), pa.string())), False)
