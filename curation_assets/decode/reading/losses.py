"""Frames that a video should have and has not: damaged, or gone from the file.

A decoder passes over what it cannot make sense of, and a demuxer over bytes that it cannot find packets in; neither says which frames that
cost. Two things tell. A packet with a presentation time at which no frame came out, in a gap between frames that did, is a lost frame. In
containers without an index, where packets may vanish, a gap in an otherwise steady rate is as many lost frames as would fill it. A gap that
the times around it make up for is none: MPEG program streams give only some of their frames a time, and FFmpeg's guesses are a step off.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.timeline import Timeline

GAP = 1.5
"""Times the usual step, from which two frames have a gap between them. Fields that come as packets of their own leave none."""
AROUND = 3
"""So many steps before and after a gap may make up for it."""
INDEXED = ("mov", "avi")
"""Containers whose index lists every picture; a picture that is missing there, or empty as in AVI, is one that the one before goes on for."""
STEADY = 0.8
"""Share of the steps that must be the usual one, to a tenth and the rounding to milliseconds, for a rate to be steady."""


@dataclass
class Losses:
    """Counts the lost frames of one pass: packets that were sent, frames that were given.

    Attributes:
        lost: for each frame in display order how many are missing between it and the next; None before the end.
    """

    lost: NDArray[np.int64] | None = None
    _sent: array[int] = field(default_factory=lambda: array("q"))
    _given: array[int] = field(default_factory=lambda: array("q"))

    def sent(self, ticks: int | None, *, hidden: bool) -> None:
        """A packet went into the decoder; `hidden` ones are not to be shown."""
        if ticks is not None and not hidden:
            self._sent.append(ticks)

    def given(self, ticks: int | None) -> None:
        """A frame came out."""
        if ticks is not None:
            self._given.append(ticks)

    def between(self, start: int, end: int) -> int:
        """Frames lost within [start, end), those between its last frame and the next one shown included."""
        return 0 if self.lost is None else int(self.lost[start:end].sum())

    def finish(self, timeline: Timeline, ms: Callable[[int], int], video: OpenVideo) -> None:
        """Counts.

        Args:
            timeline: of the frames that were given.
            ms: milliseconds of ticks.
        """
        times = timeline.times_ms
        self.lost = np.zeros(len(times), np.int64)
        steps = np.diff(times)
        if not len(steps):
            return
        usual = float(np.median(steps))
        gaps = np.append(steps > max(GAP * usual, usual + 2), False)
        missing = np.setdiff1d(np.frombuffer(self._sent, np.int64), np.frombuffer(self._given, np.int64))
        before = np.searchsorted(times, [ms(t) for t in missing.tolist()], "right") - 1
        np.add.at(self.lost, before[before >= 0], 1)
        self.lost[~gaps] = 0
        steady = usual > 0 and np.mean(np.abs(steps - usual) <= max(1.0, 0.1 * usual)) >= STEADY
        if steady and not any(name in video.container.format.name for name in INDEXED):
            holes = _holes(times, usual)
            self.lost = np.where(gaps, np.maximum(self.lost, holes), self.lost)
        self._sent, self._given = array("q"), array("q")


def _holes(times: NDArray[np.int64], usual: float) -> NDArray[np.int64]:
    """(frames,) how many frames of the usual length the time after each frame could hold besides it, as far as those around leave room."""
    at = np.arange(len(times))
    own = np.round(np.append(np.diff(times), usual) / usual) - 1
    first, last = np.maximum(at - AROUND, 0), np.minimum(at + 1 + AROUND, len(times) - 1)
    room = np.round((times[last] - times[first]) / usual) - (last - first)
    return np.minimum(own, np.maximum(room, 0)).astype(np.int64)
