"""The levels of pictures of two clips made comparable: brightness, contrast and fades say nothing of what they show.

What belongs here: gains and offsets of pictures that lie on each other. What does not: how they are laid, and what is made of it (`evidence`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.courses import Values

NOISE: Final = 1.0
"""Luma levels by which coding changes the mean of a cell."""

DIM: Final = 0.25
"""Spans whose contrast is below this share of what is usual in the clip are those of a fade's darkest part, and not compared."""

ALONE: Final = 0.2
"""Nor are spans in which one clip's contrast against the other's differs from what is usual by more than this (natural logarithm): that of a fade in
one of them."""

FADED: Final = 0.06
"""Spans in which one clip's contrast has changed by more than this share against the other's have a gain of their own."""

UNLIKE: Final = 0.5
"""Difference of two cells, in deviations of the pictures, from which they count little in the gain."""


def even(values: Values) -> Values:
    """Each picture less its mean, all of one contrast."""
    values = values - values.mean(axis=(1, 2), keepdims=True)
    contrast = values.std(axis=(1, 2), keepdims=True)
    return np.asarray(values * float(np.median(contrast)) / np.maximum(contrast, 2 * NOISE), np.float64)


def both_lit(x: Values, y: Values) -> tuple[Values, Values]:
    """The pictures (n, rows, columns) of two clips at the same times, without those too dark in a fade of either; all if none is left.

    Left out are also those that one clip alone fades in or out, since brought back to what is usual their coding noise is change: unless that were most.
    """
    ratio = np.log(np.maximum(NOISE, x.std(axis=(1, 2))) / np.maximum(NOISE, y.std(axis=(1, 2))))
    lit = _lit(x) & _lit(y)
    usual = lit & (np.abs(ratio - np.median(ratio)) <= ALONE)
    if 2 * usual.sum() >= lit.sum():
        lit = usual
    return (x[lit], y[lit]) if lit.any() else (x, y)


def _lit(values: Values) -> NDArray[np.bool_]:
    """Which of the pictures (n, rows, columns) are not those of a fade."""
    contrast = values.std(axis=(1, 2))
    lit: NDArray[np.bool_] = contrast >= DIM * np.median(contrast)
    return lit


def levelled(x: Values, y: Values) -> tuple[Values, Values]:
    """The pictures with one gain and offset for each clip, and others where one of them fades.

    Cells in which the two differ (a logo, another face) count little in what gain and offset are.
    """
    (at_x, size_x), (at_y, size_y) = _standards(x, y, (1, 2))
    (mean_x, all_x), (mean_y, all_y) = _standards(x, y, (0, 1, 2))
    faded = np.abs(np.log(size_x / all_x * all_y / size_y)) > FADED
    size_x, size_y = np.where(faded, size_x, all_x), np.where(faded, size_y, all_y)
    at_x, at_y = np.where(faded, at_x, mean_x), np.where(faded, at_y, mean_y)
    level = float(np.sqrt(all_x * all_y).item())
    return (x - at_x) * (level / size_x), (y - at_y) * (level / size_y)


def _standards(x: Values, y: Values, axes: tuple[int, ...]) -> tuple[tuple[Values, Values], tuple[Values, Values]]:
    """Mean and deviation of each over the axes, which stay with length 1; where the two differ counts little."""
    weight = np.ones_like(x)
    for _ in range(4):
        sides = []
        total = weight.sum(axis=axes, keepdims=True)
        for v in (x, y):
            mean = (weight * v).sum(axis=axes, keepdims=True) / total
            spread = np.sqrt((weight * (v - mean) ** 2).sum(axis=axes, keepdims=True) / total)
            sides.append((mean, np.maximum(NOISE, spread)))
        (mean_x, size_x), (mean_y, size_y) = sides
        weight = 1 / (1 + (((x - mean_x) / size_x - (y - mean_y) / size_y) / UNLIKE) ** 2)
    return sides[0], sides[1]
