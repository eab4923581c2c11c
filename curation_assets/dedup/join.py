"""Near hashes within buckets: the innermost loops of the search, compiled.

What belongs here: comparing hashes. What does not: buckets (`buckets`), what is done with clips that have near hashes (`worth`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from curation_assets.dedup.bits import U32, U64, both, grown, popcount
from curation_assets.dedup.buckets import GROUP, Bucket, Key, Side, asked, coarse_counts, place, sort_stretch, spread
from curation_resources.compiled import compiled

_SLICE: Final = 256
_FIRST: Final = 1024
_CLIPS: Final = 4096
_AT_ONCE: Final = 8
"""Hashes of a bucket that are compared without asking how many it has."""


@compiled
def _least(values: U64, a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64) -> np.uint64:
    """Least distance of four hashes from others. A function of its own over a slice, since only such a loop is made into vector instructions."""
    least: Any = np.uint64(64)
    for j in range(len(values)):
        value = values[j]
        one = min(popcount(a ^ value), popcount(b ^ value))
        other = min(popcount(c ^ value), popcount(d ^ value))
        least = min(least, min(one, other))
    return least


@compiled
def _near_in_bucket(bucket: Bucket, mask: np.uint64, distance: np.uint64, met: U64, count: int) -> int:
    """Writes the pairs of clips of a bucket after the first `count` of `met`, as far as there is room, and returns how many there are then."""
    hashes, clips = bucket.hashes, bucket.clips
    many = len(hashes)
    i = 0
    while i < many:
        rows = min(4, many - i)
        a = hashes[i]
        b, c, d = hashes[min(i + 1, many - 1)], hashes[min(i + 2, many - 1)], hashes[min(i + 3, many - 1)]
        j = i + 1
        while j < many:
            crowded = j < i + rows or clips[j] == clips[i + rows - 1]
            end = j + 1 if crowded else min(many, j + _SLICE)
            if crowded or _least(hashes[j:end], a, b, c, d) <= distance:
                for k in range(i, min(j, i + rows)):
                    for m in range(j, end):
                        apart = hashes[k] ^ hashes[m]
                        if popcount(apart) <= distance and not apart & mask and clips[k] != clips[m]:
                            if count < len(met):
                                met[count] = both(clips[k], clips[m])
                            count += 1
            j = end
        i += rows
    return count


@compiled
def _near_insort_stretch(one: Bucket, other: Bucket, mask: np.uint64, distance: np.uint64, met: U64, count: int) -> int:
    """The same of two buckets; the clip of the first is in the upper half."""
    many = len(one.hashes)
    i = 0
    while i < many:
        rows = min(4, many - i)
        a = one.hashes[i]
        b, c, d = (
            one.hashes[min(i + 1, many - 1)],
            one.hashes[min(i + 2, many - 1)],
            one.hashes[min(i + 3, many - 1)],
        )
        j = 0
        while j < len(other.hashes):
            end = min(len(other.hashes), j + _SLICE)
            if _least(other.hashes[j:end], a, b, c, d) <= distance:
                for k in range(i, i + rows):
                    for m in range(j, end):
                        apart = one.hashes[k] ^ other.hashes[m]
                        if popcount(apart) <= distance and not apart & mask and one.clips[k] != other.clips[m]:
                            if count < len(met):
                                met[count] = both(one.clips[k], other.clips[m])
                            count += 1
            j = end
        i += rows
    return count


@compiled
def near_within(hashes: U64, clips: U32, key: Key, distance: np.uint64) -> U64:
    """Pairs of clips that show hashes that agree in the mask and lie within the distance, of a stretch of equal first bits; a pair may come several times."""
    met, count = np.empty(_FIRST, np.uint64), 0
    sorted_ = Bucket(np.empty(len(hashes), np.uint64), np.empty(len(hashes), np.uint32))
    at = np.zeros((1 << (key.bits - key.coarse)) + 1, np.int64)
    sort_stretch(hashes, clips, key, sorted_.hashes, sorted_.clips, at)
    for k in range(len(at) - 1):
        bucket = Bucket(sorted_.hashes[at[k] : at[k + 1]], sorted_.clips[at[k] : at[k + 1]])
        after = _near_in_bucket(bucket, key.mask, distance, met, count)
        if after > len(met):
            met = grown(met, count, after)
            _near_in_bucket(bucket, key.mask, distance, met, count)
        count = after
    return met[:count].copy()


@compiled
def near_between(ours: U64, our_clips: U32, theirs: U64, their_clips: U32, key: Key, distance: np.uint64) -> U64:
    """The same of hashes of two sides; the clip of the first is in the upper half."""
    met, count = np.empty(_FIRST, np.uint64), 0
    one = Bucket(np.empty(len(ours), np.uint64), np.empty(len(ours), np.uint32))
    other = Bucket(np.empty(len(theirs), np.uint64), np.empty(len(theirs), np.uint32))
    size = (1 << (key.bits - key.coarse)) + 1
    at, other_at = np.zeros(size, np.int64), np.zeros(size, np.int64)
    sort_stretch(ours, our_clips, key, one.hashes, one.clips, at)
    sort_stretch(theirs, their_clips, key, other.hashes, other.clips, other_at)
    for k in range(size - 1):
        left = Bucket(one.hashes[at[k] : at[k + 1]], one.clips[at[k] : at[k + 1]])
        right = Bucket(other.hashes[other_at[k] : other_at[k + 1]], other.clips[other_at[k] : other_at[k + 1]])
        after = _near_insort_stretch(left, right, key.mask, distance, met, count)
        if after > len(met):
            met = grown(met, count, after)
            _near_insort_stretch(left, right, key.mask, distance, met, count)
        count = after
    return met[:count].copy()


class Found(NamedTuple):
    """Pairs that were found, of which `met` has room for some: it is handed on, since a loop in a function that replaces it is several times slower."""

    met: U64
    known: int


class Lookup(NamedTuple):
    """Few hashes by their buckets: those in one are `hashes[at[bucket] : at[bucket + 1]]`; behind the last come `_AT_ONCE` zeros."""

    hashes: U64
    clips: U32
    at: U32


@compiled
def lookup(side: Side, key: Key) -> Lookup:
    """Of the hashes of a side that are looked up."""
    counts = coarse_counts(side, key)
    hashes, clips, begins = spread(side, key, counts, 0, len(counts))
    fine = key.bits - key.coarse
    at = np.zeros((1 << key.bits) + 1, np.uint32)
    part = np.zeros((1 << fine) + 1, np.int64)
    bucket, bucket_clips = np.zeros(len(hashes) + _AT_ONCE, np.uint64), np.empty(len(hashes), np.uint32)
    for p in range(len(counts)):
        b, e = begins[p], begins[p + 1]
        sort_stretch(hashes[b:e], clips[b:e], key, bucket[b:e], bucket_clips[b:e], part)
        for k in range(1 << fine):
            at[(p << fine) + k + 1] = b + part[k + 1]
    return Lookup(bucket, bucket_clips, at)


@compiled
def _near_hashes(values: U64, number: np.uint32, few: Lookup, key: Key, distance: np.uint64, found: Found) -> int:
    """Writes the pairs of the clip (or common hash) of that number, which shows some hashes, after the first `found.known`, and returns how many there
    are then."""
    count = found.known
    shift = np.uint64(64 - key.bits)
    for i in range(len(values)):
        value = values[i]
        bucket: Any = place(value, key, shift) if key.bits else 0
        for j in range(few.at[bucket], few.at[bucket + 1]):
            apart = value ^ few.hashes[j]
            if popcount(apart) <= distance and not apart & key.mask and few.clips[j] != number:
                if count < len(found.met):
                    found.met[count] = both(few.clips[j], number)
                count += 1
    return count


@compiled
def _near_clips(few: Lookup, many: Side, clips: tuple[int, int], key: Key, distance: np.uint64, found: Found) -> int:
    """The same of the clips in a range of numbers."""
    count = found.known
    shift = np.uint64(64 - key.bits)
    if key.bits == 0 or many.every > 1:
        for clip in range(clips[0], clips[1]):
            begin = many.start[clip]
            for i in range(begin, begin + many.indexed[clip]):
                if many.every == 1 or asked(many.hashes[i], many):
                    known = Found(found.met, count)
                    count = _near_hashes(many.hashes[i : i + 1], np.uint32(clip), few, key, distance, known)
        return count
    hashes, at, sought, near = many.hashes, few.at, few.hashes, few.clips
    for clip in range(clips[0], clips[1]):
        begin = many.start[clip]
        number = np.uint32(clip)
        for i in range(begin, begin + many.indexed[clip]):
            value = hashes[i]
            bucket: Any = np.uint64((value & key.mask) * key.odd) >> shift
            first, end = np.uint64(at[bucket]), np.uint64(at[bucket + np.uint64(1)])
            least: Any = np.uint64(64)
            for j in range(np.uint64(_AT_ONCE)):
                least = min(least, popcount(value ^ sought[first + j]))
            if least > distance and end - first <= np.uint64(_AT_ONCE):
                continue
            for j in range(first, end):
                apart = value ^ sought[j]
                if popcount(apart) <= distance and not apart & key.mask and near[j] != number:
                    if count < len(found.met):
                        found.met[count] = both(near[j], number)
                    count += 1
    return count


@compiled
def near_few(few: Lookup, many: Side, key: Key, distance: np.uint64) -> U64:
    """Pairs of a clip with one of few hashes, in the upper half, and a clip of the side `many`, which is gone through once."""
    met, count = np.empty(_FIRST, np.uint64), 0
    for begin in range(0, len(many.indexed), _CLIPS):
        clips = (begin, min(begin + _CLIPS, len(many.indexed)))
        after = _near_clips(few, many, clips, key, distance, Found(met, count))
        if after > len(met):
            met = grown(met, count, after)
            _near_clips(few, many, clips, key, distance, Found(met, count))
        count = after
    for g in range(len(many.common)):
        number = GROUP | np.uint32(g)
        after = _near_hashes(many.common[g : g + 1], number, few, key, distance, Found(met, count))
        if after > len(met):
            met = grown(met, count, after)
            _near_hashes(many.common[g : g + 1], number, few, key, distance, Found(met, count))
        count = after
    return met[:count].copy()
