"""Where a dissolve may be under way, from the detail of the pictures, for those that the trees do not see.

The mean of two unlike pictures has about half the detail of either, whatever moves in them (the dip in variance that Alattar described in
1993). The dip at a position is the share of detail that the pictures h before and after have and the ones around it lack, for four half
lengths h. Where the two ends differ, by no single step, and the dip is deep, a dissolve is proposed.
"""

from __future__ import annotations

from curation_assets.decode.shots.history import distance
from curation_assets.decode.shots.thinning import Thinned

LEAST_DIPS = {5: 0.26, 8: 0.30, 16: 0.34, 24: 0.38}
"""Half length of a dissolve in pictures to the least dip that is worth the network's time."""
LEAST_CHANGE, LEAST_DETAIL = 24.0, 4.0
"""Least difference of the two ends of a dissolve, levels, and least detail of either, levels squared."""
LARGEST_STEP = 0.5
"""Share of that difference from which a single step is a cut or a flash, which the dip of detail only stands beside."""


def dips_at(thinned: Thinned, position: int) -> bool:
    """Whether a dissolve may be under way at a position; 25 pictures on either side must be there by now, or the end."""
    detail = max(thinned.detail(position + offset) for offset in (-1, 0, 1))
    for half, least_dip in LEAST_DIPS.items():
        first, last = position - half, position + half
        if first < 0 or last >= thinned.count:
            return False
        before, after = thinned.detail(first), thinned.detail(last)
        if min(before, after) < LEAST_DETAIL or 1 - 2 * detail / (before + after) < least_dip:
            continue
        change = distance(thinned.frame(first), thinned.frame(last))
        if change >= LEAST_CHANGE and max(map(thinned.step, range(first + 1, last + 1))) < LARGEST_STEP * change:
            return True
    return False
