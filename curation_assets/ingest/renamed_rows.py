"""The rows of one dataset in the index of all: read, taken out or put under another name, a row group at a time, since an index may be larger than memory.

What belongs here: which rows, and their order. What does not: what they say under another name (`renaming.py`), other tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.engine.declared import stats_without
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.slices import SliceHashes, drop_old_slices, write_slices
from curation_assets.ingest.dataset_index import TABLE
from curation_resources.scratch import scratch_folder
from curation_resources.tables import SLICED_ROWS, TableStore
from curation_resources.written_table import WrittenTable

Change = Callable[[pa.Table], pa.Table]


def rows_of_dataset(store: TableStore, dataset: str) -> Iterator[pa.Table]:
    """The rows of a dataset, in order, a table for each row group that has some."""
    return _rows(store, _places(store, dataset, dataset)[1], lambda rows: pc.equal(rows["dataset"], dataset))


def rewrite_index(store: TableStore, old: str, new: str | None = None, renamed: Change | None = None) -> None:
    """Commits the index without the rows of a dataset, or with them under another name, at the place that is theirs then.

    Args:
        old: the dataset.
        new, renamed: its other name, and its rows under that.
    """
    header = store.header(TABLE.asset)
    assert header is not None
    below, _, above = _places(store, old, new or old)
    first = f"{new or old}-"
    others = (
        lambda rows: pc.and_(pc.not_equal(rows["dataset"], old), pc.less(rows["shard"], first)),
        lambda rows: pc.and_(pc.not_equal(rows["dataset"], old), pc.greater_equal(rows["shard"], first)),
    )
    slices = SliceHashes(TABLE.asset)
    with scratch_folder("index-") as scratch:
        local = Path(scratch) / "index.parquet"
        with WrittenTable(local, TABLE) as written:

            def write(parts: Iterator[pa.Table], change: Change = lambda rows: rows) -> None:
                for rows in parts:
                    slices.update(written.add(change(rows), SLICED_ROWS))

            write(_rows(store, below, others[0]))
            if renamed is not None:
                write(rows_of_dataset(store, old), renamed)
            write(_rows(store, above, others[1]))
        write_slices(store, TABLE.asset, written.parts.hexdigest(), slices.table())
        stats = stats_without(header, old, new)
        made = store.commit_written(TABLE.asset, None, local, header.provenance, written.parts, stats, header)
    drop_old_slices(store, made)


def _places(store: TableStore, old: str, new: str) -> tuple[list[int], list[int], list[int]]:
    """Row groups with rows of other datasets that come before those of one named `new`, with rows of `old`, and with rows of others that come after."""
    below, own, above = list[int](), list[int](), list[int]()
    for number, rows in enumerate(store.groups(TABLE.asset, ["shard"], coded=["shard"])):
        shards = pc.unique(rows["shard"].combine_chunks()).dictionary.to_pylist()
        others = [shard for shard in shards if dataset_of(shard) != old]
        for places, some in (
            (below, any(shard < f"{new}-" for shard in others)),
            (own, len(others) < len(shards)),
            (above, any(shard >= f"{new}-" for shard in others)),
        ):
            places += [number] if some else []
    return below, own, above


def _rows(store: TableStore, groups: Sequence[int], which: Callable[[pa.Table], pa.ChunkedArray]) -> Iterator[pa.Table]:
    for rows in store.groups(TABLE.asset, TABLE.names, chosen=groups):
        yield rows.filter(which(rows))
