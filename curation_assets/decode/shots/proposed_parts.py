"""In which pictures of a run of proposals a boundary lies: the parts that stand out, where one ends, and how far a gradual transition goes.

What belongs here: what follows from the trees' probabilities alone. What does not: what the network says of them (`cascade`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.cuts import runs

SHORT, STANDS_OUT = 3, 0.3
"""A change is a cut if the trees give at most so many frames in a row more than that; in longer ones a gradual transition is looked for."""
UNSEEN = 5
"""One in so many of its pictures is what the trees see nothing of at either end of a gradual transition, as known ones have it."""
JOIN = 12
"""Parts of a gradual transition that the trees are less sure of in between lie at most so many pictures apart."""


def marked(first: int, end: int) -> tuple[int, int]:
    """The extent of a gradual transition that the trees see at positions [first, end): beyond either end there is some that they see nothing of."""
    beside = (end - first) // UNSEEN
    return first - beside, end + beside


def standing_out(chances: NDArray[np.float64], breaks: Collection[int] = ()) -> list[tuple[int, int]]:
    """The parts [first, end) of a run of proposals in which boundaries lie: of at most `SHORT` pictures where cuts do.

    Args:
        breaks: pictures before which no part goes on.
    """
    highest = int(np.argmax(chances))
    parts: list[tuple[int, int]] = []
    for first, end in split_at(runs(chances >= STANDS_OUT), breaks) or [(highest, highest + 1)]:
        apart = any(parts[-1][1] <= k <= first for k in breaks) if parts else True
        if not apart and first - parts[-1][1] <= JOIN and max(end - first, parts[-1][1] - parts[-1][0]) > SHORT:
            first = parts.pop()[0]
        parts.append((first, end))
    return parts


def split_at(parts: Sequence[tuple[int, int]], breaks: Collection[int]) -> list[tuple[int, int]]:
    """The intervals [first, end), cut before each of `breaks` that lies in one."""
    return [pair for a, b in parts for pair in pairwise([a, *sorted(k for k in breaks if a < k < b), b])]
