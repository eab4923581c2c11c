"""Where a dissolve may be under way, from the detail of the pictures, for those that the trees do not see.

The mean of two unlike pictures has about half the detail of either, whatever moves in them (the dip in variance that Alattar described in
1993). The dip at a position is the share of detail that the pictures h before and after have and the ones around it lack, for four half
lengths h. Where the two ends differ, by no single step, and the dip is deep, a dissolve is proposed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.history import distance
from curation_assets.decode.shots.thinning import Thinned

LEAST_DIPS = {5: 0.26, 8: 0.30, 16: 0.34, 24: 0.38}
"""Half length of a dissolve in pictures to the least dip that is worth the network's time."""
LEAST_CHANGE, LEAST_DETAIL = 24.0, 4.0
"""Least difference of the two ends of a dissolve, levels, and least detail of either, levels squared."""
LARGEST_STEP = 0.5
"""Share of that difference from which a single step is a cut or a flash, which the dip of detail only stands beside."""
BLURRED = 0.7
"""Share of the least detail that a mixture of two pictures has below which the pictures are blurred: focus that is lost and found."""
BESIDE = 8
"""Pictures on either side of a transition whose median detail is that of its ends."""


def dips_among(thinned: Thinned, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a dissolve may be under way at each of some ascending positions; 25 pictures on either side must be there by now, or the end."""
    under_way = np.zeros(len(positions), bool)
    middle = np.max([thinned.details(positions + offset) for offset in (-1, 0, 1)], axis=0)
    for half, least_dip in LEAST_DIPS.items():
        before, after = thinned.details(positions - half), thinned.details(positions + half)
        known = (positions >= half) & (positions + half < thinned.count)
        detailed = known & (np.minimum(before, after) >= LEAST_DETAIL)
        deep = detailed & (2 * middle <= (1 - least_dip) * (before + after))
        for k in np.flatnonzero(deep & ~under_way):
            under_way[k] = _changes_slowly(thinned, int(positions[k]) - half, int(positions[k]) + half)
    return under_way


def _changes_slowly(thinned: Thinned, first: int, last: int) -> bool:
    """Whether two pictures differ, by no single step."""
    change = distance(thinned.frame(first), thinned.frame(last))
    return change >= LEAST_CHANGE and thinned.steps(np.arange(first + 1, last + 1)).max() < LARGEST_STEP * change


def blurred(thinned: Thinned, first: int, end: int) -> bool:
    """Whether the pictures at positions [first, end) have less detail than any mixture of what is before and after.

    Of unlike pictures with detail a and b the mixture with share s has (1 - s)^2 a + s^2 b, which is never less than a b / (a + b).
    """
    before, after = (
        float(np.median(thinned.details(np.arange(*part)))) for part in ((first - BESIDE, first), (end, end + BESIDE))
    )
    least = float(thinned.details(np.arange(first - 2, end + 2)).min())
    return least * (before + after) < BLURRED * before * after
