"""The clips of all shards: their columns are read from segments a stretch at a time, and of their parts only what is asked for.

Clips with one signature count as one; such a *distinct clip* has a number, in the order of segments and rows, and stands for the first row that shows it.

What belongs here: reading. What does not: the columns (`segments`, `parts`), what is searched (`search`), comparing (`hash_matches`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.decode.measures import windows
from curation_assets.dedup.align import MAX_ANCHORS, Samples
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.buckets import Side
from curation_assets.dedup.index_files import Blocks
from curation_assets.dedup.parts import BLOCKS, flat
from curation_assets.dedup.search import key_bits
from curation_assets.dedup.segments import Kind, Segment


@dataclass(frozen=True)
class Library:
    """The stored clips.

    Attributes:
        segments: columns of all of them.
        opened: opens the part of a shard, by shard and name of the file; it is opened again each time it is read.
    """

    segments: Sequence[Segment]
    opened: Callable[[str, str], Blocks]

    @cached_property
    def _parts(self) -> Sequence[Sequence[str]]:
        return [part for segment in self.segments for part in segment.parts]

    @cached_property
    def shards(self) -> Sequence[str]:
        """Keys of the shards, sorted."""
        return sorted(shard for shard, _ in self._parts)

    @cached_property
    def _place(self) -> NDArray[np.int32]:
        """Of each part the place of its shard in `shards`."""
        place = {shard: number for number, shard in enumerate(self.shards)}
        return np.array([place[shard] for shard, _ in self._parts], np.int32)

    @cached_property
    def _part_start(self) -> Ints:
        """The first row of each part, and the number of all rows."""
        counts = [rows for segment in self.segments for rows in segment.part_rows]
        return np.append(0, np.cumsum(counts)).astype(np.int64)

    @cached_property
    def _row_start(self) -> Ints:
        """The same of each segment."""
        return np.append(0, np.cumsum([segment.rows for segment in self.segments])).astype(np.int64)

    @cached_property
    def _start(self) -> Ints:
        """The first distinct clip of each segment, and the number of all."""
        return np.append(0, np.cumsum([segment.distinct for segment in self.segments])).astype(np.int64)

    @property
    def clips(self) -> int:
        """Number of rows."""
        return int(self._row_start[-1])

    @property
    def distinct(self) -> int:
        """Number of distinct clips."""
        return int(self._start[-1])

    def distinct_before(self, rows: int) -> int:
        """How many distinct clips lie in the first so many rows."""
        k = int(np.searchsorted(self._row_start, rows, side="right")) - 1
        if k == len(self.segments):
            return self.distinct
        firsts = self.segments[k].arrays.read("row")
        return int(self._start[k] + np.searchsorted(firsts, rows - self._row_start[k]))

    @cached_property
    def methods(self) -> Sequence[str]:
        """Names of the methods by which clips are hashed."""
        return list(dict.fromkeys(name for segment in self.segments for name in segment.methods))

    @property
    def key_bits(self) -> int:
        """Bits of the keys of the search (`search`)."""
        return key_bits(self.distinct * MAX_ANCHORS)

    def column(self, name: str) -> NDArray[Any]:
        """A number of each row: signature, exact or duration_ms."""
        kind = np.int64 if name == "duration_ms" else np.uint64
        out = np.empty(self.clips, kind)
        for segment, low, high in zip(self.segments, self._row_start, self._row_start[1:], strict=False):
            out[low:high] = segment.arrays.read(name)
        return out

    def of_rows(self, name: str, rows: Ints) -> NDArray[Any]:
        """The same of some rows."""
        out = np.empty(len(rows), np.int64 if name == "duration_ms" else np.uint64)
        number = np.searchsorted(self._row_start, rows, side="right") - 1
        for k in np.unique(number).tolist():
            mine = np.flatnonzero(number == k)
            out[mine] = self.segments[k].arrays.pick(name, rows[mine] - self._row_start[k])
        return out

    def rows(self, numbers: Ints) -> Ints:
        """The row that stands for each distinct clip."""
        out = np.empty(len(numbers), np.int64)
        of = np.searchsorted(self._start, numbers, side="right") - 1
        for k in np.unique(of).tolist():
            mine = np.flatnonzero(of == k)
            out[mine] = self.segments[k].arrays.pick("row", numbers[mine] - self._start[k]) + self._row_start[k]
        return out

    def tie(self, numbers: Ints) -> NDArray[np.uint64]:
        """Signature of each distinct clip."""
        return self.of_rows("signature", self.rows(numbers))

    def ties(self, low: int, high: int) -> NDArray[np.uint64]:
        """The same of those from one number on to another."""
        out = [np.empty(0, np.uint64)]
        for segment, _, begin, end in self._stretches(low, high):
            rows = segment.arrays.read("row", begin, end)
            shown = segment.arrays.read("signature", int(rows[0]), int(rows[-1]) + 1)
            out.append(shown if len(shown) == len(rows) else shown[rows - rows[0]])
        return np.concatenate(out)

    def rows_with(self, name: str, values: NDArray[np.uint64]) -> Ints:
        """All rows with one of some signatures, or values of `exact`; ascending.

        Args:
            values: sorted, each once.
        """
        out = [np.empty(0, np.int64)]
        for segment, first in zip(self.segments, self._row_start, strict=False):
            ordered = segment.arrays.read(f"{name}.sorted")
            begin, end = (np.searchsorted(ordered, values, side=side) for side in ("left", "right"))
            counts = end - begin
            if not counts.any():
                continue
            order = segment.arrays.read(f"{name}.order")
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            out.append(np.sort(order[np.repeat(begin, counts) + within]) + first)
        return np.concatenate(out)

    def numbers(self, signatures: NDArray[np.uint64]) -> Ints:
        """Numbers of the distinct clips with these signatures, each of which there is."""
        wanted, where = np.unique(signatures, return_inverse=True)
        rows = self.rows_with("signature", wanted)
        first = np.unique(self.of_rows("signature", rows), return_index=True)[1]
        rows = rows[first]
        out = np.empty(len(rows), np.int64)
        of = np.searchsorted(self._row_start, rows, side="right") - 1
        for k in np.unique(of).tolist():
            mine = np.flatnonzero(of == k)
            firsts = self.segments[k].arrays.read("row")
            out[mine] = self._start[k] + np.searchsorted(firsts, rows[mine] - self._row_start[k])
        return out[where]

    def shard_of(self, rows: Ints) -> NDArray[np.int32]:
        """The place of each row's shard in `shards`."""
        return self._place[np.searchsorted(self._part_start, rows, side="right") - 1]

    def best_first(self, numbers: Ints) -> Ints:
        """Places of the distinct clips in the order in which they are taken: longest first."""
        rows = self.rows(numbers)
        return np.lexsort((self.of_rows("signature", rows), -self.of_rows("duration_ms", rows)))

    def _stretches(self, low: int, high: int) -> Iterator[tuple[Segment, int, int, int]]:
        """For a stretch of distinct clips: each segment that has some, where they begin in the stretch, and their numbers in the segment."""
        for segment, start, end in zip(self.segments, self._start, self._start[1:], strict=False):
            begin, stop = max(low, int(start)), min(high, int(end))
            if begin < stop:
                yield segment, begin - low, begin - int(start), stop - int(start)

    def hashes(self, kind: Kind) -> int:
        """Number of all hashes of a kind."""
        return sum(segment.arrays.length(kind) for segment in self.segments)

    def side(self, kind: Kind, method: int, low: int, high: int, change: int = 0) -> Side:
        """The hashes of a stretch of distinct clips, of which those that are hashed by another method have none.

        Args:
            change: bits that are inverted in each hash.
        """
        count = high - low
        start = np.zeros(count + 1, np.int64)
        indexed, comparable = np.zeros(count, np.uint8), np.zeros(count, np.int32)
        taken: list[tuple[Segment, int, int, NDArray[np.bool_] | None]] = []
        for segment, first, begin, end in self._stretches(low, high):
            held = segment.arrays.read(f"{kind}.start", begin, end + 1)
            mine = slice(first, first + end - begin)
            counts = np.diff(held)
            if kind != "window_hashes":
                indexed[mine] = segment.arrays.read(f"{kind}.indexed", begin, end)
                comparable[mine] = segment.arrays.read(f"{kind}.comparable", begin, end)
            marked = None
            if segment.methods != [self.methods[method]]:
                chosen = self._hashed_by(segment, method, begin, end)
                marked = np.repeat(chosen, counts)
                counts = np.where(chosen, counts, 0)
                indexed[mine][~chosen], comparable[mine][~chosen] = 0, 0
            start[first + 1 : first + end - begin + 1] = counts
            taken.append((segment, int(held[0]), int(held[-1]), marked))
        np.cumsum(start, out=start)
        hashes = np.empty(int(start[-1]), np.uint64)
        at = 0
        for segment, begin, end, marked in taken:
            values = segment.arrays.read(kind, begin, end)
            values = values if marked is None else values[marked]
            np.bitwise_xor(values, np.uint64(change), out=hashes[at : at + len(values)])
            at += len(values)
        if kind == "window_hashes":
            indexed = np.minimum(np.diff(start), 255).astype(np.uint8)
        none, nobody = np.empty(0, np.uint64), np.empty(0, np.uint32)
        every = windows.COUNT if kind == "window_hashes" else 1
        return Side(hashes, start, indexed, comparable, none, np.zeros(1, np.int64), nobody, nobody, none, low, every)

    def _hashed_by(self, segment: Segment, method: int, begin: int, end: int) -> NDArray[np.bool_]:
        name = self.methods[method]
        if name not in segment.methods:
            return np.zeros(end - begin, np.bool_)
        codes = segment.arrays.read("method")[segment.arrays.read("row", begin, end)]
        return np.asarray(codes == list(segment.methods).index(name))

    def _files(self, rows: Ints) -> Iterator[tuple[Blocks, Ints, slice]]:
        """For ascending rows: each file that has some, their places in it, and in `rows`."""
        edges = np.searchsorted(rows, self._part_start)
        for number in np.flatnonzero(np.diff(edges)).tolist():
            mine = slice(int(edges[number]), int(edges[number + 1]))
            yield self.opened(*self._parts[number]), rows[mine] - self._part_start[number], mine

    def take(self, block: str, rows: Ints, columns: Sequence[str]) -> pa.Table:
        """Some columns of a block, of these rows in this order; of pictures only the blocks that are asked for are read."""
        order = np.argsort(rows, kind="stable")
        tables = [BLOCKS[block].empty_table().select(columns)]
        for file, local, _ in self._files(rows[order]):
            if block != "pictures":
                tables.append(file.read(block).select(columns).take(local))
                continue
            edges = np.append(0, np.cumsum(file.rows(block)))
            for k in np.unique(np.searchsorted(edges, local, side="right") - 1).tolist():
                low, high = np.searchsorted(local, edges[k : k + 2])
                held = file.read(block, k).select(columns).take(local[low:high] - edges[k])
                tables.append(held.cast(tables[0].schema))
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_tables(tables).take(back).combine_chunks()

    def samples(self, numbers: Ints) -> StoredSamples:
        """All hashes of some distinct clips."""
        rows = self.rows(numbers)
        stored = self.take("samples", rows, BLOCKS["samples"].names)
        return StoredSamples(stored, self.of_rows("duration_ms", rows), self.of_rows("signature", rows))


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
