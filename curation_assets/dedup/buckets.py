"""Sorting hashes into buckets.

A *table* of the search compares the hashes that agree in some bits, chosen by a mask. Those bits, mixed, say which *bucket* a hash is in. Buckets are made
by two counting sorts (by the first bits, then, one stretch after the other, by the rest), which keep the order of the clips; nothing is sorted by value.

What belongs here: the hashes of clips and their order. What does not: comparing those of a bucket (`join`), which tables there are (`search`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import U32, U64, Ints, grown
from curation_resources.compiled import compiled

GROUP: Final = np.uint32(1 << 31)
"""Marks the number of a common hash, where clips have theirs."""

_FIRST: Final = 1024
_FILTER_BITS: Final = 16
_MOST_FILTER_BITS: Final = 26
ODD: Final = np.uint64(0x9E3779B97F4A7C15)
"""By which hashes are multiplied; the uppermost bits of the product are well mixed."""


class Key(NamedTuple):
    """How one table makes keys of hashes.

    Attributes:
        mask: the bits in which two hashes must agree.
        odd: by which they are multiplied; the uppermost bits of the product say which bucket a hash is in.
        bits: so many of them: more than the mask has, so that few buckets hold hashes that do not agree.
        coarse: bits by which hashes are sorted first, into stretches that are searched one after the other.
    """

    mask: np.uint64
    odd: np.uint64
    bits: int
    coarse: int


class Side(NamedTuple):
    """Hashes of clips.

    Attributes:
        hashes: uint64, clip after clip; of each clip the indexed ones first.
        start: int64 (clips + 1,), where those of each clip begin.
        indexed: uint8 (clips,), how many of them are looked up; those of common hashes are not among them.
        comparable: int32 (clips,), how many frames of the clip can be compared; -1 if not all of them are in `hashes`.
        common: uint64 (groups,), hashes that very many clips show.
        group_start, members: the clips that show each of them, best first, as `members[group_start[g] : group_start[g + 1]]`.
        ranks: uint32, the place of each member among all clips that show the hash, of which a side may have some only.
        tie: uint64 (clips,), their signatures.
        base: the number of the first clip: clips are numbered over all sides. Members are such numbers.
        every: hashes of a clip are those of so many windows, frame after frame; 1 if they are of frames.
    """

    hashes: U64
    start: Ints
    indexed: NDArray[np.uint8]
    comparable: NDArray[np.int32]
    common: U64
    group_start: Ints
    members: U32
    ranks: U32
    tie: U64
    base: int
    every: int


@compiled
def coarse_counts(side: Side, key: Key) -> Ints:
    """How many indexed hashes have which first bits of the key, (2 ** coarse,)."""
    coarse = key.coarse
    shift = np.uint64(64 - coarse)
    counts = np.zeros(1 << coarse, np.int64)
    for clip in range(len(side.indexed)):
        begin = side.start[clip]
        for i in range(begin, begin + side.indexed[clip]):
            if side.every == 1 or asked(side.hashes[i], side.common):
                counts[place(side.hashes[i], key, shift) if coarse else 0] += 1
    for g in range(len(side.common)):
        counts[place(side.common[g], key, shift) if coarse else 0] += 1
    return counts


@numba.njit(nogil=True, inline="always")
def place(value: np.uint64, key: Key, shift: np.uint64) -> Any:
    return np.int64(((value & key.mask) * key.odd) >> shift)


@compiled
def asked(value: np.uint64, common: U64) -> bool:
    """Whether a hash of a window is looked up: 0 stands for a window that the picture does not have."""
    g = np.searchsorted(common, value)
    return value != 0 and not (g < len(common) and common[g] == value)


@compiled
def spread(side: Side, key: Key, counts: Ints, low: int, high: int) -> tuple[U64, U32, Ints]:
    """The hashes whose first bits are in [low, high), sorted by them, with the numbers of their clips (or groups), and where each begins."""
    coarse = key.coarse
    shift = np.uint64(64 - coarse)
    begins = np.zeros(high - low + 1, np.int64)
    for p in range(low, high):
        begins[p - low + 1] = begins[p - low] + counts[p]
    hashes = np.empty(begins[-1], np.uint64)
    clips = np.empty(begins[-1], np.uint32)
    at = begins[:-1].copy()
    for clip in range(len(side.indexed)):
        begin = side.start[clip]
        for i in range(begin, begin + side.indexed[clip]):
            value = side.hashes[i]
            p = (place(value, key, shift) if coarse else 0) - low
            if 0 <= p < high - low and (side.every == 1 or asked(value, side.common)):
                hashes[at[p]] = value
                clips[at[p]] = side.base + clip
                at[p] += 1
    for g in range(len(side.common)):
        value = side.common[g]
        p = (place(value, key, shift) if coarse else 0) - low
        if 0 <= p < high - low:
            hashes[at[p]] = value
            clips[at[p]] = GROUP | np.uint32(g)
            at[p] += 1
    return hashes, clips, begins


@compiled
def sort_stretch(hashes: U64, clips: U32, key: Key, into: U64, into_clips: U32, begins: Ints) -> None:
    """Sorts a stretch of equal first bits by the others; `begins` (2 ** fine + 1,) says where each bucket begins."""
    fine = key.bits - key.coarse
    shift = np.uint64(64 - key.bits)
    last = np.uint64((1 << fine) - 1)
    begins[:] = 0
    if fine == 0:
        begins[1] = len(hashes)
        into[: len(hashes)] = hashes
        into_clips[: len(hashes)] = clips
        return
    for i in range(len(hashes)):
        begins[np.int64((((hashes[i] & key.mask) * key.odd) >> shift) & last) + 1] += 1
    for bucket in range(len(begins) - 1):
        begins[bucket + 1] += begins[bucket]
    at = begins[:-1].copy()
    for i in range(len(hashes)):
        k: Any = np.int64((((hashes[i] & key.mask) * key.odd) >> shift) & last)
        into[at[k]] = hashes[i]
        into_clips[at[k]] = clips[i]
        at[k] += 1


@compiled
def common_hashes(hashes: U64, clips: U32, key: Key, most: int) -> tuple[U64, U64]:
    """Hashes of a stretch of equal first bits that more than `most` clips show, and how many do (one that shows a hash twice counts twice)."""
    out, counts, count = np.empty(_FIRST, np.uint64), np.empty(_FIRST, np.uint64), 0
    bucket, bucket_clips = np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.uint32)
    at = np.zeros((1 << (key.bits - key.coarse)) + 1, np.int64)
    sort_stretch(hashes, clips, key, bucket, bucket_clips, at)
    for k in range(len(at) - 1):
        if at[k + 1] - at[k] <= most:
            continue
        values = np.sort(bucket[at[k] : at[k + 1]])
        run = 0
        for i in range(len(values)):
            if i + 1 == len(values) or values[i + 1] != values[i]:
                if i + 1 - run > most:
                    if count == len(out):
                        out, counts = grown(out, count, 0), grown(counts, count, 0)
                    out[count], counts[count] = values[i], i + 1 - run
                    count += 1
                run = i + 1
    return out[:count].copy(), counts[:count].copy()


@compiled
def set_apart(hashes: U64, start: Ints, indexed: NDArray[np.uint8], common: U64, move: bool) -> tuple[Ints, Ints]:
    """Number of the hash and clip, counted from the first, of each hash that is common.

    Args:
        move: whether those are moved behind the hashes that are looked up, in place.
    """
    groups, clips = np.empty(_FIRST, np.int64), np.empty(_FIRST, np.int64)
    count = 0
    bits: Any = _FILTER_BITS
    while bits < _MOST_FILTER_BITS and len(common) << 8 > 1 << bits:
        bits += 1
    shift = np.uint64(64 - bits)
    possible = np.zeros(1 << (bits - 6), np.uint64)
    for value in common:
        bit: Any = (value * ODD) >> shift
        possible[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
    for clip in range(len(indexed)):
        begin = start[clip]
        met = np.uint64(0)
        for i in range(begin, begin + indexed[clip]):
            bit = (hashes[i] * ODD) >> shift
            met |= possible[bit >> np.uint64(6)] >> (bit & np.uint64(63))
        i = begin
        while met & np.uint64(1) and i < begin + indexed[clip]:
            bit = (hashes[i] * ODD) >> shift
            if not possible[bit >> np.uint64(6)] >> (bit & np.uint64(63)) & np.uint64(1):
                i += 1
                continue
            g = np.searchsorted(common, hashes[i])
            if g == len(common) or common[g] != hashes[i]:
                i += 1
                continue
            if count == len(groups):
                more, others = np.empty(2 * count, np.int64), np.empty(2 * count, np.int64)
                more[:count] = groups
                others[:count] = clips
                groups, clips = more, others
            groups[count] = g
            clips[count] = clip
            count += 1
            if not move:
                i += 1
                continue
            value = hashes[i]
            last = begin + indexed[clip] - 1
            for k in range(i, last):
                hashes[k] = hashes[k + 1]
            hashes[last] = value
            indexed[clip] -= 1
    return groups[:count].copy(), clips[:count].copy()
