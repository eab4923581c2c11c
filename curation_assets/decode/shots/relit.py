"""Whether two pictures are one in another light: the levels of the one follow from the levels of the other, wherever in the picture they are.

A lamp is switched on, lightning strikes, a camera's exposure adapts: much changes at once, and may stay changed, and is no boundary. What the
trees measure is blind to a change of all levels by the same amount, and not to one by a factor or along a curve.

Thresholds were chosen on the first half of the episodes of `benchmarks.truth`.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BINS = 12
"""Levels of a colour in one picture, by rank, for each of which the other picture has one; linear in between."""
LEAST_CONTRAST = 2.0
"""Standard deviation, levels, below which a picture shows nothing that could be recognized."""
OF_PICTURE, OF_CHANGE = 0.22, 0.25
"""What does not follow is at most so much of the variance of the picture, and of what changes: else something moved, or jumped."""
MORE_OF_EDGES = 0.2
"""Of the steps between cells side by side it is at most so much more: a bright sky over dark ground follows from any other, its edges do not."""
BLACK = 6.0
"""Mean level of red, green and blue up to which a cell is black: bars that stay say nothing of what is between them."""
LEAST_SHOWN = 0.08
"""Share of the cells that are not black, at least."""
OTHER_WAY = 0.1
"""Of a change of light at most this share is the other way: what is mixed of two pictures becomes lighter here and darker there."""

PART, PLAIN = (4, 6), 50.0
"""Rows and columns of cells of a part in which a light that leaks is taken for even, and the sum of squares that is added to each part's."""
LEAST_EDGES, LEFT_OF_EDGES = 0.5, 0.42
"""The fainter edges of two pictures are at least that share of the others, sums of squares, and such a light leaves at most that share of them."""

PARTS_OF_GROUND = 8
"""Levels of one picture, by rank, for each of which the median in the other is taken."""
TOLERANCE, LEAST_TOLERANCE = 0.08, 2.0
"""A cell follows if it is within that share of the larger standard deviation, or so many levels, of that median."""
LEAST_GROUND, ALIKE, LEAST_LIGHT = 0.6, 0.88, 4.0
"""Share of the cells that follow, correlation of what they show, and levels by which half of them change, each at least: of ninety dissolves and
other slow transitions none comes near, of five exposures that follow a thing that passes each has more."""

RETURNS, LEAST_GLOW, LARGEST_STEP, EVERY = 0.3, 8.0, 0.6, 3
"""A light has gone where a picture is nearer to one before than this share of the most by which the light changed it, which is at least so many
levels; no step makes more than that share of it, as a cut to another shot and back would; every third picture before is looked at."""


def light_alone(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    """Whether the second of two pictures is the first in a light that is brighter everywhere, or darker.

    Args:
        first, second: as for `relit`.
    """
    return _one_way(first, second) and relit(first, second)


def _one_way(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    """Whether a picture becomes the other by what is lighter in it almost everywhere, or darker."""
    change = second - first
    total = int(np.abs(change).sum())
    lighter = (total + int(change.sum())) // 2
    return min(lighter, total - lighter) <= OTHER_WAY * total


def light_leaks(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    """Whether one of two pictures is the other under a light that is stronger in one place than in another, as where it leaks onto film.

    In each of some parts of the picture the levels of the one must be a factor of the other's and something more, as its edges show, and not
    where the light has bleached them all.

    Args:
        first, second: as for `relit`.
    """
    everywhere = np.ones(first.shape[:2], np.bool_)
    edges = [_edges(p, everywhere) for p in (first, second)]
    if (
        min(edges) < LEAST_EDGES * max(edges)
        or min(p.std(axis=(0, 1)).max() for p in (first, second)) < 4 * LEAST_CONTRAST
    ):
        return False
    return _one_way(first, second) and any(
        _edges(_left_in_parts(given, other), everywhere) <= LEFT_OF_EDGES * _edges(other, everywhere)
        for given, other in ((first, second), (second, first))
    )


def _left_in_parts(given: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.float64]:
    """What is left of a picture, part by part, after as much of the given one as fits best is taken away; but for the means."""
    left = np.zeros(other.shape)
    rows, columns = (
        np.array_split(np.arange(n), max(1, round(n / k))) for n, k in zip(other.shape, PART, strict=False)
    )
    for part in (np.ix_(r, c) for r in rows for c in columns):
        own, seen = (p[part] - p[part].mean(axis=(0, 1)) for p in (given, other))
        share = np.maximum((own * seen).sum(axis=(0, 1)) / ((own**2).sum(axis=(0, 1)) + PLAIN), 0.0)
        left[part] = seen - share * own
    return left


def light_comes_and_goes(cells: NDArray[np.int32], first: int, end: int) -> bool:
    """Whether the pictures [first, end) belong to a light that grows over the picture, makes nothing darker, and goes again.

    Where the ground is so plain that no edge tells that it stayed (`light_leaks`), what comes back does.

    Args:
        cells: of consecutive pictures (n, rows, columns, 3), with those on either side to which the light may reach.
    """
    luma = cells.sum(axis=3) / 12.0
    steps = np.abs(np.diff(luma, axis=0)).mean(axis=(1, 2))
    for before in range(first - 1, -1, -EVERY):
        change = luma[before + 1 :] - luma[before]
        away = np.abs(change).mean(axis=(1, 2))
        darker = (away - change.mean(axis=(1, 2))) / 2
        most, largest = np.maximum.accumulate(away), np.maximum.accumulate(steps[before:])
        back = (away < RETURNS * most) & (most >= LEAST_GLOW) & (largest <= LARGEST_STEP * most)
        for k in np.flatnonzero(back[max(end - before - 1, 0) :]) + max(end - before - 1, 0):
            lit = away[:k] > RETURNS * most[k]
            if not (darker[:k][lit] > OTHER_WAY * away[:k][lit]).any():
                return True
    return False


def leave_out_light(chances: NDArray[np.float64], cells: NDArray[np.int32]) -> None:
    """Of a change in a few steps take those for none in which the light alone changes; another has their probability.

    Args:
        chances: of a boundary at each step (n,); changed in place.
        cells: of the picture before the first step, and of the one after each (n + 1, rows, columns, 3).
    """
    lit = np.array([light_alone(before, after) for before, after in pairwise(cells)], np.bool_)
    highest = float(chances.max())
    if lit.all() and light_alone(cells[0], cells[-1]):
        chances[:] = 0.0
    elif lit.any() and not lit.all():
        chances[lit] = 0.0
        chances[int(np.argmax(chances))] = highest


def ground_relit(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    """Whether most of one of two pictures is the other's in another light, whatever came, went or moved in the rest of it.

    A camera's exposure follows what passes before plain ground: all of the ground becomes darker, or lighter, at the pace of a dissolve.

    Args:
        first, second: as for `relit`.
    """
    levels = [p.sum(axis=2).ravel() / 12.0 for p in (first, second)]
    within = max(TOLERANCE * max(float(p.std()) for p in levels), LEAST_TOLERANCE)
    for given, other in (levels, levels[::-1]):
        parts = np.array_split(np.argsort(given, kind="stable"), PARTS_OF_GROUND)
        here, there = ([float(np.median(p[part])) for part in parts] for p in (given, other))
        follows = np.abs(other - np.interp(given, here, there)) <= within
        if follows.mean() < LEAST_GROUND:
            continue
        own, seen = given[follows], other[follows]
        if min(own.std(), seen.std()) < 0.5 or np.median(np.abs(own - seen)) < LEAST_LIGHT:
            continue
        if np.corrcoef(own, seen)[0, 1] >= ALIKE:
            return True
    return False


def relit(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    """Whether one of two pictures is the other in another light.

    Args:
        first, second: cells (rows, columns, 3), sums of four levels, of one shape.
    """
    shown = np.maximum(first.sum(axis=2), second.sum(axis=2)) > 12 * BLACK
    if shown.mean() < LEAST_SHOWN or min(p[shown].std(axis=0).max() for p in (first, second)) < 4 * LEAST_CONTRAST:
        return False
    change = float(((first - second)[shown] ** 2).sum())
    for given, other in ((first, second), (second, first)):  # a side that is clipped tells nothing of the other
        rest = np.zeros(other.shape)
        for k in range(3):
            rest[shown, k] = other[shown, k] - _followed(given[shown, k], other[shown, k])
        left = float((rest**2).sum())
        of_picture = left / (float(other[shown].var(axis=0).sum()) * int(shown.sum()))
        of_edges = _edges(rest, shown) / max(_edges(other, shown), 1.0)
        if left <= OF_CHANGE * change and of_picture <= OF_PICTURE and of_edges <= MORE_OF_EDGES + of_picture:
            return True
    return False


def _followed(given: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.float64]:
    """What the levels (n,) of one colour are in `other` by what they are in `given`."""
    ranks = np.sort(given)[[given.size * k // BINS for k in range(1, BINS)]]
    which = np.searchsorted(ranks, given, side="right")
    count = np.bincount(which, minlength=BINS)
    used = count > 0
    here, there = (np.bincount(which, levels, BINS)[used] / count[used] for levels in (given, other))
    result: NDArray[np.float64] = np.interp(given, here, there)
    return result


def _edges(picture: NDArray[np.float64] | NDArray[np.int32], shown: NDArray[np.bool_]) -> float:
    """Sum of squares of the steps between cells side by side, and one above the other, that are both shown."""
    down, right = shown[1:] & shown[:-1], shown[:, 1:] & shown[:, :-1]
    return float((np.diff(picture, axis=0)[down] ** 2).sum() + (np.diff(picture, axis=1)[right] ** 2).sum())
