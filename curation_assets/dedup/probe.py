"""Few hashes against many that are gone through once for each table and not sorted: the loops of an update that adds a little, compiled.

The few lie in lines of the processor's cache, by bits in which a table asks hashes to agree, so that most of the many cost one read and one comparison
of eight. Those of the many that may be near one are marked first, without a jump for each, and looked at then.

What belongs here: comparing few hashes with many. What does not: all with all (`join`), the order of the many (`grouped`).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import GATHERS, U32, U64, Ints, bits_at, both, gathered, grown, popcount
from curation_assets.dedup.buckets import GROUP, ODD, Side, asked
from curation_assets.dedup.grouped import Grouped, first_clip, whose
from curation_assets.dedup.join import Found
from curation_assets.dedup.lanes import LANES, LINE, near_any, near_in_line
from curation_resources.compiled import compiled

_FIRST: Final = 1024
_AT_ONCE: Final = 4096
"""Hashes of the many that are marked before those that are marked are looked at."""

_IN_LINE: Final = 2
"""A line holds about four (a power of two) of the few, if the table's bits allow it."""


class LinePlace(NamedTuple):
    """By which bits a table puts hashes into lines.

    Attributes:
        mask: the bits in which they must agree.
        shared: bits by which the many are grouped, too: the number of a line begins with them.
        own: others of the table's bits.
        wide: so many bits the rest of the number of a line has.
    """

    mask: np.uint64
    shared: np.uint64
    own: np.uint64
    wide: np.uint64


class Lines(NamedTuple):
    """Few hashes by bits in which they must agree.

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


def place_of(mask: int, grouped_by: int, few: int) -> LinePlace:
    """Where a table of this mask puts so many hashes, if the many are grouped by these bits."""
    shared = mask & grouped_by
    wanted = max(0, few.bit_length() - _IN_LINE - shared.bit_count())
    own = left = mask & ~shared
    while own.bit_count() > wanted:
        own &= own - 1
    wide = own.bit_count() if GATHERS else min(wanted, left.bit_count())
    return LinePlace(np.uint64(mask), np.uint64(shared), np.uint64(own if GATHERS else left), np.uint64(wide))


@numba.njit(nogil=True, inline="always")
def _own(value: np.uint64, own: np.uint64, wide: np.uint64) -> Any:
    """The rest of the number of a hash's line: its bits, or, where they cannot be gathered, what they are mixed to."""
    if GATHERS:
        return gathered(value, own)
    return ((value & own) * ODD) >> (np.uint64(64) - wide) if wide else np.uint64(0)


@numba.njit(nogil=True, inline="always")
def _line(value: np.uint64, place: LinePlace) -> Any:
    return bits_at(value, place.shared) << place.wide | _own(value, place.own, place.wide)


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
def lines(side: Side, wanted: NDArray[np.bool_], place: LinePlace) -> Lines:
    """The hashes of some clips of a side, and its common ones, in lines.

    Args:
        wanted: bool (clips,).
    """
    hashes, clips = _marked(side, wanted)
    count = np.int64(1) << np.int64(popcount(place.shared) + place.wide)
    total = np.zeros(count, np.uint32)
    for value in hashes:
        total[np.int64(_line(value, place))] += 1
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
        mine: Any = np.int64(_line(hashes[i], place))
        at_line = np.int64(total[mine])
        if at_line < LINE:
            held_hashes[mine * LINE + at_line], held_clips[mine * LINE + at_line] = hashes[i], clips[i]
        else:
            rest[at[mine] + at_line - LINE], rest_clips[at[mine] + at_line - LINE] = hashes[i], clips[i]
        total[mine] += 1
    return Lines(held_hashes, held_clips, taken, full, rest, rest_clips, at)


@compiled
def _mark(
    few: Lines,
    place: LinePlace,
    hashes: U64,
    range_: tuple[int, int],
    first: np.uint64,
    distance: np.uint64,
    marked: Ints,
) -> int:
    """Writes the places of those hashes of a range whose line has a near one, or more than it holds, and returns how many they are.

    Args:
        first: the first line of those that the group of these hashes has to do with.
        marked: has room for one more than the range is long.
    """
    held, full, own, wide = few.hashes, few.full, place.own, place.wide
    count: Any = np.int64(0)
    for i in range(range_[0], range_[1]):
        value = hashes[i]
        line = first | _own(value, own, wide)
        near: Any = near_in_line(held, line * np.uint64(LINE), (value,), distance)
        more = np.uint64(full[line >> np.uint64(3)]) >> (line & np.uint64(7)) & np.uint64(1)
        marked[count] = i
        count += np.int64(near | more != np.uint64(0))
    return count


@compiled
def _near_marked(
    few: Lines, place: LinePlace, many: Grouped, marked: Ints, first: np.uint64, distance: np.uint64, found: Found
) -> int:
    """Writes the pairs of a few hashes and those that are marked after the first `found.known`, and returns how many there are then."""
    met, count = found
    mask, own, wide = place.mask, place.own, place.wide
    hashes = many.hashes
    held, held_clips, taken, full = few.hashes, few.clips, few.taken, few.full
    rest, rest_clips, at = few.rest, few.rest_clips, few.at
    clip = first_clip(many, marked)
    for i in marked:
        value, number = hashes[i], np.int64(-2)  # whose it is is not known yet
        line = first | _own(value, own, wide)
        begin = line * np.uint64(LINE)
        near: Any = near_in_line(held, begin, (value,), distance)
        while near:
            lowest = near & (~near + np.uint64(1))
            near ^= lowest
            slot = popcount(lowest - np.uint64(1))
            m = begin + slot
            if slot < taken[line] and not (value ^ held[m]) & mask:
                if number == -2:
                    clip, number = whose(many, i, clip)
                if number >= 0 and np.int64(held_clips[m]) != number:
                    if count < len(met):
                        met[count] = both(held_clips[m], np.uint32(number))
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
                    if m < end and not (value ^ rest[m]) & mask:
                        if number == -2:
                            clip, number = whose(many, i, clip)
                        if number >= 0 and np.int64(rest_clips[m]) != number:
                            if count < len(met):
                                met[count] = both(rest_clips[m], np.uint32(number))
                            count += 1
                begin += np.uint64(LANES)
    return count


@compiled
def near_few(few: Lines, place: LinePlace, many: Grouped, bits: np.uint64, distance: np.uint64) -> U64:
    """Pairs of a clip (or common hash) with one of few hashes, in the upper half, and one of the many, which are gone through once.

    Args:
        bits: by which the many are grouped.
    """
    met, count = np.empty(_FIRST, np.uint64), 0
    marked = np.empty(_AT_ONCE + 1, np.int64)
    among = bits_at(place.shared, bits)
    groups = len(many.at) - 1
    begins = np.empty(groups, np.int64)
    for group in range(groups):
        begins[group] = np.int64(bits_at(np.uint64(group), among))
    for group in np.argsort(begins, kind="mergesort"):
        first = np.uint64(begins[group]) << place.wide
        for begin in range(many.at[group], many.at[group + 1], _AT_ONCE):
            range_ = (begin, min(begin + _AT_ONCE, many.at[group + 1]))
            near = marked[: _mark(few, place, many.hashes, range_, first, distance, marked)]
            after = _near_marked(few, place, many, near, first, distance, Found(met, count))
            if after > len(met):
                met = grown(met, count, after)
                _near_marked(few, place, many, near, first, distance, Found(met, count))
            count = after
    return met[:count].copy()
