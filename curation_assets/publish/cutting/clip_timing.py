"""When the pictures of an exported clip are shown: at a constant rate of the source or of the recipe's, or at the times that they come at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from curation_assets.decode.reading.timeline import nearest


class UnevenTimes(ValueError):
    """Pictures that should come at a constant rate do not."""


@dataclass(frozen=True)
class Timing:
    """When the pictures of a clip are shown.

    FFmpeg 5 and 6 take the duration of a picture in mp4 from the encoder's tick where the file's order is not that of display, and
    from the time of the next picture elsewhere. So pictures at a constant rate have B-frames and a tick of one picture, and those
    at others have no B-frames.

    Attributes:
        time_base: of the ticks in which times are given.
        rate: pictures per second, about if not `constant`.
        constant: whether every picture is shown at a multiple of 1 / rate, as far as `time_base` can say.
    """

    time_base: Fraction
    rate: Fraction
    constant: bool

    def number(self, ticks: int) -> int:
        """The period that begins at `ticks`, about; of two that are as near the even one."""
        periods, parts = self._periods_per_tick
        return nearest(ticks * periods, parts)

    @cached_property
    def _periods_per_tick(self) -> tuple[int, int]:
        """Periods in a tick as numerator and denominator; whole numbers, since there is one to be found for every picture."""
        return (self.time_base * self.rate).as_integer_ratio()


class SteadyRate:
    """Passes pictures on at a constant rate: at each tick of the new rate the picture that is on screen.

    Args:
        give: takes a picture and the number of its tick.
        fps: ticks per second.
    """

    def __init__(self, give: Callable[[Any, int], None], fps: Fraction) -> None:
        self._give, self._fps, self._tick = give, fps, 0
        self._showing: Any = None

    def push(self, picture: Any, time_s: Fraction) -> None:
        """Takes the picture that is shown from `time_s` on, seconds from the clip's start."""
        self._until(time_s)
        self._showing = picture

    def _until(self, time_s: Fraction) -> None:
        while self._showing is not None and self._tick / self._fps < time_s:
            self._give(self._showing, self._tick)
            self._tick += 1

    def finish(self, end_s: Fraction) -> None:
        """Shows the last picture until the end."""
        self._until(end_s)
