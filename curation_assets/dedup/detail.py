"""Sums over windows of a picture of cells, and what its cells differ from their surroundings by.

What belongs here: these two. What does not: comparing pictures (`evidence`, `happenings`, `small_windows`).
"""

from __future__ import annotations

import numpy as np

from curation_assets.dedup.courses import Values


def window_sums(values: Values, wide: int, high: int) -> Values:
    """Sums over all windows of so many cells of a picture."""
    total = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums: Values = total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    return sums


def detail_of(picture: Values) -> Values:
    """What differs from the mean of the 5 x 5 cells around."""
    around = window_sums(np.pad(picture, 2, mode="reflect"), 5, 5) / 25
    return picture - around
