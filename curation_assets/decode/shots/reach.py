"""How far over the picture the change at a proposed cut reaches.

The trees measure the picture as a whole, the network was shown few captions and no bars that move. What is laid over a shot, or taken away,
changes a part of it and leaves the rest alone; where a shot jumps in time, small changes come everywhere at once, which the network takes for
motion. Both are told from the cells of the pictures around the cut.

Thresholds were chosen on the first half of the episodes of `benchmarks.truth`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.proposals import Proposals

AROUND = 4
"""Pictures on either side whose steps tell what is usual."""
CONTRAST, USUAL, LEAST = 0.25, 3.0, 2.0
"""A cell changes if its step is more than this share of the picture's contrast, and so many times the largest other step and `LEAST` levels."""
GROUND = 3.0
"""Levels that are added to the contrast: what coding leaves of a plain ground."""
PATCH_AREA, PATCH_HEIGHT, PATCH_SHARE = 0.35, 0.5, 0.6
"""What is laid over: cells that change lie in a box of at most this share of the picture and of its height, and have at least that share of all
change."""
EVERYWHERE, LEAST_CHANGE, LEAST_SHARE, STANDS_OUT = 0.8, 0.07, 0.13, 1.7
"""A change everywhere: in a box of at least this share of the picture, a median step of at least this share of its contrast, in at least this
share of the cells, so many times the median of the largest other steps."""
LEAST_SHOWN = 0.25
"""Share of the picture's contrast that what stays must have."""
BLACK = 6.0
"""Mean level of red, green and blue up to which a cell may be a bar's."""
LEAST_BAR = 0.05
"""Share of the picture that bars cover or uncover, at least."""
BESIDE_BARS, AMID_MOTION, MOST_BESIDE = 0.1, 1.2, 0.2
"""Share of the contrast by which the rest may change in the median; as much more as the largest other step is, that many times, up to the last."""


class Reach:
    """The change before the picture at a position, beside those around it.

    Args:
        proposals: where the pictures are; four on either side are looked at, or as many as there are.
    """

    def __init__(self, proposals: Proposals, position: int) -> None:
        first, cells = proposals.cells(position - AROUND - 1, position + AROUND + 1, position)
        levels = cells.sum(axis=3) / 12.0
        own = position - 1 - first
        steps = np.abs(np.diff(levels, axis=0))
        self._before, self._after, self._own = levels[own], levels[own + 1], steps[own]
        self._others = np.delete(steps, own, axis=0).max(axis=0, initial=0.0)
        self._contrast = float(self._after.std()) + GROUND
        self._changed = self._own > np.maximum(CONTRAST * self._contrast, USUAL * self._others + LEAST)

    def laid_over(self) -> bool:
        """Whether it is a caption or bars that come or go, and the rest stays."""
        return self._is_patch() or self._is_bars()

    def everywhere(self) -> bool:
        """Whether all of the picture changes, by more than it does otherwise."""
        height, width = self._box()
        own, others = (float(np.median(s)) / self._contrast for s in (self._own, self._others))
        return (
            height * width >= EVERYWHERE
            and self._changed.mean() >= LEAST_SHARE
            and own >= LEAST_CHANGE
            and own >= STANDS_OUT * (others + 0.01)
        )

    def _box(self) -> tuple[float, float]:
        """Height and width of what changes, shares of the picture's."""
        height, width = (
            (int(at[-1]) + 1 - int(at[0])) / len(side) if len(at := np.flatnonzero(side)) else 0.0
            for side in (self._changed.any(axis=1), self._changed.any(axis=0))
        )
        return height, width

    def _is_patch(self) -> bool:
        height, width = self._box()
        if not 0 < height <= PATCH_HEIGHT or height * width > PATCH_AREA:
            return False
        return self._shows(~self._changed) and bool(self._own[self._changed].sum() >= PATCH_SHARE * self._own.sum())

    def _shows(self, part: NDArray[np.bool_]) -> bool:
        """Whether a part of the picture shows anything: plain ground would stay the same in another shot, too."""
        return bool(self._after[part].std() >= LEAST_SHOWN * self._contrast)

    def _is_bars(self) -> bool:
        before, after = _bars(self._before), _bars(self._after)
        covered, rest = before ^ after, ~(before | after)
        if covered.mean() < LEAST_BAR or not rest.any() or not self._shows(rest):
            return False
        changed, own, others = self._own[covered].mean(), np.median(self._own[rest]), np.median(self._others[rest])
        beside = min(max(BESIDE_BARS * self._contrast, AMID_MOTION * others), MOST_BESIDE * self._contrast)
        return bool(changed > CONTRAST * self._contrast and own <= beside)


def _bars(levels: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The cells of black lines that lie side by side from an edge on."""
    bars = np.zeros(levels.shape, bool)
    for lines, covered in ((levels, bars), (levels.T, bars.T)):
        black = lines.max(axis=1) <= BLACK
        from_above = np.logical_and.accumulate(black)
        from_below = np.logical_and.accumulate(black[::-1])[::-1]
        covered[from_above | from_below] = True
    return bars
