"""The hashes of a side that few others are compared with: as they lie, or side by side in groups by some of their bits.

Each table asks hashes to agree in bits of its own. Where some of these are among those by which the many are grouped, the few that a group has to do with are a small part
of all, which stays in the processor's cache while the group is gone through. Hashes are grouped once, for all tables: that costs as much as to go through them twice, and pays
where the few are many or the tables are.

What belongs here: by which bits, and the order. What does not: comparing (`probe`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import U32, U64, Ints, bits_at, popcount
from curation_assets.dedup.buckets import GROUP, Side, asked
from curation_resources.compiled import compiled

MOST_BITS: Final = 10
"""A thousand groups are written to at the same time: each has a line of the processor's second cache, and an entry among the pages that it knows."""

CACHE_BYTES: Final = 1 << 19
"""What the few that a group has to do with should take in each table: half of a small second cache."""

FEW_BYTES: Final = 16
"""What one of the few takes there (`probe`)."""

LARGE_BYTES: Final = 1 << 21
MANY_TABLES: Final = 8
"""Few hashes that take no more than that are gone through as they lie in so many tables at most."""

_NOWHERE: Final = np.zeros(1, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint64)


class Grouped(NamedTuple):
    """Hashes in groups, or in one as they lie.

    Attributes:
        hashes: those of one group are `hashes[at[group] : at[group + 1]]`, in the order of their clips.
        clips: the number of the clip of each, or `GROUP` and the number of a common hash; empty where the hashes are all those of a side.
        at: int64 (groups + 1,).
        start, indexed, common, base, every: of that side, by which it is told whose a hash is and whether it is looked up at all.
    """

    hashes: U64
    clips: U32
    at: Ints
    start: Ints
    indexed: NDArray[np.uint8]
    common: U64
    base: int
    every: int


def shared_bits(masks: Sequence[int], few: int) -> np.uint64:
    """The bits by which the many are grouped where so many hashes are compared with them in tables of these masks: as few as leave of each table no more than the cache
    holds."""
    chosen = 0
    if few * FEW_BYTES <= LARGE_BYTES and len(masks) <= MANY_TABLES:
        return np.uint64(0)
    for _ in range(MOST_BITS):
        if all(few * FEW_BYTES >> (mask & chosen).bit_count() <= CACHE_BYTES for mask in masks):
            break
        left = [1 << place for place in range(64) if not chosen >> place & 1]
        chosen |= min(left, key=lambda bit: _left_of(masks, chosen | bit))
    return np.uint64(chosen)


def _left_of(masks: Sequence[int], bits: int) -> float:
    """What is left of all tables together where the many are grouped by these bits."""
    return sum(0.5 ** (mask & bits).bit_count() for mask in masks)


def grouped(side: Side, bits: np.uint64) -> Grouped:
    """The hashes of a side that are looked up, and its common ones, by some of their bits: one beside the other, these are the number of the group."""
    most = int(side.indexed.sum(dtype=np.int64)) + len(side.common)
    hashes, clips = np.empty(most, np.uint64), np.empty(most, np.uint32)
    return Grouped(hashes, clips, _put(side, bits, hashes, clips), *_NOWHERE, 0, 1)


def as_they_lie(side: Side) -> tuple[Grouped, Grouped]:
    """The hashes of a side without a copy, among them those that are not looked up; and its common ones."""
    of_side = side.start, side.indexed, side.common, side.base, side.every
    groups = GROUP | np.arange(len(side.common), dtype=np.uint32)
    return (
        Grouped(side.hashes, np.empty(0, np.uint32), np.array([0, len(side.hashes)]), *of_side),
        Grouped(side.common, groups, np.array([0, len(groups)]), *_NOWHERE, 0, 1),
    )


@numba.njit(nogil=True)
def first_clip(many: Grouped, at: Ints) -> Any:
    """The clip of the first of some hashes that lie as they do on a side, counted from the side's first."""
    if len(many.clips) or not len(at):
        return np.int64(0)
    return np.int64(np.searchsorted(many.start, at[0], side="right") - 1)


@numba.njit(nogil=True)
def whose(many: Grouped, at: int, clip: int) -> Any:
    """The clip of a hash, counted from the side's first, and the number of it or of a common hash, -1 where it is not looked up.

    Args:
        clip: the one of a hash before it.
    """
    if len(many.clips):
        return clip, np.int64(many.clips[at])
    while many.start[clip + 1] <= at:
        clip += 1
    if at - many.start[clip] >= many.indexed[clip]:
        return clip, np.int64(-1)
    if many.every != 1 and not asked(many.hashes[at], many.common):
        return clip, np.int64(-1)
    return clip, np.int64(many.base + clip)


@compiled
def _put(side: Side, bits: np.uint64, hashes: U64, clips: U32) -> Ints:
    """Writes hashes and clips of the groups one after the other, and returns where each begins."""
    values, start, indexed, common = side.hashes, side.start, side.indexed, side.common
    every = side.every == 1
    count = np.int64(1) << np.int64(popcount(bits))
    at = np.zeros(count + 1, np.int64)
    if bits:
        for clip in range(len(indexed)):
            for i in range(start[clip], start[clip] + indexed[clip]):
                if every or asked(values[i], common):
                    at[np.int64(bits_at(values[i], bits)) + 1] += 1
        for value in common:
            at[np.int64(bits_at(value, bits)) + 1] += 1
        for group in range(count):
            at[group + 1] += at[group]
    place = at[:-1].copy()
    for clip in range(len(indexed)):
        for i in range(start[clip], start[clip] + indexed[clip]):
            if every or asked(values[i], common):
                k: Any = np.int64(bits_at(values[i], bits))
                hashes[place[k]] = values[i]
                clips[place[k]] = side.base + clip
                place[k] += 1
    for g in range(len(common)):
        k = np.int64(bits_at(common[g], bits))
        hashes[place[k]] = common[g]
        clips[place[k]] = GROUP | np.uint32(g)
        place[k] += 1
    at[count] = place[count - 1]
    return at
