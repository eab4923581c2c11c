"""Fades through black: one boundary in the middle of each run of black frames between two pictures."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

from curation_assets.stages.shots.cuts import Cut
from curation_assets.stages.shots.history import History, Tiny, distance

BLACK_MEAN, BLACK_DEVIATION = 14.0, 12.0
"""A frame is black below this mean and standard deviation of red, green and blue, 0..255."""
SHORT_RUN, SAME_PICTURE = 4, 12.0
"""A run of at most so many frames between pictures that differ by less is a flicker."""
LONGEST_RAMP = 50
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

    def examine(self, position: int) -> None:
        """Look at the next position."""
        history = self._history
        if history.mean(position) < BLACK_MEAN and float(history.frame(position).std()) < BLACK_DEVIATION:
            if self._start is None:
                self._open(position)
            self._indexes.append(history.index(position))
            self._times.append(history.time(position))
        elif self._start is not None:
            self._close(position)

    def finish(self) -> None:
        """Close a run that lasts to the end of the video."""
        if self._start is not None:
            end = self._indexes[-1] + 1
            self.runs.append(BlackRun(self._indexes[0], end, self._fade_first, end, None))
            self._start = None

    def _open(self, position: int) -> None:
        self._start = position
        self._indexes, self._times = array("q"), array("q")
        bright = self._ramp(position - 1, -1) if position else 0
        self._before = self._history.frame(bright).copy() if position else None
        self._fade_first = self._history.index(bright)

    def _close(self, position: int) -> None:
        history = self._history
        first, end = self._indexes[0], history.index(position)
        bright = self._ramp(position, 1)
        fade_end = max(end, history.index(bright))
        flicker = (
            self._before is not None
            and len(self._indexes) <= SHORT_RUN
            and distance(self._before, history.frame(bright)) < SAME_PICTURE
        )
        cut = None
        if self._before is not None and not flicker:
            middle = len(self._indexes) // 2
            cut = Cut(self._indexes[middle], self._times[middle], 1.0, "fade", True, self._fade_first, fade_end)
        self.runs.append(BlackRun(first, end, self._fade_first, fade_end, cut))
        self._start = None

    def _ramp(self, position: int, direction: int) -> int:
        """The furthest position up to which the picture brightens steadily on the way from black."""
        history = self._history
        for _ in range(LONGEST_RAMP):
            following = position + direction
            if not 0 <= following < history.count or history.mean(following) <= history.mean(position) + 0.2:
                break
            position = following
        return position
