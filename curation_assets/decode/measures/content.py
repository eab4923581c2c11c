"""The part of a picture that shows something, without flat bars.

What belongs here: finding it in one picture, and what recent pictures have in common. What does not: cutting pictures to it (`fingerprints`), and the bars of a clip (`quality`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

Luma = NDArray[np.uint8]
Box = tuple[float, float, float, float]

WHOLE: Final[Box] = (0.0, 0.0, 1.0, 1.0)

FLAT_RANGE: Final = 12
"""A row or column whose luma spans at most so many of 256 levels counts as part of a bar: coded bars are never quite flat."""


def content_box(luma: Luma) -> Box | None:
    """The smallest box that holds all rows and columns which are not flat, as (x, y, w, h) fractions; None if all are flat.

    Args:
        luma: uint8 (h, w).
    """
    h, w = luma.shape
    found, top, bottom, left, right = _content(np.ascontiguousarray(luma))
    if not found:
        return None
    return (
        (left / w, top / h, (right - left) / w, (bottom - top) / h) if (bottom - top, right - left) != (h, w) else WHOLE
    )


@compiled
def _content(luma: Luma) -> tuple[bool, int, int, int, int]:
    """Whether any row or column is not flat, and the rows [top, bottom) and columns [left, right) of the box that holds those which are not."""
    top, bottom, left, right = 0, luma.shape[0], 0, luma.shape[1]
    while (
        True
    ):  # until nothing changes: rows of a flat ground are seen to be flat only once the bars beside it are gone
        before = top, bottom, left, right
        while top < bottom and _is_flat(luma[top, left:right]):
            top += 1
        if top == bottom:
            return False, 0, 0, 0, 0
        while _is_flat(luma[bottom - 1, left:right]):
            bottom -= 1
        while left < right and _is_flat(luma[top:bottom, left]):
            left += 1
        if left == right:
            return False, 0, 0, 0, 0
        while _is_flat(luma[top:bottom, right - 1]):
            right -= 1
        if before == (top, bottom, left, right):
            return True, top, bottom, left, right


@compiled
def _is_flat(line: Luma) -> bool:
    low = high = line[0]
    for value in line:
        low, high = min(low, value), max(high, value)
    return int(high) - int(low) <= FLAT_RANGE


class RecentBoxes:
    """The union of the boxes of so many recent pictures, most of which are the same."""

    def __init__(self, memory: int) -> None:
        self._boxes: deque[Box] = deque()
        self._counts: Counter[Box] = Counter()
        self._memory = memory
        self.union = WHOLE

    def add(self, box: Box) -> None:
        self._boxes.append(box)
        self._counts[box] += 1
        changed = self._counts[box] == 1
        if len(self._boxes) > self._memory:
            oldest = self._boxes.popleft()
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
                changed = True
        if changed:
            self.union = union_of(self._counts)


def union_of(boxes: Collection[Box]) -> Box:
    x, y = min(b[0] for b in boxes), min(b[1] for b in boxes)
    return x, y, max(b[0] + b[2] for b in boxes) - x, max(b[1] + b[3] for b in boxes) - y
