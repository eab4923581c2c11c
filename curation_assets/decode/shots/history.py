"""The latest tiny frames of a video, by position: the count of frames pushed before."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

Tiny = NDArray[np.uint8]
"""uint8 (27, 48, 3): red, green, blue."""

CAPACITY = 1024


def distance(a: Tiny, b: Tiny) -> float:
    """Mean absolute difference of two pictures, 0..255."""
    return cv2.norm(a, b, cv2.NORM_L1) / a.size


class Levels(NamedTuple):
    """Of a picture, in levels.

    Attributes:
        step: mean absolute difference from the one before it; 0 for the first.
        mean, deviation: of all its samples.
    """

    step: float
    mean: float
    deviation: float


def levels_of(frames: Tiny, before: Tiny | None) -> list[Levels]:
    """Of consecutive pictures (n, 27, 48, 3); `before` is the one before them, if there is one."""
    measured: NDArray[np.float64] = _levels(frames, frames[0] if before is None else before)
    return [Levels(*of_one) for of_one in measured.tolist()]


@compiled
def _levels(frames: Tiny, before: Tiny) -> NDArray[np.float64]:
    """`Levels` of each picture, (n, 3): the sums are of whole numbers."""
    result = np.empty((len(frames), 3))
    size = before.size
    last = np.ascontiguousarray(before).reshape(size)
    for k in range(len(frames)):
        frame = np.ascontiguousarray(frames[k]).reshape(size)
        apart = total = squares = np.int32(0)
        for sample in range(size):
            value = np.int32(frame[sample])
            total += value
            squares += value * value
            apart += abs(value - np.int32(last[sample]))
        mean = total / size
        result[k, 0] = apart / size
        result[k, 1] = mean
        result[k, 2] = math.sqrt(max(squares / size - mean * mean, 0.0))
        last = frame
    return result


class History:
    """A ring of the last 1,024 frames (4 MB). Positions before the first and after the last mean the first and the last."""

    def __init__(self) -> None:
        self.count = 0
        self._frames = np.empty((CAPACITY, 27, 48, 3), np.uint8)
        self._index = np.zeros(CAPACITY, np.int64)
        self._time = np.zeros(CAPACITY, np.int64)
        self._step = np.zeros(CAPACITY)
        self._mean = np.zeros(CAPACITY)
        self._deviation = np.zeros(CAPACITY)

    def push(self, index: int, time_ms: int, frame: Tiny, levels: Levels) -> None:
        """Append the frame with this index and presentation time, of which `levels_of` has been asked."""
        slot = self.count % CAPACITY
        self._frames[slot] = frame
        self._index[slot], self._time[slot] = index, time_ms
        self._step[slot], self._mean[slot], self._deviation[slot] = levels
        self.count += 1

    def _slot(self, position: int) -> int:
        return min(max(position, 0, self.count - CAPACITY), self.count - 1) % CAPACITY

    def frame(self, position: int) -> Tiny:
        """The picture at `position`, a view that lasts until it falls out of the ring."""
        frame: Tiny = self._frames[self._slot(position)]
        return frame

    def frames(self, positions: NDArray[np.int64]) -> Tiny:
        """The pictures at `positions`: uint8 (n, 27, 48, 3)."""
        slots = np.clip(positions, max(0, self.count - CAPACITY), self.count - 1) % CAPACITY
        frames: Tiny = self._frames[slots]
        return frames

    def index(self, position: int) -> int:
        """The frame's index in the video."""
        return int(self._index[self._slot(position)])

    def time(self, position: int) -> int:
        """The frame's presentation time in milliseconds."""
        return int(self._time[self._slot(position)])

    def mean(self, position: int) -> float:
        """Mean of the picture, 0..255."""
        return float(self._mean[self._slot(position)])

    def deviation(self, position: int) -> float:
        """Standard deviation of all samples of the picture, levels."""
        return float(self._deviation[self._slot(position)])

    def greatest_deviation(self, position: int, reach: int) -> float:
        """The largest at most `reach` frames from a position."""
        positions = np.arange(max(0, position - reach), min(position + reach + 1, self.count))
        return float(self._deviation[positions % CAPACITY].max())

    def step(self, position: int) -> float:
        """How far the picture is from the one before it; 0 for the first and beyond either end."""
        return float(self._step[position % CAPACITY]) if 0 < position < self.count else 0.0

    def between(self, a: int, b: int) -> float:
        """Distance of the pictures at two positions."""
        return distance(self.frame(a), self.frame(b))
