"""The rows of `duplicate_clusters` as the index keeps them: in order, in blocks of which each is a file, so that an update writes those that changed and none is
held beyond its turn.

What belongs here: blocks, and how other rows come into their order. What does not: which rows there are (`clusters`), their columns (`cluster_table`), the table
that is committed (`comparison`).
"""

from __future__ import annotations

import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.dedup import index_files as dedup_files
from curation_assets.dedup.index_files import open_blocks
from curation_assets.dedup.segments import among
from curation_assets.schemas import schema
from curation_resources.storage import Storage

FOLDER: Final = "chosen"
BLOCK_ROWS: Final = 1 << 16
"""A block has so many rows, or up to twice as many where rows came into it, and a quarter at least unless it is the last."""

SIGNATURE: Final = "signature"
"""Column behind those of the table: uint64, of the fingerprint of the clip."""

_ID: Final = 16
_NAME: Final = "rows"

Hashes = NDArray[np.uint64]
Entry = Mapping[str, Any]
"""A block in the manifest: file and hash; rows; of the last one shard and cluster_id; and how many rows there are of which relation."""


@dataclass(frozen=True)
class ClusterRows:
    """Rows by shard, cluster and clip.

    Attributes:
        storage, folder: where the index is.
        entries: the blocks, in order.
    """

    storage: Storage
    folder: str
    entries: Sequence[Entry]

    def __len__(self) -> int:
        return sum(entry["rows"] for entry in self.entries)

    @property
    def relations(self) -> dict[str, int]:
        """Relation -> number of rows that were dropped for it, most frequent first."""
        found: dict[str, int] = {}
        for entry in self.entries:
            for name, count in entry["relations"].items():
                found[name] = found.get(name, 0) + count
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def paths(self) -> set[str]:
        """The files of all blocks in storage."""
        return {f"{self.folder}/{entry['file']}" for entry in self.entries}

    def block(self, number: int) -> pa.Table:
        """The rows of a block with their signatures.

        Raises:
            DamagedIndex: its bytes are not those that were written.
        """
        entry = self.entries[number]
        return open_blocks(self.storage, f"{self.folder}/{entry['file']}", entry["hash"]).read(_NAME)

    def tables(self) -> Iterator[pa.Table]:
        """The rows as the table has them, a block at a time."""
        for number in range(len(self.entries)):
            yield self.block(number).drop_columns([SIGNATURE])

    def table(self) -> pa.Table:
        """All of them."""
        return pa.concat_tables([schema("duplicate_clusters").empty(), *self.tables()]).combine_chunks()


def write_rows(storage: Storage, folder: str, items: Iterable[pa.Table | Entry]) -> ClusterRows:
    """Writes blocks; those that there are stay until the index does not name them.

    Args:
        items: rows in order, with their signatures; or a block that stands as it is.
    """
    entries: list[Entry] = []
    held: pa.Table | None = None

    def write(rows: pa.Table) -> None:
        file = f"{FOLDER}/{uuid.uuid4().hex}.blocks"
        written = dedup_files.write_blocks(storage, f"{folder}/{file}", [(_NAME, rows)])
        tally = pc.value_counts(rows["relation"].drop_null()).to_pylist()
        last = rows.slice(len(rows) - 1).to_pylist()[0]
        entries.append(
            {
                "file": file,
                "hash": written,
                "rows": len(rows),
                "last": [last["shard"], last["cluster_id"]],
                "relations": {t["values"]: t["counts"] for t in tally},
            }
        )

    for item in items:
        if isinstance(item, pa.Table):
            held = item if held is None else pa.concat_tables([held, item])
            while len(held) > 2 * BLOCK_ROWS:
                write(held.slice(0, BLOCK_ROWS).combine_chunks())
                held = held.slice(BLOCK_ROWS)
            continue
        if held is not None and len(held):
            write(held.combine_chunks())
        held = None
        entries.append(item)
    if held is not None and len(held):
        write(held.combine_chunks())
    return ClusterRows(storage, folder, entries)


def with_other_rows(earlier: ClusterRows, again: Hashes, others: Iterator[pa.Table]) -> Iterator[pa.Table | Entry]:
    """The rows of before but those of some clips, and other rows at their places; blocks in which nothing changes as they are.

    Args:
        again: signatures of the clips that are concerned, sorted.
        others: their rows, in order, with signatures. A cluster is theirs or has none of theirs.
    """
    rest = _Rest(others)
    small: pa.Table | None = None
    for number, entry in enumerate(earlier.entries):
        rows = earlier.block(number)
        stay = ~among(rows[SIGNATURE].to_numpy(), again)
        more = rest.up_to(*entry["last"])
        if small is None and not len(more) and stay.all():
            yield entry
            continue
        kept = rows if stay.all() else rows.filter(pa.array(stay))
        merged = in_order(pa.concat_tables([kept, more])) if len(more) else kept
        small = merged if small is None else pa.concat_tables([small, merged])
        if len(small) >= BLOCK_ROWS // 4:
            yield small
            small = None
    if small is not None:
        yield small
    yield from rest.others()


class _Rest:
    """Tables in order, of which rows are taken up to a place."""

    def __init__(self, tables: Iterator[pa.Table]) -> None:
        self._tables = tables
        self._table: pa.Table | None = next(tables, None)

    def up_to(self, shard: str, cluster: str) -> pa.Table:
        """The next rows, the last of which belong to a cluster of a shard or lie before it."""
        taken = []
        while self._table is not None:
            table, bound = self._table, (shard, cluster)
            shards, ids = table["shard"], table["cluster_id"]
            count = bisect_right(range(len(table)), bound, key=partial(_place, shards, ids))
            taken.append(table.slice(0, count))
            if count < len(table):
                self._table = table.slice(count)
                break
            self._table = next(self._tables, None)
        return pa.concat_tables(taken) if taken else _NOTHING

    def others(self) -> Iterator[pa.Table]:
        """All that were not taken."""
        if self._table is not None:
            yield self._table
        yield from self._tables


def _place(shards: pa.ChunkedArray, ids: pa.ChunkedArray, row: int) -> tuple[str, str]:
    return shards[row].as_py(), ids[row].as_py()


_NOTHING: Final = schema("duplicate_clusters").empty().append_column(SIGNATURE, pa.array([], pa.uint64()))


def in_order(rows: pa.Table) -> pa.Table:
    """Rows by shard and cluster; those of one cluster are in order already, since all of them come from one side."""
    shards = rows["shard"].combine_chunks().dictionary_encode()
    names = shards.dictionary.to_pylist()
    place = np.empty(len(names), np.int64)
    place[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    ids = rows["cluster_id"].cast(pa.binary()).cast(pa.binary(_ID)).combine_chunks()
    data = np.frombuffer(ids.buffers()[1], np.uint8)[ids.offset * _ID : (ids.offset + len(ids)) * _ID]
    halves = data.copy().view(">u8").reshape(-1, 2).astype(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0], place[shards.indices.to_numpy()]))
    return rows.take(pa.array(order)).combine_chunks()
