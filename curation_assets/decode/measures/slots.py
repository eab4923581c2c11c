"""A grid in time: which of the frames that come along are the first of their slot."""

from __future__ import annotations

import math


class Slots:
    """Slots of `1 / fps` seconds counted from time zero, so that the choice of frames does not drift and does not depend on where a
    clip begins; a slot in which no frame is shown stays empty.

    Args:
        fps: slots per second.
    """

    def __init__(self, fps: float) -> None:
        self.slot_ms = 1000.0 / fps
        self._next = -math.inf

    def due(self, time_ms: float) -> bool:
        """Whether a frame at `time_ms` is the first of its slot."""
        return self._slot(time_ms) >= self._next

    def take(self, time_ms: float) -> None:
        """Marks the slot of `time_ms` as served."""
        self._next = self._slot(time_ms) + 1

    def _slot(self, time_ms: float) -> int:
        """Number of the slot; a time that rounding has put just before a slot belongs to it."""
        return math.floor(time_ms / self.slot_ms + 1e-6)
