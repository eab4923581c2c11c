"""The clips of all shards: what is needed of each is read shard by shard, nothing else stays in memory.

Clips with one signature count as one; such a *distinct clip* has a number, in the order of shards and rows, and stands for the first row that shows it.

What belongs here: reading parts. What does not: the columns (`parts`), what is searched (`search`), comparing (`hash_matches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.decode.measures import windows
from curation_assets.dedup.align import MAX_ANCHORS, Samples
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.buckets import Side
from curation_assets.dedup.index_files import Blocks
from curation_assets.dedup.parts import BLOCKS, flat
from curation_assets.dedup.search import key_bits

Kind = Literal["frames", "center_frames", "flipped_frames", "window_hashes"]

_COUNTS: Final[dict[str, tuple[str, str]]] = {
    "frames": ("indexed", "comparable"),
    "flipped_frames": ("indexed", "comparable"),
    "center_frames": ("center_indexed", "center_comparable"),
}


@dataclass(frozen=True)
class Library:
    """The stored clips.

    Attributes:
        shards: keys of the shards, sorted.
        files: of each shard; opened again each time they are read.
        start: int64 (shards + 1,), the first row of each shard.
        signature, exact: uint64 (rows,).
        method: uint8 (rows,), which of `methods`.
        methods: names.
        duration_ms: int64 (rows,).
    """

    shards: Sequence[str]
    files: Sequence[Blocks]
    start: Ints
    signature: NDArray[np.uint64]
    exact: NDArray[np.uint64]
    method: NDArray[np.uint8]
    methods: Sequence[str]
    duration_ms: Ints

    @staticmethod
    def load(shards: Sequence[str], files: Sequence[Blocks], told: Callable[[Sequence[Any]], Iterator[Any]]) -> Library:
        """
        Args:
            told: yields what it is given and says how far it is.
        """
        start = np.append(0, np.cumsum([sum(f.rows("facts")) for f in files])).astype(np.int64)
        rows = int(start[-1])
        signature, exact = np.empty(rows, np.uint64), np.empty(rows, np.uint64)
        method, duration = np.empty(rows, np.uint8), np.empty(rows, np.int64)
        methods: list[str] = []
        for number, file in enumerate(told(files)):
            facts, mine = file.read("facts"), slice(start[number], start[number + 1])
            signature[mine], exact[mine] = facts["signature"].to_numpy(), facts["exact"].to_numpy()
            duration[mine] = pc.fill_null(facts["duration_ms"], 0).to_numpy()
            methods += [name for name in pc.unique(facts["method"]).to_pylist() if name not in methods]
            method[mine] = pc.index_in(facts["method"], pa.array(methods, pa.string())).to_numpy()
        return Library(shards, files, start, signature, exact, method, methods, duration)

    @cached_property
    def _distinct(self) -> tuple[Ints, Ints]:
        """The row of each distinct clip, and the numbers of the distinct clips in the order of their signatures."""
        rows = np.unique(self.signature, return_index=True)[1]
        by_signature = np.argsort(rows, kind="stable")
        place = np.empty(len(rows), np.int64)
        place[by_signature] = np.arange(len(rows))
        return rows[by_signature], place

    @property
    def rows(self) -> Ints:
        """The row that stands for each distinct clip, ascending."""
        return self._distinct[0]

    @cached_property
    def tie(self) -> NDArray[np.uint64]:
        """Signature of each distinct clip."""
        return self.signature[self.rows]

    @property
    def key_bits(self) -> int:
        """Bits of the keys of the search (`search`)."""
        return key_bits(len(self.rows) * MAX_ANCHORS)

    def numbers(self, signatures: NDArray[np.uint64]) -> Ints:
        """Numbers of the distinct clips with these signatures, each of which there is."""
        order = self._distinct[1]
        return order[np.searchsorted(self.tie[order], signatures)]

    def shard_of(self, rows: Ints) -> NDArray[np.int32]:
        """The place of each row's shard in `shards`."""
        return (np.searchsorted(self.start, rows, side="right") - 1).astype(np.int32)

    def best_first(self, numbers: Ints) -> Ints:
        """Places of the distinct clips in the order in which they are taken: longest first."""
        return np.lexsort((self.tie[numbers], -self.duration_ms[self.rows[numbers]]))

    def side(self, kind: Kind, method: int, change: int = 0) -> Side:
        """The hashes of all distinct clips that are hashed by one method; others have none.

        Args:
            change: bits that are inverted in each hash.
        """
        rows = self.rows
        chosen = self.method[rows] == method
        counts = np.zeros(len(rows), np.int64)
        indexed, comparable = np.zeros(len(rows), np.uint8), np.zeros(len(rows), np.int32)
        block = "windows" if kind == "window_hashes" else "search"
        for part, local, mine in self._parts(rows):
            table = part.read(block)
            held = pc.fill_null(pc.list_value_length(table[kind]), 0).to_numpy()[local]
            counts[mine] = np.where(chosen[mine], held, 0)
            if kind in _COUNTS:
                looked_up, able = (
                    np.where(counts[mine] > 0, table[name].to_numpy()[local], 0) for name in _COUNTS[kind]
                )
                indexed[mine], comparable[mine] = looked_up, able
        start = np.append(0, np.cumsum(counts))
        hashes = np.empty(int(start[-1]), np.uint64)
        for part, local, mine in self._parts(rows):
            values, begin = flat(part.read(block)[kind], np.uint64)
            if counts[mine].sum() == len(values):
                taken = values
            else:
                marked = np.zeros(len(begin) - 1, np.bool_)
                marked[local[counts[mine] > 0]] = True
                taken = values[np.repeat(marked, np.diff(begin))]
            np.bitwise_xor(taken, np.uint64(change), out=hashes[start[mine.start] : start[mine.stop]])
        if kind == "window_hashes":
            indexed = np.minimum(counts, 255).astype(np.uint8)
        nothing = np.empty(0, np.uint64)
        every = windows.COUNT if kind == "window_hashes" else 1
        return Side(hashes, start, indexed, comparable, nothing, np.zeros(1, np.int64), np.empty(0, np.uint32), every)

    def _parts(self, rows: Ints) -> Iterator[tuple[Blocks, Ints, slice]]:
        """For ascending rows: each file that has some, their places in it, and in `rows`."""
        edges = np.searchsorted(rows, self.start)
        for number in np.flatnonzero(np.diff(edges)).tolist():
            mine = slice(int(edges[number]), int(edges[number + 1]))
            yield self.files[number], rows[mine] - self.start[number], mine

    def take(self, block: str, rows: Ints, columns: Sequence[str]) -> pa.Table:
        """Some columns of a block, of these rows in this order; of pictures only the blocks that are asked for are read."""
        order = np.argsort(rows, kind="stable")
        tables = [BLOCKS[block].empty_table().select(columns)]
        for file, local, _ in self._parts(rows[order]):
            if block != "pictures":
                tables.append(file.read(block).select(columns).take(local))
                continue
            edges = np.append(0, np.cumsum(file.rows(block)))
            for k in np.unique(np.searchsorted(edges, local, side="right") - 1).tolist():
                low, high = np.searchsorted(local, edges[k : k + 2])
                tables.append(file.read(block, k).select(columns).take(local[low:high] - edges[k]))
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_tables(tables).take(back).combine_chunks()

    def samples(self, numbers: Ints) -> StoredSamples:
        """All hashes of some distinct clips."""
        rows = self.rows[numbers]
        stored = self.take("samples", rows, BLOCKS["samples"].names)
        return StoredSamples(stored, self.duration_ms[rows], self.tie[numbers])


@dataclass(frozen=True)
class StoredSamples:
    """The hashed frames of some distinct clips, as they were read.

    Attributes:
        stored: the clips' rows of the block.
        duration_ms, tie: as `Samples` has them.
    """

    stored: pa.Table
    duration_ms: Ints
    tie: NDArray[np.uint64]

    def of(self, *, center: bool = False) -> Samples:
        """The whole frames, or their central parts, of which some clips have none."""
        values, start = flat(self.stored["center_hashes" if center else "hashes"], np.uint64)
        blank = flat(self.stored["center_blank" if center else "blank"], np.bool_)[0]
        times, time_start = flat(self.stored["time_ms"], np.int64)
        times = times[np.repeat(np.diff(start) > 0, np.diff(time_start))]
        return Samples(start, values, times, blank, self.duration_ms, self.tie, center)
