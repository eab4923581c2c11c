"""What each batch of a clip export is cut from: the selected rows of some shards that follow each other, and what the version in force has of their videos.

Both tables are in order of ids and batches follow shards, so one pass over both puts their rows into a file for each batch. The files lie with the pieces of
the export (`cutting/pieces.py`): every process that cuts a batch reads its own alone, a run that goes on finds them, and they go with the pieces. Which
tables they were made from is in their names; if they are gone or damaged, whoever asks writes them again, the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.grouped_rows import GroupedRows
from curation_assets.publish.curating.selected_rows import (
    BATCH_ROWS,
    GroupOfShard,
    counted,
    grouped,
    in_shards,
    selected_batches,
)
from curation_assets.publish.curating.side_by_side import Following, videos_of
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.schemas import schema
from curation_resources import presence
from curation_resources.journal import sealed_line, unsealed
from curation_resources.scratch import scratch_folder
from curation_resources.table_headers import TableHeader
from curation_resources.tables import TableStore

MAX_BATCHES = 256
"""Batches of an export, and so steps of a run."""
LEAST_ROWS = 1_000
"""Selected rows of a batch, at least: some minutes of cutting, against the seconds in which a step starts."""
EXPORT = "clip_dataset"
BATCH = "batch."
"""Begins the names of the files; no key of a shard has a dot."""


@dataclass(frozen=True)
class BatchRows:
    """What a batch is cut from.

    Attributes:
        selected: shard -> its selected rows, in key order.
        earlier: rows of the version in force about their videos.
    """

    selected: Mapping[str, pa.Table]
    earlier: pa.Table


class ExportBatches:
    """The batches of a clip export.

    Args:
        store: where the tables lie.
        pieces: where the files of the batches go.
        curated: of the curated table in force.
        earlier: of the version in force; None if there is none, or nothing of it is to be taken over.
    """

    def __init__(self, store: TableStore, pieces: Pieces, curated: TableHeader, earlier: TableHeader | None) -> None:
        self._store, self._pieces, self._curated, self._earlier = store, pieces, curated, earlier
        made_from = [*((h.tag or h.content_hash) for h in (curated, earlier) if h is not None), MAX_BATCHES, LEAST_ROWS]
        self._tag = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]
        self._shards: list[list[str]] | None = None

    @property
    def shards(self) -> Sequence[Sequence[str]]:
        """The shards of each batch, those with something selected, in order."""
        if self._shards is None:
            self._shards = self._noted() or self._write()
        return self._shards

    def read(self, number: int) -> BatchRows:
        """The rows of a batch."""
        for _ in range(2):
            selected, earlier = (self._pieces.read(self._name(number, what)) for what in ("selected", "earlier"))
            if selected is not None and earlier is not None:
                return BatchRows(in_shards(selected), earlier)
            self._shards = self._write()
        raise FileNotFoundError(
            f"batch {number} of {EXPORT} {self._curated.partition} went while it was read; run again"
        )

    def drop_others(self) -> None:
        """Removes what was written for other tables, unless another run at work may read it."""
        storage, folder = self._pieces.storage, self._pieces.folder
        old = [n for n in storage.list(folder) if n.startswith(BATCH) and not n.startswith(f"{BATCH}{self._tag}")]
        if old and not presence.others(storage, self._curated.partition):
            storage.remove_all([f"{folder}/{name}" for name in old])

    def _name(self, number: int, what: str) -> str:
        return f"{self._pieces.folder}/{BATCH}{self._tag}-{number:05d}.{what}.parquet"

    @property
    def _list(self) -> str:
        return f"{self._pieces.folder}/{BATCH}{self._tag}.json"

    def _noted(self) -> list[list[str]] | None:
        """The shards of each batch as they were written; None if they were not."""
        storage = self._pieces.storage
        said = unsealed(storage.read(self._list)) if storage.exists(self._list) else None
        return json.loads(said) if said is not None else None

    def _write(self) -> list[list[str]]:
        """Groups the rows, and notes the shards of each batch last."""
        asset, key = self._curated.asset, self._curated.partition
        assert key is not None
        shards = grouped(counted(self._store, asset, key), LEAST_ROWS, MAX_BATCHES)
        number, following = GroupOfShard(shards), Following(self._of_version())
        with scratch_folder("batches-") as folder:
            selected, earlier = GroupedRows(Path(folder), "selected"), GroupedRows(Path(folder), "earlier")
            for rows in selected_batches(self._store, asset, key):
                batches = number(rows["shard"])
                selected.add(rows, batches)
                if rows.num_rows:
                    videos = videos_of(rows)
                    of_version = following.until(videos[-1].as_py())
                    at = pc.fill_null(pc.index_in(videos_of(of_version), value_set=videos), -1).to_numpy()
                    earlier.add(of_version, np.where(at >= 0, batches[at], -1))
            selected.close()
            earlier.close()
            for n in range(len(shards)):
                for what, written in (("selected", selected), ("earlier", earlier)):
                    self._pieces.write(self._name(n, what), written.read(n))
                    written.remove(n)
        self._pieces.storage.write(self._list, sealed_line(json.dumps(shards).encode()))
        return shards

    def _of_version(self) -> Iterator[pa.RecordBatch]:
        """The rows of the version in force; columns that tables got after it was made are null in them."""
        form = schema(EXPORT).arrow
        yield pa.RecordBatch.from_pylist([], form)
        if self._earlier is not None:
            for rows in self._store.batches(EXPORT, None, BATCH_ROWS, self._earlier.partition):
                known = rows.schema.names
                columns = [rows[f.name] if f.name in known else pa.nulls(rows.num_rows, f.type) for f in form]
                yield pa.RecordBatch.from_arrays(columns, schema=form)
