"""Comparing the frames of two clips under each alignment in time, in compiled loops.

What belongs here: frames and alignments of a pair. What does not: which pairs are compared, and when two clips are the same (`align`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import U64, Ints, popcount
from curation_resources.compiled import compiled

Floats = NDArray[np.float64]


class HashedFrames(NamedTuple):
    """The hashed frames of many clips, one after the other, ascending in time within a clip.

    Attributes:
        start: int64 (clips + 1,), where those of each clip begin.
        hashes: uint64 (frames,).
        time_ms: int64 (frames,), from the clip's start.
        blank: bool (frames,); such frames are not compared.
        duration_ms: int64 (clips,).
        anchors: int64, indexes of the frames that propose offsets.
        anchor_start: int64 (clips + 1,), where those of each clip begin.
        comparable: int64 (clips,), frames that are not blank.
    """

    start: Ints
    hashes: U64
    time_ms: Ints
    blank: NDArray[np.bool_]
    duration_ms: Ints
    anchors: Ints
    anchor_start: Ints
    comparable: Ints


class Limits(NamedTuple):
    """When frames and clips are near.

    Attributes:
        distance, agree: largest distances of frames that match and that agree.
        matches: frames that must match.
        window_ms: slack of an alignment.
        stretch: largest ratio of two durations that is taken for a change of speed.
    """

    distance: int
    agree: int
    matches: int
    window_ms: int
    stretch: float


class Best(NamedTuple):
    """The best alignment of each pair, (pairs,).

    Attributes:
        matched: frames of the first clip that match; 0 if there is nothing in common.
        agreeing: those that agree.
        total: int64, distances of the latter, summed.
        scale, offset_ms: time in the second clip = scale x time in the first one + offset.
    """

    matched: Ints
    agreeing: Ints
    total: Ints
    scale: Floats
    offset_ms: Floats


_FAR = np.uint64(64)


@numba.njit(nogil=True, inline="always")
def _least(value: np.uint64, at: int, active: int, other: HashedFrames, clip: int, window_ms: int) -> Any:
    """Least distance of a hash from what a clip shows at a time, give or take a window; 64 if it shows nothing comparable.

    Args:
        active: the clip's last frame that is not later; the one before its first if there is none.
    """
    least: Any = _FAR
    if at < -window_ms or at > other.duration_ms[clip] + window_ms:
        return least
    first, end = other.start[clip], other.start[clip + 1]
    for index in range(max(first, active - 1), min(end, active + 2)):
        if index < active and other.time_ms[active] <= at - window_ms:
            continue
        if index > active and other.time_ms[index] > at + window_ms:
            continue
        if not other.blank[index]:
            least = min(least, popcount(value ^ other.hashes[index]))
    return least


@numba.njit(nogil=True, inline="always")
def _advanced(active: int, at: int, other: HashedFrames, clip: int) -> int:
    """The last frame of a clip that is not later than a time, from an earlier one on."""
    last = other.start[clip + 1] - 1
    while active < last and other.time_ms[active + 1] <= max(at, 0):
        active += 1
    return active


@compiled
def _proposed(
    shown: HashedFrames, one: int, other: HashedFrames, two: int, limits: Limits, offsets: Ints
) -> tuple[int, bool]:
    """Writes the offsets that two matching anchors propose, each once to within half a window.

    Returns:
        How many they are; and whether enough frames can match at all.
    """
    count = 0
    distinct = 0
    for i in range(shown.anchor_start[one], shown.anchor_start[one + 1]):
        left = shown.anchors[i]
        value = shown.hashes[left]
        met = False
        for j in range(other.anchor_start[two], other.anchor_start[two + 1]):
            right = other.anchors[j]
            if popcount(value ^ other.hashes[right]) <= np.uint64(limits.distance):
                met = True
                offsets[count] = other.time_ms[right] - shown.time_ms[left]
                count += 1
        distinct += met
    known = (
        other.anchor_start[one + 1] - other.anchor_start[one] == other.comparable[one]
        and other.anchor_start[two + 1] - other.anchor_start[two] == other.comparable[two]
    )
    if known and distinct < min(limits.matches, other.comparable[one]):
        return 0, False
    offsets[:count].sort()
    kept = 0
    half = limits.window_ms // 2
    for k in range(count):
        if kept == 0 or offsets[k] // half != offsets[kept - 1] // half:
            offsets[kept] = offsets[k]
            kept += 1
    return kept, True


@compiled
def _agreement(
    shown: HashedFrames, one: int, other: HashedFrames, two: int, scale: float, offset: float, limits: Limits
) -> tuple[int, int, int]:
    """How many frames match and agree under an alignment, and the distances of the latter, summed."""
    match: Any = 0
    agree: Any = 0
    total: Any = 0
    active: Any = other.start[two] - 1
    for i in range(shown.start[one], shown.start[one + 1]):
        if shown.blank[i]:
            continue
        at: Any = np.int64(np.rint(scale * shown.time_ms[i] + offset))
        active = _advanced(active, at, other, two)
        least = np.int64(_least(shown.hashes[i], at, active, other, two, limits.window_ms))
        match += least <= limits.distance
        if least <= limits.agree:
            agree += 1
            total += least
    return match, agree, total


@compiled
def best_alignments(shown: HashedFrames, other: HashedFrames, short: Ints, long: Ints, limits: Limits) -> Best:
    """The alignment of each pair under which most frames agree; then most match, then they are nearest, then it moves the clip least.

    Alignments are those that anchors propose, both clips' starts or ends together, and the whole clip stretched to the other's length.

    Args:
        shown: what the first clip of a pair is taken to show.
        other: what the clips show.
        short, long: the pairs, (pairs,).
    """
    pairs = len(short)
    out = Best(
        np.zeros(pairs, np.int64), np.zeros(pairs, np.int64), np.zeros(pairs, np.int64), np.ones(pairs), np.zeros(pairs)
    )
    most = 0
    for k in range(pairs):
        one, two = short[k], long[k]
        most = max(
            most,
            (shown.anchor_start[one + 1] - shown.anchor_start[one])
            * (other.anchor_start[two + 1] - other.anchor_start[two]),
        )
    offsets = np.empty(most + 1, np.int64)
    for k in range(pairs):
        one, two = short[k], long[k]
        count, possible = _proposed(shown, one, other, two, limits, offsets)
        if not possible:
            continue
        length, full = other.duration_ms[one], other.duration_ms[two]
        ratio = full / max(1, length)
        for trial in range(count + 3):
            scale, offset = 1.0, 0.0
            if trial < count:
                offset = float(offsets[trial])
            elif trial == count + 1:
                if full <= length:
                    continue
                offset = float(full - length)
            elif trial == count + 2:
                if ratio > limits.stretch or full - length <= limits.window_ms:
                    continue
                scale = ratio
            match, agree, total = _agreement(shown, one, other, two, scale, offset, limits)
            if agree > 0 and _better(match, agree, total, scale, offset, out, k):
                out.matched[k], out.agreeing[k], out.total[k] = match, agree, total
                out.scale[k], out.offset_ms[k] = scale, offset
    return out


@numba.njit(nogil=True, inline="always")
def _better(match: int, agree: int, total: int, scale: float, offset: float, best: Best, k: int) -> bool:
    """Whether an alignment is better than the best one so far."""
    if agree != best.agreeing[k]:
        return agree > best.agreeing[k]
    if match != best.matched[k]:
        return match > best.matched[k]
    if total != best.total[k]:
        return total < best.total[k]
    if abs(offset) != abs(best.offset_ms[k]):
        return abs(offset) < abs(best.offset_ms[k])
    if offset != best.offset_ms[k]:
        return offset < best.offset_ms[k]
    return scale < best.scale[k]


@compiled
def aligned_distances(
    shown: HashedFrames, other: HashedFrames, short: Ints, long: Ints, scale: Floats, offset: Floats, window_ms: int
) -> tuple[Ints, Ints]:
    """How many frames of each pair, aligned so, can be compared, and their distances, summed."""
    count, total = np.zeros(len(short), np.int64), np.zeros(len(short), np.int64)
    for k in range(len(short)):
        one, two = short[k], long[k]
        active = other.start[two] - 1
        for i in range(shown.start[one], shown.start[one + 1]):
            if shown.blank[i]:
                continue
            at = np.int64(np.rint(scale[k] * shown.time_ms[i] + offset[k]))
            active = _advanced(active, at, other, two)
            least = _least(shown.hashes[i], at, active, other, two, window_ms)
            if least < _FAR:
                count[k] += 1
                total[k] += np.int64(least)
    return count, total
