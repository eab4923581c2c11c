"""When each frame of a video is shown.

Times are whole milliseconds, rounded half up from exact rational presentation times. Zero is the moment at which a player shows the
start of the file: the container's start time where that is positive (an MPEG transport stream may begin at any clock), else zero.
The first frame of an ordinary video is therefore at 0, a picture that begins after the sound is later than 0, and no frame is
earlier. Spans given by a source are in this time base. Frame numbers are indexes in display order; ends are exclusive.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def milliseconds(ticks: int, time_base: Fraction) -> int:
    """`ticks` of `time_base` seconds in milliseconds, rounded half up."""
    numerator, denominator = 2000 * ticks * time_base.numerator + time_base.denominator, 2 * time_base.denominator
    return numerator // denominator


def nearest(numerator: int, denominator: int) -> int:
    """The whole number next to a fraction, of two that are as near the even one: `round` of a `Fraction`, for a tenth of its time.

    Args:
        denominator: above 0; they may have a common factor.
    """
    number, rest = divmod(numerator, denominator)
    return number + (2 * rest > denominator or (2 * rest == denominator and number % 2 == 1))


@dataclass(frozen=True)
class Timeline:
    """The presentation times of a video's frames.

    Attributes:
        times_ms: int64 (frames,), not decreasing: when each frame is shown, in display order.
        end_ms: when the last frame ends.
        fps: average frame rate over the whole video, frames per second; 0 if it has no duration.
    """

    times_ms: NDArray[np.int64]
    end_ms: int
    fps: float

    def __len__(self) -> int:
        return len(self.times_ms)

    @property
    def start_ms(self) -> int:
        """When the first frame is shown; `end_ms` for a video without frames."""
        return int(self.times_ms[0]) if len(self.times_ms) else self.end_ms

    def time_of(self, frame: int) -> int:
        """When `frame` is shown, which is when the frame before it ends; `end_ms` for any frame past the last."""
        return int(self.times_ms[frame]) if frame < len(self.times_ms) else self.end_ms

    def frame_at(self, time_ms: int) -> int:
        """Index of the frame that is on screen at `time_ms`: 0 before the first, `len(self)` from `end_ms` on."""
        if time_ms >= self.end_ms:
            return len(self.times_ms)
        return max(0, int(np.searchsorted(self.times_ms, time_ms, side="right")) - 1)

    def frame_from(self, time_ms: int) -> int:
        """Index of the first frame shown at or after `time_ms`; `len(self)` if there is none."""
        return int(np.searchsorted(self.times_ms, time_ms, side="left"))
