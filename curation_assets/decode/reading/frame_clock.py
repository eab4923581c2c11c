"""When the frames of a video are shown: milliseconds from the ticks of its packets, which may be missing or go back."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np

from curation_assets.decode.reading.media import MediaError, OpenVideo
from curation_assets.decode.reading.timeline import Timeline, milliseconds

LONGEST_STEP_MS = 6 * 3_600_000
"""From one frame to the next. Further is no picture that stands but a clock that broke, as FLV's does where times are negative."""


@dataclass
class FrameClock:
    """Presentation times in milliseconds from ticks, filling in missing ones and never going back."""

    video: OpenVideo
    times: array[int] = field(default_factory=lambda: array("q"))
    zero: int = 0
    last_ticks: int = 0
    last_duration: int = 0

    def __post_init__(self) -> None:
        self.period = max(1, round(1 / self.video.rate / self.video.time_base))

    def show(self, ticks: int | None, duration: int) -> int:
        """The time of the next frame in display order.

        Raises:
            MediaError: it is more than `LONGEST_STEP_MS` after the one before.
        """
        if ticks is None:
            ticks = self.last_ticks + (self.last_duration or self.period) if self.times else self.video.start_ticks
        if not self.times:
            self.zero = min(ticks, self.video.zero_ticks)
        self.last_ticks, self.last_duration = ticks, duration
        time_ms = milliseconds(ticks - self.zero, self.video.time_base)
        before = self.times[-1] if self.times else 0
        if time_ms - before > LONGEST_STEP_MS:
            raise MediaError(
                f"its clock jumps by {(time_ms - before) // 3_600_000} hours before frame {len(self.times)}"
            )
        self.times.append(max(time_ms, before) if self.times else time_ms)
        return self.times[-1]

    def timeline(self) -> Timeline:
        """The whole; the last frame is shown until the end that the file states, else as long as the median frame."""
        times = np.array(self.times, np.int64)
        if not len(times):
            return Timeline(times, 0, 0.0)
        steps = np.diff(times)
        typical = int(np.median(steps)) if len(steps) else round(1000 * float(self.period * self.video.time_base))
        stated = self.video.end_ticks
        if stated is None and self.last_duration:
            stated = self.last_ticks + self.last_duration
        stated_ms = 0 if stated is None else milliseconds(stated - self.zero, self.video.time_base)
        longest = max(4 * typical, 1000)
        end = stated_ms if times[-1] < stated_ms <= times[-1] + longest else int(times[-1]) + max(1, typical)
        return Timeline(times, end, 1000 * len(times) / (end - int(times[0])))
