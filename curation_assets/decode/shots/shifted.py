"""Sums of differences between pictures that are moved along each other: the inner loops of `sweeps`, compiled.

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
