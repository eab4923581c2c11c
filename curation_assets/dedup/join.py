"""Near hashes within buckets: the innermost loops of the search, compiled.

What belongs here: comparing hashes, all with all. What does not: buckets (`buckets`), few with many (`probe`), what is done with clips that have near
hashes (`worth`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from curation_assets.dedup.bits import U32, U64, Ints, both, grown, popcount
from curation_assets.dedup.buckets import Key, sort_stretch
from curation_assets.dedup.lanes import LANES, near_any
from curation_resources.compiled import compiled

_FIRST: Final = 1024


class Found(NamedTuple):
    """Pairs that were found, of which `met` has room for some: it is handed on, since a loop in a function that replaces it is several times slower."""

    met: U64
    known: int


class Stretch(NamedTuple):
    """Hashes by their buckets, with their clips: those in one are `hashes[at[bucket] : at[bucket + 1]]`; behind the last come `LANES` zeros."""

    hashes: U64
    clips: U32
    at: Ints


@compiled
def _stretch(hashes: U64, clips: U32, key: Key) -> Stretch:
    """Hashes of equal first bits."""
    out = Stretch(
        np.zeros(len(hashes) + LANES, np.uint64),
        np.empty(len(hashes), np.uint32),
        np.zeros((1 << (key.bits - key.coarse)) + 1, np.int64),
    )
    sort_stretch(hashes, clips, key, out.hashes, out.clips, out.at)
    return out


@compiled
def _near_in_bucket(
    hashes: U64, clips: U32, bucket: tuple[int, int], key: Key, distance: np.uint64, found: Found
) -> int:
    """Writes the pairs of clips of a bucket after the first `found.known`, as far as there is room, and returns how many there are then."""
    met, count = found
    mask = key.mask
    for i in range(bucket[0], bucket[1], 4):
        after = min(i + 4, bucket[1])
        for k in range(i, after):
            for m in range(k + 1, after):
                apart = hashes[k] ^ hashes[m]
                if popcount(apart) <= distance and not apart & mask and clips[k] != clips[m]:
                    if count < len(met):
                        met[count] = both(clips[k], clips[m])
                    count += 1
        last = after - 1
        a, b, c, d = hashes[i], hashes[min(i + 1, last)], hashes[min(i + 2, last)], hashes[last]
        begin, end = np.uint64(after), np.uint64(bucket[1])
        while begin < end:
            if near_any(hashes, begin, (a, b, c, d), distance):
                for k in range(i, after):
                    value, clip = hashes[k], clips[k]
                    near: Any = near_any(hashes, begin, (value,), distance)
                    while near:
                        lowest = near & (~near + np.uint64(1))
                        near ^= lowest
                        n = begin + popcount(lowest - np.uint64(1))
                        if n < end and clip != clips[n] and not (value ^ hashes[n]) & mask:
                            if count < len(met):
                                met[count] = both(clip, clips[n])
                            count += 1
            begin += np.uint64(LANES)
    return count


@compiled
def _near_in_buckets(one: Stretch, other: Stretch, bucket: int, key: Key, distance: np.uint64, found: Found) -> int:
    """The same of two buckets; the clip of the first is in the upper half."""
    met, count = found
    mask, ours, our_clips, theirs, their_clips = key.mask, one.hashes, one.clips, other.hashes, other.clips
    end = np.uint64(other.at[bucket + 1])
    for i in range(one.at[bucket], one.at[bucket + 1], 4):
        after = min(i + 4, one.at[bucket + 1])
        last = after - 1
        a, b, c, d = ours[i], ours[min(i + 1, last)], ours[min(i + 2, last)], ours[last]
        begin = np.uint64(other.at[bucket])
        while begin < end:
            if near_any(theirs, begin, (a, b, c, d), distance):
                for k in range(i, after):
                    value, clip = ours[k], our_clips[k]
                    near: Any = near_any(theirs, begin, (value,), distance)
                    while near:
                        lowest = near & (~near + np.uint64(1))
                        near ^= lowest
                        n = begin + popcount(lowest - np.uint64(1))
                        if n < end and clip != their_clips[n] and not (value ^ theirs[n]) & mask:
                            if count < len(met):
                                met[count] = both(clip, their_clips[n])
                            count += 1
            begin += np.uint64(LANES)
    return count


@compiled
def near_within(hashes: U64, clips: U32, key: Key, distance: np.uint64) -> U64:
    """Pairs of clips that show hashes that agree in the mask and lie within the distance, of a stretch of equal first bits; a pair may come several times."""
    met, count = np.empty(_FIRST, np.uint64), 0
    held = _stretch(hashes, clips, key)
    for k in range(len(held.at) - 1):
        bucket = held.at[k], held.at[k + 1]
        after = _near_in_bucket(held.hashes, held.clips, bucket, key, distance, Found(met, count))
        if after > len(met):
            met = grown(met, count, after)
            _near_in_bucket(held.hashes, held.clips, bucket, key, distance, Found(met, count))
        count = after
    return met[:count].copy()


@compiled
def near_between(ours: U64, our_clips: U32, theirs: U64, their_clips: U32, key: Key, distance: np.uint64) -> U64:
    """The same of hashes of two sides; the clip of the first is in the upper half."""
    met, count = np.empty(_FIRST, np.uint64), 0
    one, other = _stretch(ours, our_clips, key), _stretch(theirs, their_clips, key)
    for bucket in range(len(one.at) - 1):
        after = _near_in_buckets(one, other, bucket, key, distance, Found(met, count))
        if after > len(met):
            met = grown(met, count, after)
            _near_in_buckets(one, other, bucket, key, distance, Found(met, count))
        count = after
    return met[:count].copy()
