"""An array that grows at its end, in place: parts that are joined at the end would be held twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

GROWTH = 8
"""One part in so many of the array is reserved beyond what it has, at least."""
LEAST = 4096


class GrowingArray:
    """Numbers that come part after part.

    Args:
        kind: their type.
    """

    def __init__(self, kind: type) -> None:
        self._array: npt.NDArray[Any] = np.empty(LEAST, kind)
        self._count = 0

    def add(self, values: npt.NDArray[Any]) -> None:
        """Appends (n,)."""
        end = self._count + len(values)
        if end > len(self._array):  # moved by the system, if at all, page by page and not copied
            self._array.resize(max(end, len(self._array) + len(self._array) // GROWTH), refcheck=False)
        self._array[self._count : end] = values
        self._count = end

    def whole(self) -> npt.NDArray[Any]:
        """All of them; nothing is added after that."""
        self._array.resize(self._count, refcheck=False)
        return self._array
