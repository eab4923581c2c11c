"""Fades through black: one boundary in the middle of each run of black frames between two pictures."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np

from curation_assets.decode.shots.cuts import Cut
from curation_assets.decode.shots.history import History, Tiny, distance

BLACK_MEAN, BLACK_DEVIATION = 14.0, 12.0
"""A frame is black below this mean and standard deviation of red, green and blue, 0..255, ..."""
BLACK_SHARE, EMPTY = 0.35, 1.5
"""... if its deviation is also less than this share of the greatest within `LONGEST_RAMP` frames, or less than so many levels; and a run of
such frames is black if the emptiest has less than this share of the deviation, or the mean, of the pictures on either side. Else the footage
is dark."""
ABRUPT, FLAT = 0.6, 1.0
"""A run that begins and ends with more than this share of the change of the mean in a single step, and whose emptiest frame deviates by more than
so many levels, is a shot in the dark between two cuts."""
SHORT_RUN, SAME_PICTURE, SAME_AMID_MOTION = 8, 12.0, 0.5
"""A run of at most so many frames between pictures that differ by fewer levels, or by less than that share of the first one's deviation, is a flicker."""
LONGEST_RAMP = 50
"""Frames of a fade that are looked at, at most, on either side of the black."""
EDGE = 3
"""Cuts that are so many frames from a run belong to it."""


@dataclass(frozen=True)
class BlackRun:
    """Black frames [first, end) by index, and the fades into and out of them, [fade_first, fade_end).

    Attributes:
        cut: the boundary in its middle; None at the start and the end of the video, and for a flicker.
    """

    first: int
    end: int
    fade_first: int
    fade_end: int
    cut: Cut | None

    def explains(self, cut: Cut) -> bool:
        """Whether what was proposed as `cut` is a part of this fade."""
        if cut.kind == "cut":
            return self.first - EDGE <= cut.frame <= self.end + EDGE
        return cut.transition_end > self.fade_first and cut.transition_start < self.fade_end


class BlackRuns:
    """Follows a history position by position and collects the runs of black."""

    def __init__(self, history: History) -> None:
        self.runs: list[BlackRun] = []
        self._history = history
        self._start: int | None = None
        self._fade_first = 0
        self._indexes, self._times = array("q"), array("q")
        self._before: Tiny | None = None
        self._sides = 0.0, 0.0
        self._began_abruptly = False
        self._emptiest, self._darkest = 0.0, 0.0

    def examine(self, position: int) -> None:
        """Look at the next position; those that follow within `LONGEST_RAMP` must be there by now."""
        history = self._history
        if self._is_black(position):
            if self._start is None:
                self._open(position)
            self._indexes.append(history.index(position))
            self._times.append(history.time(position))
            self._emptiest = min(self._emptiest, history.deviation(position))
            self._darkest = min(self._darkest, history.mean(position))
        elif self._start is not None:
            self._close(position)

    def finish(self) -> None:
        """Close a run that lasts to the end of the video."""
        if self._start is not None:
            end = self._indexes[-1] + 1
            if self._before is not None and self._is_empty_beside(*self._sides):
                self.runs.append(BlackRun(self._indexes[0], end, self._fade_first, end, None))
            self._start = None

    def _is_black(self, position: int) -> bool:
        history = self._history
        deviation = history.deviation(position)
        if history.mean(position) >= BLACK_MEAN or deviation >= BLACK_DEVIATION:
            return False
        return deviation < max(EMPTY, BLACK_SHARE * history.greatest_deviation(position, LONGEST_RAMP))

    def _is_empty_beside(self, deviation: float, mean: float) -> bool:
        """Whether the run is black beside a picture of that deviation and mean."""
        return self._emptiest < BLACK_SHARE * deviation or self._darkest < BLACK_SHARE * mean

    def _is_abrupt(self, dark: int, beside: int, bright: int) -> bool:
        """Whether the picture darkens, or brightens, in one step between the last frame of black and the one beside it."""
        mean = self._history.mean
        return mean(beside) - mean(dark) > ABRUPT * (mean(bright) - mean(dark))

    def _open(self, position: int) -> None:
        self._start, self._emptiest, self._darkest = position, BLACK_DEVIATION, BLACK_MEAN
        self._indexes, self._times = array("q"), array("q")
        bright = self._ramp(position - 1, -1) if position else 0
        self._before = self._history.frame(bright).copy() if position else None
        self._sides = self._history.deviation(bright), self._history.mean(bright)
        self._began_abruptly = position > 0 and self._is_abrupt(position, position - 1, bright)
        self._fade_first = self._history.index(bright)

    def _close(self, position: int) -> None:
        history = self._history
        self._start = None
        first, end = self._indexes[0], history.index(position)
        bright = self._ramp(position, 1)
        after = (history.deviation(bright), history.mean(bright))
        if not self._is_empty_beside(*(after if self._before is None else np.minimum(after, self._sides))):
            return
        if self._began_abruptly and self._emptiest > FLAT and self._is_abrupt(position - 1, position, bright):
            return
        fade_end = max(end, history.index(bright))
        flicker = (
            self._before is not None
            and len(self._indexes) <= SHORT_RUN
            and distance(self._before, history.frame(bright)) < max(SAME_PICTURE, SAME_AMID_MOTION * self._sides[0])
        )
        cut = None
        if self._before is not None and not flicker:
            middle = len(self._indexes) // 2
            cut = Cut(self._indexes[middle], self._times[middle], 1.0, "fade", True, self._fade_first, fade_end)
        self.runs.append(BlackRun(first, end, self._fade_first, fade_end, cut))

    def _ramp(self, position: int, direction: int) -> int:
        """The furthest position up to which the picture brightens steadily on the way from black."""
        history = self._history
        for _ in range(LONGEST_RAMP):
            following = position + direction
            if not 0 <= following < history.count or history.mean(following) <= history.mean(position) + 0.2:
                break
            position = following
        return position
