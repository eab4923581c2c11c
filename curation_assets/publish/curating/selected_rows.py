"""What a subset has selected, shard by shard: the curated table is in order of ids, so its rows are grouped once and kept for all shards.

One pass counts the selected rows of each shard, from two columns. Where rows are asked for, a second one puts them into files of this process, each with
those of some shards that follow each other. What is kept is of one table at a time, and only as long as that table is in force. An export that is cut by
several processes keeps its groups in storage instead (`writing/batch_rows.py`).
"""

from __future__ import annotations

import math
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.grouped_rows import GroupedRows
from curation_resources.scratch import scratch_root
from curation_resources.tables import MissingTable, TableStore

GROUP_ROWS = 100_000
"""Selected rows of the shards that share a file."""
MAX_GROUPS = 256
"""Files that are written at a time; beyond that, they grow."""
BATCH_ROWS = 65_536


def grouped(counts: Mapping[str, int], least: int, most: int) -> list[list[str]]:
    """Shards in order, in groups that follow each other with about as many rows each.

    Args:
        counts: shard -> rows.
        least: rows of a group but the last, at least.
        most: groups.
    """
    wanted = max(least, math.ceil(sum(counts.values()) / most))
    groups: list[list[str]] = []
    rows = wanted
    for shard, count in counts.items():
        if rows >= wanted:
            groups.append([])
            rows = 0
        groups[-1].append(shard)
        rows += count
    return groups


class GroupOfShard:
    """The number of each shard's group, for columns of shards.

    Args:
        groups: shards of each group.
    """

    def __init__(self, groups: list[list[str]]) -> None:
        self._shards = pa.array([s for g in groups for s in g], pa.string())
        self._numbers = np.repeat(np.arange(len(groups)), [len(g) for g in groups])

    def __call__(self, shards: pa.ChunkedArray) -> np.ndarray:
        """int (n,); -1 where a shard has none."""
        at = pc.fill_null(pc.index_in(shards, value_set=self._shards), -1).to_numpy()
        return np.where(at >= 0, self._numbers[at], -1) if len(self._numbers) else np.full(len(at), -1)


def in_shards(rows: pa.Table) -> dict[str, pa.Table]:
    """Shard -> its rows, in the order in which they are; in order of shards."""
    rows = rows.take(pc.sort_indices(rows, [("shard", "ascending")]))  # which keeps the order of equal ones
    runs = pc.run_end_encode(rows["shard"].combine_chunks())
    ends = runs.run_ends.to_pylist()
    spans = zip(runs.values.to_pylist(), [0, *ends[:-1]], ends, strict=True)
    return {shard: rows.slice(start, end - start) for shard, start, end in spans}


def counted(store: TableStore, asset: str, key: str, chosen: np.ndarray | None = None) -> dict[str, int]:
    """Shard -> selected rows of a curated table, in order of shards; of those that are `chosen`, as of `SelectedRows`."""
    found: Counter[str] = Counter()
    for rows in selected_batches(store, asset, key, chosen, ["shard", "selected"]):
        found.update({str(c["values"]): int(c["counts"]) for c in pc.value_counts(rows["shard"]).to_pylist()})
    return dict(sorted(found.items()))


def selected_batches(
    store: TableStore, asset: str, key: str, chosen: np.ndarray | None = None, columns: list[str] | None = None
) -> Iterator[pa.Table]:
    """The selected rows of a curated table in key order, a table for each part that is read; it may be empty, so that its form is known.

    Args:
        chosen: as of `SelectedRows`.
        columns: with `selected`; None for all.
    """
    start = 0
    for batch in store.batches(asset, columns, BATCH_ROWS, key):
        table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
        end = start + table.num_rows
        yield table.filter(table["selected"] if chosen is None else pa.array(chosen[start:end]))
        start = end


class SelectedRows:
    """The selected rows of a curated table.

    Args:
        store: where it lies.
        asset, key: which.
        chosen: bool (n,), for each row of the table whether it is one of those that are asked for; None for all that are selected.

    Attributes:
        counts: shard -> how many, in order of shards.

    Raises:
        MissingTable: it does not exist.
    """

    def __init__(self, store: TableStore, asset: str, key: str, chosen: np.ndarray | None = None) -> None:
        self.counts = counted(store, asset, key, chosen)
        self._source = (store, asset, key, chosen)
        self._groups = grouped(self.counts, GROUP_ROWS, MAX_GROUPS)
        self._number = {shard: n for n, group in enumerate(self._groups) for shard in group}
        self._folder: Path | None = None
        self._writing = threading.Lock()
        self._written: GroupedRows | None = None
        self._read: tuple[int, dict[str, pa.Table]] | None = None

    def _grouped(self) -> GroupedRows:
        """The groups on disk, written when they are first asked for."""
        with self._writing:
            if self._written is None:
                self._folder = Path(mkdtemp(prefix="selected-", dir=scratch_root()))
                written, number = GroupedRows(self._folder, "group"), GroupOfShard(self._groups)
                for rows in selected_batches(*self._source):
                    written.add(rows, number(rows["shard"]))
                written.close()
                self._written = written
            return self._written

    def of(self, shard: str) -> pa.Table:
        """The rows of a shard, in key order."""
        written, number = self._grouped(), self._number.get(shard)
        if number is None:
            return written.form.empty_table()
        if self._read is None or self._read[0] != number:
            self._read = None
            self._read = (number, in_shards(written.read(number)))
        return self._read[1][shard]

    def remove(self) -> None:
        """Removes its files."""
        if self._folder is not None:
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
