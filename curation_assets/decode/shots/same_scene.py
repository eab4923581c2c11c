"""Whether the pictures on either side of a change show the same scene: under other lamps, or moved along.

Lamps of several colours, each of which reaches a part of the picture, change all levels at once, in some places up and in others down; a page
that is scrolled, or a camera that is tilted, moves all of it. Neither is a boundary, and either changes as much as one does. What stays is
where the edges are: in each part of the picture those before and those after are compared, whatever their size.

What belongs here: what follows from pairs of pictures. What does not: which pairs are looked at (`camera`), and light that is the same
all over, which leaves levels that follow from one another (`relit`).

Thresholds were chosen on the first half of the episodes of `benchmarks.truth`.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.relit import BLACK
from curation_resources.compiled import compiled

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]

PART, OF_PART = (4, 6), 8
"""Rows and columns of a part in which edges are compared, and in how many places of it something must be shown."""
LEAST_EDGES, LEAST_PARTS = 2.0, 0.4
"""Mean square of the steps of a part whose edges can be compared, in levels squared; and in that share of the parts there are some."""
AGREE, MOST_AGREE = 0.56, 0.3
"""Correlation of the edges before and after, in half of the parts and in three quarters of them."""
CHANGED, LEAST_CHANGE = 0.7, 4.0
"""Share of the cells that change by more than so many levels in one colour: a light reaches everything."""
LEAST_LIGHT, LEAST_ANEW = 8.0, 0.2
"""Levels by which the mean of one colour changes, and what changes of the edges as a share of the edges: less in jumps within a take."""

STEPS, AWAY = 2, 0.07
"""Samples, and share of the side, by which pictures are moved along at least; at most half of it."""
MOVED, OF_CONTRAST, SHOWN = 0.4, 0.6, 0.8
"""What a move leaves of the difference, and of the standard deviation of what is seen in both pictures, at most; and the share of the standard
deviation of the whole that this has at least: plain ground moves along anything."""
MOVED_AGREE, MOST_MOVED_AGREE = 0.55, 0.4
"""As `AGREE` and `MOST_AGREE`, of what is seen in both."""
OF_LUMA = (7, 12)
"""Rows and columns of samples of a part."""


def lit_otherwise(pairs: Iterable[tuple[Ints, Ints]]) -> bool:
    """Whether every pair of pictures shows one scene under lamps that are elsewhere, or of other colours.

    Args:
        pairs: cells (rows, columns, 3), sums of four levels, before and after the change: the ones next to it, and others farther off on either
            side, for what is a mixture of two scenes has the edges of both.
    """
    return all(_one_pair(before, after) for before, after in pairs)


def _one_pair(before: Ints, after: Ints) -> bool:
    before, after = before[1:-1, 1:-1], after[1:-1, 1:-1]  # the outer ones may be half a bar
    if min(before.shape[:2]) < 3:
        return False
    change = np.abs(after - before)
    shown = _inside(np.maximum(before.sum(axis=2), after.sum(axis=2)) > 12 * BLACK)
    if not shown.any() or (change.max(axis=2)[shown] > 4 * LEAST_CHANGE).mean() < CHANGED:
        return False
    if np.abs((after - before).mean(axis=(0, 1))).max() < 4 * LEAST_LIGHT:
        return False
    edges = [sum(float((d**2).sum()) for d in _steps(p)) for p in (before, after, after - before)]
    if edges[2] < LEAST_ANEW * max(min(edges[:2]), 1.0):
        return False
    here = shown[:-1, :-1] & shown[1:, :-1] & shown[:-1, 1:]
    return _agree(before, after, here, PART, (AGREE, MOST_AGREE))


def _inside(shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The cells that are shown with all their neighbours."""
    padded = np.pad(shown, 1, constant_values=True)
    rows, columns = shown.shape
    whole: NDArray[np.bool_] = np.logical_and.reduce(
        [padded[i : i + rows, k : k + columns] for i in range(3) for k in range(3)]
    )
    return whole


def _steps(picture: Ints) -> tuple[Ints, Ints]:
    """The steps across and down from each sample (rows - 1, columns - 1, ...)."""
    return np.diff(picture, axis=1)[:-1], np.diff(picture, axis=0)[:, :-1]


def _agree(
    before: Ints, after: Ints, shown: NDArray[np.bool_], part: tuple[int, int], agree: tuple[float, float]
) -> bool:
    """Whether the edges of two pictures correlate in half of the parts, and in three quarters of them, by so much each.

    Of three colours, each the sum of four levels, the one counts that has the most edges in both; else a sample is the sum of three levels.
    """
    rows, columns = (np.array_split(np.arange(n), max(1, round(n / k))) for n, k in zip(shown.shape, part, strict=True))
    level = 4 if before.ndim == 3 else 3
    before, after = (p if p.ndim == 3 else p[..., None] for p in (before, after))
    pairs = list(zip(_steps(before), _steps(after), strict=True))
    found, parts = [], 0
    for place in (np.ix_(r, c) for r in rows for c in columns):
        here = shown[place]
        count = int(here.sum())
        if count < OF_PART:
            continue
        parts += 1
        both, own, other = (
            sum((a[place][here].astype(np.int64) * b[place][here]).sum(axis=0) for a, b in which)
            for which in (pairs, [(a, a) for a, _ in pairs], [(b, b) for _, b in pairs])
        )
        flat = 2 * count * level**2
        most = int(np.argmax(np.minimum(own, other)))
        if min(own[most], other[most]) > LEAST_EDGES * flat:
            found.append(float(both[most] / np.sqrt(float(own[most] + flat) * float(other[most] + flat))))
    if len(found) < max(3, LEAST_PARTS * parts):
        return False
    return bool(np.median(found) >= agree[0] and np.quantile(found, 0.25) >= agree[1])


def moved_along(before: Ints, after: Ints) -> bool:
    """Whether a picture is the one before it moved along, across or down, with something new coming in on one side.

    Args:
        before, after: sums of red, green and blue (rows, columns).
    """
    whole = float(np.abs(after - before).mean())
    contrast = min(float(before.std()), float(after.std()))
    for axis in (0, 1):
        one, two = (np.ascontiguousarray(np.moveaxis(p, axis, 0)) for p in (before, after))
        left, by = _nearest(one, two, max(STEPS, int(np.ceil(AWAY * len(one)))))
        if by == 0 or left > MOVED * whole:
            continue
        a, b = (one[by:], two[:-by]) if by > 0 else (one[:by], two[-by:])
        seen = min(float(a.std()), float(b.std()))
        if seen < SHOWN * contrast or left > OF_CONTRAST * seen:
            continue
        here = np.ones((len(a) - 1, a.shape[1] - 1), np.bool_)
        part = OF_LUMA if axis == 0 else OF_LUMA[::-1]
        if _agree(a, b, here, part, (MOVED_AGREE, MOST_MOVED_AGREE)):
            return True
    return False


@compiled
def _nearest(one: Ints, two: Ints, least: int) -> tuple[float, int]:
    """Mean difference of two pictures (rows, columns) where the second is the first moved up by so many rows, and by how many: negative for down."""
    rows, columns = one.shape
    best, by = 1e30, 0
    for step in range(least, rows // 2 + 1):
        up, down = 0, 0
        for row in range(rows - step):
            for k in range(columns):
                up += abs(one[row + step, k] - two[row, k])
                down += abs(one[row, k] - two[row + step, k])
        count = (rows - step) * columns
        if up / count < best:
            best, by = up / count, step
        if down / count < best:
            best, by = down / count, -step
    return best, by
