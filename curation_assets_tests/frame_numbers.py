"""Reads the number that a picture of `coded_video.picture` says. Needs numpy alone, so that environments of other readers can do it too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BITS = 12


def number_in(luma: NDArray[np.uint8]) -> int:
    """The number that a picture (h, w) of any size says."""
    side = luma.shape[1] / BITS
    middles = [(int(side / 2), int((bit + 0.5) * side)) for bit in range(BITS)]
    return sum(int(luma[y, x] > 128) << bit for bit, (y, x) in enumerate(middles))
