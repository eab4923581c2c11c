"""Sums of differences between pictures, as they are or moved along each other: the inner loops of `sweeps`, compiled.

What belongs here: counting, in whole numbers. What the counts mean is said in `sweeps`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

Ints = NDArray[np.int32]


@compiled
def moved(seen: Ints, old: Ints, new: Ints) -> Any:
    """How far pictures (n, rows, columns) are from slides by 1, 2, ... columns: int64 (2, 3, columns - 1, n).

    First those in which `new` comes in on the right, then on the left; of either those in which both move, in which `new` comes over an `old`
    that stands, and in which `old` goes from before a `new` that stands.
    """
    count, rows, columns = seen.shape
    result = np.empty((2, 3, columns - 1, count), np.int64)
    right, left = np.empty((2, columns), np.int32), np.empty((2, columns), np.int32)
    stands = np.empty((2, columns + 1), np.int32)
    for k in range(count):
        for which in range(2):
            picture = old if which == 0 else new
            for shift in range(columns):
                total, back = np.int32(0), np.int32(0)
                for r in range(rows):
                    for i in range(columns - shift):
                        total += abs(seen[k, r, i] - picture[r, i + shift])
                        back += abs(seen[k, r, i + shift] - picture[r, i])
                left[which, shift], right[which, shift] = total, back
            stands[which, 0] = 0
            for i in range(columns):
                own = np.int32(0)
                for r in range(rows):
                    own += abs(seen[k, r, i] - picture[r, i])
                stands[which, i + 1] = stands[which, i] + own
        for come in range(1, columns):
            stay = columns - come
            result[0, 0, come - 1, k] = left[0, come] + right[1, stay]
            result[0, 1, come - 1, k] = stands[0, stay] + right[1, stay]
            result[0, 2, come - 1, k] = left[0, come] + stands[1, columns] - stands[1, stay]
            result[1, 0, come - 1, k] = right[0, come] + left[1, stay]
            result[1, 1, come - 1, k] = stands[0, columns] - stands[0, come] + left[1, stay]
            result[1, 2, come - 1, k] = right[0, come] + stands[1, come]
    return result


@compiled
def least(errors: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of what `moved` gives the least for each picture, summed over the pictures, (2, 3), and where it is, (2, 3, n)."""
    sums, where = np.zeros((2, 3), np.int64), np.zeros((2, 3, errors.shape[3]), np.int64)
    for side in range(2):
        for way in range(3):
            for k in range(errors.shape[3]):
                best = 0
                for at in range(1, errors.shape[2]):
                    if errors[side, way, at, k] < errors[side, way, best, k]:
                        best = at
                where[side, way, k] = best
                sums[side, way] += errors[side, way, best, k]
    return sums, where


@compiled
def seams(old: Ints, new: Ints) -> tuple[tuple[int, int], int, int]:
    """Sums of the steps between neighbouring columns of either picture, and of those where the right edge of `old` meets the left one of `new`, and the other way round."""
    of_old = of_new = right = left = 0
    last = old.shape[1] - 1
    for row in range(old.shape[0]):
        for k in range(last):
            of_old += abs(old[row, k + 1] - old[row, k])
            of_new += abs(new[row, k + 1] - new[row, k])
        right += abs(old[row, last] - new[row, 0])
        left += abs(old[row, 0] - new[row, last])
    return (of_old, of_new), right, left


@compiled
def unlike(between: Ints, before: Ints, after: Ints) -> tuple[int, int]:
    """How far two pictures are apart, and the sum over others (n, rows, columns) of how far each is from the nearer of the two."""
    apart = 0
    for row in range(before.shape[0]):
        for k in range(before.shape[1]):
            apart += abs(after[row, k] - before[row, k])
    total = 0
    for picture in between:
        to_before = to_after = 0
        for row in range(before.shape[0]):
            for k in range(before.shape[1]):
                to_before += abs(picture[row, k] - before[row, k])
                to_after += abs(picture[row, k] - after[row, k])
        total += min(to_before, to_after)
    return apart, total


@compiled
def unlike_either(cells: Ints, places: NDArray[np.int64]) -> tuple[int, int]:
    """How far the last of some pictures (n, rows, columns, 3) is from the first, and the sum over those at some places of how far each sample is from the nearer one of the two's."""
    before, after = cells[0], cells[-1]
    apart = total = 0
    for row in range(before.shape[0]):
        for k in range(before.shape[1]):
            for colour in range(3):
                apart += abs(after[row, k, colour] - before[row, k, colour])
                for place in places:
                    own = cells[place, row, k, colour]
                    total += min(abs(own - before[row, k, colour]), abs(own - after[row, k, colour]))
    return apart, total


@compiled
def nearest_return(cells: Ints, first: int, end: int, reach: int) -> tuple[int, int]:
    """How far the picture before `first` and the one at `end` are apart, and how far the first is at least from every second one after, or the other from every second one before."""
    before, after = cells[first - 1], cells[end]
    change = _apart(before, after)
    nearest = change
    for at in range(end, min(end + reach, len(cells)), 2):
        nearest = min(nearest, _apart(cells[at], before))
    for at in range(max(0, first - reach), first, 2):
        nearest = min(nearest, _apart(cells[at], after))
    return change, nearest


@compiled
def _apart(a: Ints, b: Ints) -> int:
    total = np.int32(0)
    for row in range(a.shape[0]):
        for k in range(a.shape[1]):
            for colour in range(3):
                total += abs(a[row, k, colour] - b[row, k, colour])
    return int(total)
