"""Whether something else happens in two clips that lie on each other: at another time, or in other places, while the rest agrees.

Two videos with one intro agree for as long as that lasts, and two views of one room wherever nobody walks. Both are much of what is seen, so that means over
all of it say little.

What belongs here: looking for the time or the places where two courses have nothing in common. What does not: laying them (`evidence`, `laying`), what stands
otherwise (`standing`).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from curation_assets.dedup.courses import Values
from curation_assets.dedup.detail import detail_of
from curation_assets.dedup.levels import NOISE

BLACK: Final = 4.0
"""Levels by which a picture deviates from its mean at least if it is known what it shows: less is a fade or a blank."""

LEAST_SPANS: Final = 4
PART_OF_TIME: Final = 4
"""Of this part of the time, in one piece, the likeness is taken; from so many spans on."""

CHANGES: Final = 1.5
"""Levels by which a cell deviates from its mean over time if it changes."""

STANDS: Final = 4.0
"""A cell changes in one clip alone if its variance is so many times that in the other."""

LEAST_CELLS: Final = 3
"""So many cells at least change in each clip alone, or none are said to: fewer are coding."""

CORNER: Final = 0.28
"""What lies in so much of both sides, at a corner, does not count: a logo hides what moves there."""


def worst_time(x: Values, y: Values) -> float:
    """Correlation of the detail of two courses in the quarter of the time in which it is least.

    Args:
        x, y: both courses laid on each other, (spans, rows, columns) each, with all spans that both clips show.

    Returns:
        1 of too few spans. Spans in which one of them is nearly black do not count.
    """
    known = np.minimum(x.std(axis=(1, 2)), y.std(axis=(1, 2))) >= BLACK
    if known.sum() < LEAST_SPANS:
        return 1.0
    x, y = (np.array([detail_of(picture) for picture in v[known]]) for v in (x, y))
    floor = NOISE**2 * x[0].size
    both, of_x, of_y = ((u * v).sum(axis=(1, 2)) + floor for u, v in ((x, y), (x, x), (y, y)))
    alike = np.convolve(both / np.sqrt(of_x * of_y), np.ones(len(x) // PART_OF_TIME), "valid")
    return float(alike.min()) / (len(x) // PART_OF_TIME)


def changes_alone(x: Values, y: Values) -> float:
    """Share of the change of either clip that lies where the other one stands still; the lesser of the two.

    Args:
        x, y: both courses laid on each other, of one level, (spans, rows, columns) each.

    A logo, a subtitle or a frame hides change of one clip only; two who walk through one room change other cells each.
    """
    rows, columns = (np.minimum(at, 1 - at) < CORNER for at in ((np.arange(n) + 0.5) / n for n in x.shape[1:]))
    elsewhere = ~(rows[:, None] & columns)
    alone = []
    for own, other in ((x.var(axis=0), y.var(axis=0)), (y.var(axis=0), x.var(axis=0))):
        changes = elsewhere & (own > CHANGES**2)
        only = changes & (own > STANDS * other)
        alone.append(float(own[only].sum() / own[changes].sum()) if only.sum() >= LEAST_CELLS else 0.0)
    return min(alone)
