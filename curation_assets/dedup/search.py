"""Which pairs of clips show near hashes: candidates for an exact comparison, from locality-sensitive hashing by bit sampling.

A table of the search compares the hashes that agree in some bits, chosen once and for all. A pair is found or not whatever else is stored: buckets have no
cap, and the bits depend on the number of hashes only, by its magnitude. The kernels keep only pairs that can match at all (`worth`).

What belongs here: how many tables of how many bits keep which promise, and the pieces into which a search is divided. What does not: the loops (`join`).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup import buckets, join, probe
from curation_assets.dedup.buckets import GROUP, ODD, Key, Side
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.grouped import Grouped, as_they_lie, grouped, shared_bits
from curation_assets.dedup.worth import LATELY_BITS, Worth, worth_comparing
from curation_resources.progress import told

Ints = NDArray[np.int64]
Pairs = NDArray[np.uint64]
"""Pairs of clips, sorted, each once: the first number in the upper 32 bits."""

RECALL: Final = 0.995
"""Chance to find the least pair that is promised (`promised`)."""

BUCKET_BITS: Final = 9
"""About 512 hashes have one key: fewer need more tables, since keys are longer, and more take longer to compare."""

MOST_BITS: Final = 26
MOST_COARSE_BITS: Final = 9
SPARE_BITS: Final = 2
MAX_TABLES: Final = 1024

LIKELY_DISTANCE: Final = 6
LIKELY_FRAMES: Final = 4
"""What `search: copies` promises: pairs of which so many indexed frames lie within that distance."""

DOUBTFUL: Final = 0.5
"""A pair of which less than so much of `Dedup.coverage` agrees, whatever the alignment, is not even a doubtful one."""

SAMPLED_BITS: Final = 10
"""From keys of more bits (about a million hashes) only some of the pairs that are no more than doubtful are compared: only the audit shows them."""

CONSTANT: Final = {"phash": 1 << 63}
"""Bits that are the same in nearly all hashes of a method, and not in keys: of phash that of the mean."""

FEW: Final = 0.2
"""Where at most this share of the clips is new, the others are gone through once for each table and not sorted."""

_ITEM_BYTES: Final = 12


def key_bits(hashes: int) -> int:
    """Bits of a key for so many hashes."""
    return min(MOST_BITS, max(0, round(math.log2(max(1, hashes))) - BUCKET_BITS))


def masked(mask: int, bits: int) -> Key:
    """A key by a mask of so many bits: stretches of some 100,000 hashes, and no more than 512 of them, since each is written to at the same time."""
    more = bits + SPARE_BITS if bits else 0
    return Key(np.uint64(mask), ODD, more, min(MOST_COARSE_BITS, max(0, bits - 8)))


def agreement(distance: int, bits: int, free: int = 64) -> float:
    """Chance that so many random bits, of those that are not constant, of two hashes at the given distance agree."""
    return math.comb(free - distance, bits) / math.comb(free, bits)


def tables(distance: int, bits: int, frames: int = 2, free: int = 64) -> int:
    """Number of tables at which so many frames at this distance give a pair with chance `RECALL` (capped at `MAX_TABLES`)."""
    agree = agreement(distance, bits, free)
    if agree == 1:
        return 1
    return min(MAX_TABLES, math.ceil(math.log(1 - RECALL) / (frames * math.log(1 - agree))))


def expected_recall(distance: int, frames: int, bits: int, count: int, free: int = 64) -> float:
    """Chance to find a pair of which so many frames lie at exactly this distance."""
    return 1.0 - (1.0 - agreement(distance, bits, free)) ** (frames * count)


def promised(params: Dedup) -> tuple[int, int]:
    """Distance and number of frames of the least pair that is found with chance `RECALL`."""
    if params.search == "copies":
        return min(LIKELY_DISTANCE, params.distance), max(LIKELY_FRAMES, params.matches)
    return params.distance, params.matches


@dataclass(frozen=True)
class Plan:
    """How a kind of hashes is searched.

    Attributes:
        bits: of a key.
        count: number of tables.
        free: bits that are not constant, as a mask.
    """

    bits: int
    count: int
    free: int

    @staticmethod
    def of(bits: int, method: str, params: Dedup, fewer: int = 1) -> Plan:
        """
        Args:
            bits: of a key (`key_bits`).
            fewer: so many times fewer tables than promised.
        """
        free = (1 << 64) - 1 - CONSTANT.get(method, 0)
        distance, frames = promised(params)
        return Plan(bits, -(-tables(distance, bits, frames, free.bit_count()) // fewer), free)

    def key(self, table: int) -> Key:
        places = [k for k in range(64) if self.free >> k & 1]
        mask = sum(1 << k for k in random.Random(table).sample(places, self.bits))
        return masked(mask, self.bits)

    def recall(self, distance: int, frames: int) -> float:
        return expected_recall(distance, frames, self.bits, self.count, self.free.bit_count())


@dataclass(frozen=True)
class Search:
    """A search that can be divided: pieces are independent, and their results are joined by `unique`. Cheap to hand to another process that
    shares memory.

    Attributes:
        left: hashes of clips.
        right: hashes of other clips, or of another kind; None searches within `left`.
        fresh: bool (all clips,); only pairs with at least one clip marked here are wanted.
        plan: which tables.
        worth: which pairs are kept.
        rounds: stretches of keys into which each table is divided, where it would not fit into memory.
        may_group: whether there is room to hold hashes once more, in groups, where few clips are fresh.
        many: where few clips are fresh, the hashes of the left side, or of both, in the order in which they are gone through (`prepared`).
        bits: by which those are grouped; 0 where they are gone through as they lie.
    """

    left: Side
    right: Side | None
    fresh: NDArray[np.bool_]
    plan: Plan
    worth: Worth
    rounds: int = 1
    may_group: bool = True
    many: tuple[tuple[Grouped, ...], ...] = ()
    bits: int = 0

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Table and round of each piece; where few clips are fresh there are no rounds."""
        return [(table, part) for table in range(self.plan.count) for part in range(1 if self.many else self.rounds)]

    @property
    def _sides(self) -> list[Side]:
        return [self.left] if self.right is None else [self.left, self.right]

    def prepared(self) -> Search:
        """The same search with what all pieces need beside the hashes."""
        new = sum(int(self._new(side).sum()) for side in self._sides)
        if not self.may_group or new > FEW * sum(len(side.indexed) for side in self._sides):
            return self
        masks = [int(self.plan.key(table).mask) for table in range(self.plan.count)]
        bits = shared_bits(masks, max(int(side.indexed[self._new(side)].sum()) for side in self._sides))
        many = tuple((grouped(side, bits),) if bits else as_they_lie(side) for side in self._sides)
        return replace(self, many=many, bits=int(bits))

    def run(self, piece: tuple[int, int]) -> Pairs:
        """The pairs that one piece finds."""
        table, part = piece
        key = self.plan.key(table)
        lately = np.zeros(1 << LATELY_BITS, np.uint64)
        found = self._with_few(key) if self.many else self._stretches(key, part)
        return unique(self._kept(met, lately) for met in found)

    def _kept(self, met: Pairs, lately: Pairs) -> Pairs:
        right = self.left if self.right is None else self.right
        return worth_comparing(met, self.left, right, self.right is not None, self.fresh, self.worth, lately)

    def _stretches(self, key: Key, part: int) -> Iterator[Pairs]:
        """Clips with near hashes, one stretch of equal first bits after the other."""
        sides = self._sides
        counts = [buckets.coarse_counts(side, key) for side in sides]
        low, high = self._bounds(sum(counts), part)
        sorted_ = [buckets.spread(side, key, of, low, high) for side, of in zip(sides, counts, strict=True)]
        for k in range(high - low):
            stretch = [part[b[k] : b[k + 1]] for *parts, b in sorted_ for part in parts]
            near = join.near_within if self.right is None else join.near_between
            yield near(*stretch, key, self.worth.distance)

    def _bounds(self, counts: Ints, part: int) -> tuple[int, int]:
        edges = np.searchsorted(np.cumsum(counts), np.arange(1, self.rounds) * counts.sum() / self.rounds)
        edges = np.concatenate([[0], edges, [len(counts)]])
        return int(edges[part]), int(edges[part + 1])

    def _with_few(self, key: Key) -> Iterator[Pairs]:
        """Fresh clips of one side with near ones, and near common hashes, of the other."""
        if self._new(self.left).any():
            yield from self._few(self.left, self.many[-1], key)
        if self.right is not None and self._new(self.right).any():
            for met in self._few(self.right, self.many[0], key):
                yield met << np.uint64(32) | met >> np.uint64(32)

    def _few(self, side: Side, many: Sequence[Grouped], key: Key) -> Iterator[Pairs]:
        new = self._new(side)
        count = int(side.indexed[new].sum()) + len(side.common)
        place = probe.place_of(int(key.mask), self.bits, count)
        few, bits = probe.lines(side, new, place), np.uint64(self.bits)
        for part in many:
            yield np.asarray(probe.near_few(few, place, part, bits, self.worth.distance))

    def _new(self, side: Side) -> NDArray[np.bool_]:
        """Which clips of a side are fresh."""
        return self.fresh[side.base : side.base + len(side.indexed)]

    def of_common(self) -> Pairs:
        """The pairs of clips that show the same common hash."""
        right = self.left if self.right is None else self.right
        both, ours, theirs = np.intersect1d(self.left.common, right.common, return_indices=True)
        group = np.uint64(GROUP)
        met = (group | ours.astype(np.uint64)) << np.uint64(32) | group | theirs.astype(np.uint64)
        return np.unique(self._kept(met, np.zeros(1 << LATELY_BITS, np.uint64))) if len(both) else unique([])


Runner = Callable[[Search, Sequence[tuple[int, int]]], Iterable[Pairs]]
"""Runs the pieces of a search, anywhere, and yields what they find in any order."""


@dataclass(frozen=True)
class Means:
    """What a search may use.

    Attributes:
        threads: pieces that run at a time.
        memory_bytes: for the hashes that are searched and what is sorted of them. Where they need more, blocks of clips are searched against each
            other, and tables in several rounds.
        runner: runs the pieces elsewhere; None in threads of this process.
    """

    threads: int = 2
    memory_bytes: int = 4 << 30
    runner: Runner | None = None

    def run(self, search: Search) -> Iterable[Pairs]:
        """What the pieces of a search find."""
        return (self.runner or threaded(self.threads))(search, search.pieces)


def threaded(threads: int) -> Runner:
    """A runner that shares the memory of this process."""

    def run(search: Search, pieces: Sequence[tuple[int, int]]) -> Iterator[Pairs]:
        with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
            yield from pool.map(search.run, pieces)

    return run


def candidates(search: Search, means: Means) -> Pairs:
    """All pairs that a search finds."""
    out = [search.of_common()]
    search = search.prepared()
    for found in told(means.run(search), len(search.pieces), "tables of hashes"):
        out.append(found)
        if sum(map(len, out)) > max(10_000_000, 2 * len(out[0])):
            out = [unique(out)]
    return unique(out)


def unique(found: Iterable[Pairs]) -> Pairs:
    return np.unique(np.concatenate([*found, np.empty(0, np.uint64)]))


def worth(params: Dedup, bits: int = 0, most: int = 1 << 30) -> Worth:
    """
    Args:
        bits: of a key: unrelated clips that agree a little are four times as many for each, and so fewer of them are looked at.
        most: clips of a common hash that are paired with all others.
    """
    return Worth(
        np.uint64(params.distance),
        np.uint64(max(params.agree, params.distance)),
        params.matches,
        params.coverage,
        DOUBTFUL * params.coverage,
        np.uint64(((1 << 64) - 1) >> 2 * max(0, bits - SAMPLED_BITS)),
        most,
    )


def rounds(hashes: int, threads: int, memory_bytes: int) -> int:
    """Into how many stretches of keys tables of so many hashes are divided."""
    return max(1, math.ceil(hashes * _ITEM_BYTES * 1.1 * threads / max(1, memory_bytes)))


def halves(pairs: Pairs) -> tuple[Ints, Ints]:
    """First and second clips."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
