"""Few hashes against many that are gone through once and not sorted: the loops of an update that adds a little, compiled.

The few lie in lines of the processor's cache, one for each choice of the bits in which a table asks hashes to agree, so that most of the many cost one read and one comparison
of eight.

What belongs here: comparing few hashes with many. What does not: all with all (`join`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import GATHERS, U32, U64, both, gathered, grown, popcount
from curation_assets.dedup.buckets import GROUP, Key, Side, asked
from curation_assets.dedup.join import Found
from curation_assets.dedup.lanes import LANES, LINE, near_any, near_in_line
from curation_resources.compiled import compiled

_FIRST: Final = 1024
_CLIPS: Final = 4096


class Lines(NamedTuple):
    """Few hashes by the bits in which they must agree.

    Attributes:
        hashes, clips: of each line `LINE` of them; places that are not taken have 0.
        taken: uint8 (lines,), how many places of each are.
        full: uint8, a bit for each line: whether more hashes than it holds belong to it.
        rest, rest_clips: those, as `rest[at[line] : at[line + 1]]`; behind the last come `LANES` zeros.
        at: uint32 (lines + 1,).
    """

    hashes: U64
    clips: U32
    taken: NDArray[np.uint8]
    full: NDArray[np.uint8]
    rest: U64
    rest_clips: U32
    at: U32


@numba.njit(nogil=True, inline="always")
def _line(value: np.uint64, key: Key) -> Any:
    """The line to which a hash belongs: that of its bits, or, where they cannot be gathered, the bucket of the table."""
    if GATHERS:
        return gathered(value, key.mask)
    return ((value & key.mask) * key.odd) >> np.uint64(64 - key.bits) if key.bits else np.uint64(0)


@numba.njit(nogil=True, inline="always")
def _lines(key: Key) -> Any:
    return np.int64(1) << np.int64(popcount(key.mask)) if GATHERS else np.int64(1) << key.bits


@compiled
def _marked(side: Side, wanted: NDArray[np.bool_]) -> tuple[U64, U32]:
    """The hashes of wanted clips that are looked up, with the numbers of the clips, and all common hashes with theirs."""
    count = len(side.common)
    for clip in range(len(side.indexed)):
        count += side.indexed[clip] if wanted[clip] else 0
    hashes, clips = np.empty(count, np.uint64), np.empty(count, np.uint32)
    count = 0
    for clip in range(len(side.indexed)):
        if not wanted[clip]:
            continue
        for i in range(side.start[clip], side.start[clip] + side.indexed[clip]):
            if side.every == 1 or asked(side.hashes[i], side.common):
                hashes[count], clips[count] = side.hashes[i], side.base + clip
                count += 1
    for g in range(len(side.common)):
        hashes[count], clips[count] = side.common[g], GROUP | np.uint32(g)
        count += 1
    return hashes[:count], clips[:count]


@compiled
def lines(side: Side, wanted: NDArray[np.bool_], key: Key) -> Lines:
    """The hashes of some clips of a side, and its common ones, in lines.

    Args:
        wanted: bool (clips,).
    """
    hashes, clips = _marked(side, wanted)
    count = _lines(key)
    total = np.zeros(count, np.uint32)
    for value in hashes:
        total[np.int64(_line(value, key))] += 1
    at = np.zeros(count + 1, np.uint32)
    taken, full = np.zeros(count, np.uint8), np.zeros((count >> 3) + 1, np.uint8)
    for line in range(count):
        held = total[line]
        taken[line] = min(held, LINE)
        at[line + 1] = at[line] + (held - LINE if held > LINE else 0)
        if held > LINE:
            full[line >> 3] |= np.uint8(1 << (line & 7))
    held_hashes, held_clips = np.zeros(count * LINE, np.uint64), np.zeros(count * LINE, np.uint32)
    rest, rest_clips = np.zeros(at[count] + LANES, np.uint64), np.zeros(at[count], np.uint32)
    total[:] = 0
    for i in range(len(hashes)):
        mine: Any = np.int64(_line(hashes[i], key))
        place = np.int64(total[mine])
        if place < LINE:
            held_hashes[mine * LINE + place], held_clips[mine * LINE + place] = hashes[i], clips[i]
        else:
            rest[at[mine] + place - LINE], rest_clips[at[mine] + place - LINE] = hashes[i], clips[i]
        total[mine] += 1
    return Lines(held_hashes, held_clips, taken, full, rest, rest_clips, at)


@compiled
def _near_clips(
    few: Lines, many: Side, range_: tuple[int, int], mark: np.uint32, key: Key, distance: np.uint64, found: Found
) -> int:
    """Writes the pairs of a few hashes and those of the clips in a range after the first `found.known`, and returns how many there are then."""
    met, count = found
    mask, frames, base = key.mask, many.every == 1, many.base
    hashes, start, indexed, common = many.hashes, many.start, many.indexed, many.common
    held, held_clips, taken, full = few.hashes, few.clips, few.taken, few.full
    rest, rest_clips, at = few.rest, few.rest_clips, few.at
    for clip in range(range_[0], range_[1]):
        first, number = start[clip], mark | np.uint32(base + clip)
        for i in range(first, first + indexed[clip]):
            value = hashes[i]
            if not frames and not asked(value, common):
                continue
            line = np.uint64(_line(value, key))
            begin = line * np.uint64(LINE)
            near: Any = near_in_line(held, begin, (value,), distance)
            while near:
                lowest = near & (~near + np.uint64(1))
                near ^= lowest
                place = popcount(lowest - np.uint64(1))
                m = begin + place
                if place < taken[line] and held_clips[m] != number and not (value ^ held[m]) & mask:
                    if count < len(met):
                        met[count] = both(held_clips[m], number)
                    count += 1
            if full[line >> np.uint64(3)] >> np.uint8(line & np.uint64(7)) & np.uint8(1):
                end = np.uint64(at[line + np.uint64(1)])
                begin = np.uint64(at[line])
                while begin < end:
                    near = near_any(rest, begin, (value,), distance)
                    while near:
                        lowest = near & (~near + np.uint64(1))
                        near ^= lowest
                        m = begin + popcount(lowest - np.uint64(1))
                        if m < end and rest_clips[m] != number and not (value ^ rest[m]) & mask:
                            if count < len(met):
                                met[count] = both(rest_clips[m], number)
                            count += 1
                    begin += np.uint64(LANES)
    return count


@compiled
def near_few(few: Lines, many: Side, mark: np.uint32, key: Key, distance: np.uint64) -> U64:
    """Pairs of a clip with one of few hashes, in the upper half, and a clip of the side `many`, which is gone through once.

    Args:
        mark: is set in the numbers of the latter: `GROUP` if they are those of common hashes, which are not looked at otherwise.
    """
    met, count = np.empty(_FIRST, np.uint64), 0
    for begin in range(0, len(many.indexed), _CLIPS):
        clips = (begin, min(begin + _CLIPS, len(many.indexed)))
        after = _near_clips(few, many, clips, mark, key, distance, Found(met, count))
        if after > len(met):
            met = grown(met, count, after)
            _near_clips(few, many, clips, mark, key, distance, Found(met, count))
        count = after
    return met[:count].copy()
