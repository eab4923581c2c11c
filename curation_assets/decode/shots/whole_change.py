"""Where most of the picture changes at once and for good, amid pictures most of which stays as it is: a cut, whatever else goes on in them.

The trees measure by correlation and by means, so a small part that flickers between black and white (a counter, a strip of signals) hides a
cut of all the rest from them. The median over the pixels is blind to that part.
"""

from __future__ import annotations

import cv2
import numpy as np

from curation_assets.decode.shots.thinning import Thinned

LEAST_CHANGE = 15.0
"""Median over the pixels of how far their mean of red, green and blue is from before, levels."""
LEAST_STEP = LEAST_CHANGE / 2
"""Mean step below which the median cannot be that large."""
STANDS_OUT = 3.5
"""How many times the largest other step nearby it is."""
LONGEST_FLASH = 2
"""Pictures on either side between which the change must still be there."""
RETURNS = 0.3
"""A picture is near another if they differ by less than this share of the change."""
MIXED = 2
"""A slow cut lies between the pictures so many before and one less after its largest step."""
AROUND = 16
"""Pictures on either side whose steps are nearby."""
TOTAL = np.ones((1, 3))


def whole_change_at(thinned: Thinned, position: int) -> bool:
    """Whether most of the picture changes before `position`; 16 pictures on either side must be there by now, or the end."""
    if thinned.step(position) < LEAST_STEP:
        return False
    change = _median(thinned, position - 1, position)
    if change < LEAST_CHANGE:
        return False
    near = np.arange(max(1, position - AROUND), min(thinned.count, position + AROUND + 1))
    others = near[near != position]
    largest_first = others[np.argsort(-thinned.steps(others), kind="stable")]
    lag = min(LONGEST_FLASH, position - 1, thinned.count - 1 - position)
    for back, on in ((position - 1 - k, position + k) for k in range(1, lag + 1)):
        change = min(change, _median(thinned, back, on))
    if change < LEAST_CHANGE:
        return False
    return all(change >= STANDS_OUT * _median(thinned, int(other) - 1, int(other)) for other in largest_first)


def returns(thinned: Thinned, position: int) -> bool:
    """Whether what is near the picture before `position` comes back within 16 after it, or what is near the one at it was there within as many before."""
    change = _median(thinned, position - 1, position)
    earlier = range(max(0, position - 1 - AROUND), position - 1)
    later = range(position + 1, min(thinned.count, position + AROUND + 1))
    pairs = [*((position - 1, k) for k in later), *((k, position) for k in earlier)]
    return any(_median(thinned, *pair) < RETURNS * change for pair in pairs)


def slow_cut_at(thinned: Thinned, position: int) -> bool:
    """Whether most of the picture changes within three steps of which that before `position` is the largest, as where pictures are means of several.

    The trees see nothing of some such cuts between pictures of strong contrast. 16 pictures on either side must be there by now, or the end.
    """
    step = thinned.step(position)
    if step < LEAST_STEP or step < thinned.step(position - 1) or step <= thinned.step(position + 1):
        return False
    if position < MIXED + LONGEST_FLASH or position + MIXED + LONGEST_FLASH > thinned.count:
        return False
    change = min(_median(thinned, position - MIXED - k, position + MIXED - 1 + k) for k in range(LONGEST_FLASH + 1))
    if change < LEAST_CHANGE:
        return False
    near = range(max(MIXED, position - AROUND), min(thinned.count - MIXED, position + AROUND) + 1)
    others = (q for q in near if abs(q - position) >= 2 * MIXED)
    return all(change >= STANDS_OUT * _median(thinned, q - MIXED, q + MIXED - 1) for q in others)


def _median(thinned: Thinned, first: int, second: int) -> float:
    """Over the pixels, of how far their mean of red, green and blue is in one picture from where it is in the other, levels."""
    a, b = (cv2.transform(thinned.frame(p).astype(np.int16), TOTAL) for p in (first, second))
    apart = np.abs(a - b).ravel()
    middle = len(apart) // 2
    low, high = np.partition(apart, (middle - 1, middle))[middle - 1 : middle + 1]
    return float(int(low) + int(high)) / 6
