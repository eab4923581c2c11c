"""What a subset has selected, shard by shard: the curated table is in order of ids, so its rows are grouped once and kept for all shards.

One pass puts the selected rows into files of this process, each with those of some shards that follow each other; a shard is read from
its file. What is kept is of one table at a time, and only as long as that table is in force.
"""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from pathlib import Path
from tempfile import mkdtemp

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_resources.scratch import scratch_root
from curation_resources.tables import MissingTable, TableStore

GROUP_ROWS = 100_000
"""Selected rows of the shards that share a file."""
BATCH_ROWS = 65_536


class SelectedRows:
    """The selected rows of a curated table.

    Args:
        store: where it lies.
        asset, key: which.

    Attributes:
        counts: shard -> how many, in order of shards.

    Raises:
        MissingTable: it does not exist.
    """

    def __init__(self, store: TableStore, asset: str, key: str) -> None:
        self.counts = self._counted(store, asset, key)
        self._folder = Path(mkdtemp(prefix="selected-", dir=scratch_root()))
        self._group: dict[str, int] = {}
        self._read: tuple[int, pa.Table] | None = None
        self._form = self._write(store, asset, key)

    @staticmethod
    def _counted(store: TableStore, asset: str, key: str) -> dict[str, int]:
        found: Counter[str] = Counter()
        for batch in store.batches(asset, ["shard", "selected"], BATCH_ROWS, key):
            of_batch = pc.value_counts(batch.filter(batch["selected"])["shard"])
            found.update({str(c["values"]): int(c["counts"]) for c in of_batch.to_pylist()})
        return dict(sorted(found.items()))

    def _write(self, store: TableStore, asset: str, key: str) -> pa.Schema:
        rows = 0
        for shard, count in self.counts.items():
            self._group[shard] = rows // GROUP_ROWS
            rows += count
        numbers = pa.array(self._group.values(), pa.int64())
        shards = pa.array(self._group, pa.string())
        form = pa.schema([])
        writers: dict[int, pq.ParquetWriter] = {}
        try:
            for batch in store.batches(asset, None, BATCH_ROWS, key):
                table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
                form = table.schema
                table = table.filter(table["selected"])
                groups = numbers.take(pc.index_in(table["shard"].combine_chunks(), value_set=shards))
                for group in pc.unique(groups).to_pylist():
                    if group not in writers:
                        writers[group] = pq.ParquetWriter(self._path(group), form, compression="lz4")
                    writers[group].write_table(table.filter(pc.equal(groups, group)))
        finally:
            for writer in writers.values():
                writer.close()
        return form

    def _path(self, group: int) -> Path:
        return self._folder / f"{group:06d}.parquet"

    def of(self, shard: str) -> pa.Table:
        """The rows of a shard, in key order."""
        group = self._group.get(shard)
        if group is None:
            return self._form.empty_table()
        if self._read is None or self._read[0] != group:
            self._read = (group, pq.read_table(self._path(group), partitioning=None))
        table = self._read[1]
        return table.filter(pc.equal(table["shard"], shard))

    def remove(self) -> None:
        """Removes its files."""
        shutil.rmtree(self._folder, ignore_errors=True)


_lock = threading.Lock()
_kept: dict[tuple[str, str, str], tuple[str, SelectedRows]] = {}


def selected_rows(store: TableStore, asset: str, key: str) -> SelectedRows:
    """The selected rows of the curated table in force, grouped once for each content of it.

    Raises:
        MissingTable: it does not exist.
    """
    header = store.header(asset, key)
    if header is None:
        raise MissingTable(
            f"{asset} does not exist for {key}: materialize it first ({store.storage.uri(store.path(asset, key))})"
        )
    name, made = (store.storage.root, asset, key), header.tag or header.content_hash
    with _lock:
        held = _kept.get(name)
        if held is None or held[0] != made:
            while _kept:
                _kept.popitem()[1][1].remove()
            held = _kept[name] = (made, SelectedRows(store, asset, key))
        return held[1]
