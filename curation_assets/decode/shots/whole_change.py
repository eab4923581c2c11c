"""Where most of the picture changes at once and for good, amid pictures most of which stays as it is: a cut, whatever else goes on in them.

The trees measure by correlation and by means, so a small part that flickers between black and white (a counter, a strip of signals) hides a
cut of all the rest from them. The median over the pixels is blind to that part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.thinning import Thinned

LEAST_CHANGE = 15.0
"""Median over the pixels of how far their mean of red, green and blue is from before, levels."""
LEAST_STEP = LEAST_CHANGE / 2
"""Mean step below which the median cannot be that large."""
STANDS_OUT = 3.5
"""How many times the largest other step nearby it is."""
LONGEST_FLASH = 2
"""Pictures on either side between which the change must still be there."""
AROUND = 16
"""Pictures on either side whose steps are nearby."""


def whole_change_at(thinned: Thinned, position: int) -> bool:
    """Whether most of the picture changes before `position`; 16 pictures on either side must be there by now, or the end."""
    if thinned.step(position) < LEAST_STEP:
        return False
    near = np.arange(max(0, position - AROUND - 1), min(thinned.count, position + AROUND + 1))
    at = position - int(near[0])
    closest = slice(max(0, at - LONGEST_FLASH - 1), at + LONGEST_FLASH + 1)
    few = thinned.frames(near[closest]).mean(axis=3)
    middle = at - closest.start
    lags = range(min(LONGEST_FLASH, middle - 1, len(few) - 1 - middle) + 1)
    change = min(_median(few[middle - 1 - lag], few[middle + lag]) for lag in lags)
    if change < LEAST_CHANGE:
        return False
    grey = thinned.frames(near).mean(axis=3)
    others = [_median(grey[i - 1], grey[i]) for i in range(1, len(grey)) if i != at]
    return change >= STANDS_OUT * max(others, default=0.0)


def _median(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.median(np.abs(a - b)))
