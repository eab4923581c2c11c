"""The pictures of a video without repeats, at most about 30 a second, each with the frame at which it came.

Rates are raised by repeating pictures (animation, webcams, screen recordings, 24 frames a second in 30), and a step of motion between two
repeats looks like a cut; and at 60 frames a second everything moves half as far from one frame to the next. Boundaries are looked for in
the thinned sequence and told in frames of the video.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import deque

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.history import Tiny, distance
from curation_resources.compiled import compiled

WINDOW = 16
"""Frames on either side among which a step is usual or not."""
REPEAT_SHARE, USUAL = 0.08, 0.8
"""A frame repeats the one before it if its step is under this share of that quantile of the steps around it."""
MOST_DROPPED = 6
"""Frames in a row that are taken for repeats, at most."""
FAST_FPS, LEAST_GAP_MS = 45.0, 26
"""From this rate on, pictures nearer in time than that are left out."""
LEAST_FLASH, RETURNS, LONGEST_FLASH = 8.0, 0.3, 2
"""Up to so many frames in a row are a flash, and left out, if they are so many levels from the picture before, and the one after is nearer to it
than this share of that."""
EMPTY, LONGEST_EMPTY, SAME_AGAIN = 3.0, 8, 0.5
"""Frames whose standard deviation is less than the first show nothing (a shutter blinks, a picture is lost): up to so many in a row are left out, too, if
what comes back is also nearer to what was than that share of its standard deviation."""
FADES, OVER, SAME, OTHER_WAY = 0.75, 1.2, 0.8, 0.1
"""Lightning, and what a camera's exposure has yet to adapt to, is left out, too, if the picture before returns within the `WINDOW`, by way of one
nearer than the first share; until one is at most so many times as far off as the nearest. That is no farther off than the third share of the
standard deviation of the picture before (two that are dark are near each other, whatever they show), and of what changes at first at most the
last share becomes darker."""
MOST_LIT = 16
"""Frames in a row that are left out for a flash or for such a light, at most."""
LARGEST_STEP = 1.7
"""How many times the largest other step in a transition one must be to be a cut, amid motion or smeared by the coding."""
CAPACITY = 1024
ROWS, SAMPLES = 27, 3 * 48
"""Of a picture, and of each of its rows."""


@compiled
def _look_closer(frames: Tiny, first: int, end: int, detail: NDArray[np.float64]) -> None:
    """Fills in the detail of the pictures at positions [first, end) of a ring: the mean square of what a blur over five pixels, rounded, takes away.

    Beyond the edges lies the mirror image. The sums are of whole numbers; as of 25 samples, no mean lies midway between two.
    """
    across, padded = np.empty((ROWS, SAMPLES), np.int32), np.empty(SAMPLES + 12, np.int32)
    half, share, bits = np.int32(25), np.int32(5243), np.int32(18)  # right for twice the sum of any 25 samples
    inner, beyond = padded[6:], padded[SAMPLES + 6 :]
    for position in range(first, end):
        frame = np.ascontiguousarray(frames[position % CAPACITY]).reshape(ROWS, SAMPLES)
        for row in range(ROWS):
            own, line = frame[row], across[row]
            for k in range(SAMPLES):
                inner[k] = own[k]
            for k in range(3):
                padded[k], padded[k + 3] = own[k + 6], own[k + 3]
                beyond[k], beyond[k + 3] = own[SAMPLES - 6 + k], own[SAMPLES - 9 + k]
            for k in range(SAMPLES):
                line[k] = np.int32(padded[k] + padded[k + 3] + padded[k + 6] + padded[k + 9] + padded[k + 12])
        total = 0
        for row in range(ROWS):
            own, c = frame[row], across[row]
            a, b = across[abs(row - 2)], across[abs(row - 1)]
            d, e = across[min(row + 1, 2 * ROWS - 3 - row)], across[min(row + 2, 2 * ROWS - 4 - row)]
            squares = np.int32(0)
            for k in range(SAMPLES):
                twice = np.int32(2) * np.int32(a[k] + b[k] + c[k] + d[k] + e[k])
                mean = np.int32(np.int32(np.int32(twice + half) * share) >> bits)
                taken = np.int32(np.int32(own[k]) - mean)
                squares = np.int32(squares + np.int32(taken * taken))
            total += int(squares)
        detail[position % CAPACITY] = total / (ROWS * SAMPLES)


class Thinned:
    """A ring of the latest distinct pictures of a video, which are numbered from 0 on.

    Args:
        fps: frame rate of the video; 0 if unknown.
    """

    def __init__(self, fps: float) -> None:
        self.count = 0
        self._detailed = 0
        self._gap_ms = LEAST_GAP_MS if fps > FAST_FPS else 0
        self._frames = np.empty((CAPACITY, 27, 48, 3), np.uint8)
        self._index, self._time = np.zeros(CAPACITY, np.int64), np.zeros(CAPACITY, np.int64)
        self._detail, self._step = np.zeros(CAPACITY), np.zeros(CAPACITY)
        self._cut_index, self._cut_time = np.zeros(CAPACITY, np.int64), np.zeros(CAPACITY, np.int64)
        self._repeats = np.zeros(CAPACITY, bool)
        self._returned = np.zeros(CAPACITY, bool)
        self._waiting: deque[tuple[int, int, Tiny, float]] = deque()
        self._steps: deque[float] = deque()
        self._sorted: list[float] = []
        self._dropped: list[tuple[float, int, int]] = []
        self._light_until, self._light_back = 0, 0.0

    def push(self, index: int, time_ms: int, frame: Tiny, step: float) -> None:
        """Take the next frame, which is `step` (mean absolute difference, levels) from the one before it; it is kept or left out 16 frames later."""
        if len(self._steps) > 2 * WINDOW:
            self._forget()
        self._steps.append(step)
        insort(self._sorted, step)
        self._waiting.append((index, time_ms, frame, step))
        if len(self._waiting) > WINDOW:
            self._decide()

    def finish(self) -> None:
        """Decide on the last frames."""
        while self._waiting:
            if len(self._steps) - len(self._waiting) > WINDOW:
                self._forget()
            self._decide()

    def _forget(self) -> None:
        del self._sorted[bisect_left(self._sorted, self._steps.popleft())]

    def _decide(self) -> None:
        index, time_ms, frame, step = self._waiting.popleft()
        usual = self._sorted[int(USUAL * (len(self._sorted) - 1))]
        repeat = step < REPEAT_SHARE * usual
        early = (
            self._gap_ms > 0
            and self.count > 0
            and time_ms - int(self._time[(self.count - 1) % CAPACITY]) < self._gap_ms
        )
        left_out = len(self._dropped)
        if self.count and (
            ((repeat or early) and left_out < MOST_DROPPED)
            or (left_out < MOST_LIT and self._is_lit(index, frame, step))
        ):
            self._dropped.append((step, index, time_ms))
            return
        slot = self.count % CAPACITY
        self._step[slot] = self._from_last(frame, step)
        steps = [step, *(s for s, _, _ in self._dropped)]
        self._frames[slot], self._repeats[slot] = frame, max(steps) < REPEAT_SHARE * usual
        self._index[slot], self._time[slot] = index, time_ms
        self._cut_index[slot], self._cut_time[slot] = index, time_ms
        self._returned[slot] = (
            bool(self._dropped) and index <= self._light_until and self._step[slot] < self._light_back
        )
        if self._dropped:
            _, self._cut_index[slot], self._cut_time[slot] = max(
                [*self._dropped, (step, index, time_ms)], key=lambda s: s[0]
            )
            self._dropped.clear()
        self.count += 1

    def _from_last(self, frame: Tiny, step: float) -> float:
        """How far a frame is from the last picture that was kept, which is its `step` if nothing was left out since."""
        if not self.count:
            return 0.0
        return distance(self._frames[(self.count - 1) % CAPACITY], frame) if self._dropped else step

    def _is_lit(self, index: int, frame: Tiny, step: float) -> bool:
        """Whether the picture before a frame returns right after it, or within the window from a light that fades."""
        if index < self._light_until:
            return True
        away = self._from_last(frame, step)
        if away < LEAST_FLASH:
            return False
        before = self._frames[(self.count - 1) % CAPACITY]
        next_ones = itertools.islice(self._waiting, LONGEST_FLASH)
        if any(distance(before, after) < RETURNS * away for _, _, after, _ in next_ones):
            return True
        if float(frame.std()) < EMPTY:
            nearest = min(RETURNS * away, SAME_AGAIN * float(before.std()))
            later = itertools.islice(self._waiting, LONGEST_EMPTY)
            if any(distance(before, after) < nearest for _, _, after, _ in later):
                return True
        darker = cv2.norm(cv2.subtract(before, frame), cv2.NORM_L1) / frame.size
        if darker > OTHER_WAY * away:
            return False
        shares = [distance(before, after) / away for _, _, after, _ in self._waiting]
        back = next((k for k, share in enumerate(shares) if share < RETURNS), 0)
        if not any(share < FADES for share in shares[:back]) or min(shares) * away > SAME * float(before.std()):
            return False
        over = next(k for k, share in enumerate(shares) if share <= OVER * min(shares))
        self._light_until, self._light_back = self._waiting[over][0], RETURNS * away
        return True

    def _slot(self, position: int) -> int:
        return min(max(position, 0, self.count - CAPACITY), self.count - 1) % CAPACITY

    def _slots(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        slots: NDArray[np.int64] = np.clip(positions, max(0, self.count - CAPACITY), self.count - 1) % CAPACITY
        return slots

    def frames(self, positions: NDArray[np.int64]) -> Tiny:
        """The pictures at `positions`, (n, 27, 48, 3); beyond either end the first and the last."""
        frames: Tiny = self._frames[self._slots(positions)]
        return frames

    def frame(self, position: int) -> Tiny:
        """The picture at a position."""
        frame: Tiny = self._frames[self._slot(position)]
        return frame

    def details(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each picture the mean square of what a blur over five pixels takes away, levels squared: (n,); beyond either end the last one's."""
        if self._detailed < self.count:
            _look_closer(self._frames, max(self._detailed, self.count - CAPACITY), self.count, self._detail)
            self._detailed = self.count
        details: NDArray[np.float64] = self._detail[self._slots(positions)]
        return details

    def steps(self, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """How far each picture is from the one before it, levels: (n,); 0 for the first and beyond either end."""
        inside = (positions > 0) & (positions < self.count)
        steps: NDArray[np.float64] = np.where(inside, self._step[self._slots(positions)], 0.0)
        return steps

    def step(self, position: int) -> float:
        """How far the picture is from the one before it, levels; 0 for the first and beyond either end."""
        return float(self._step[position % CAPACITY]) if 0 < position < self.count else 0.0

    def stands_out(self, position: int, first: int, end: int) -> bool:
        """Whether the step before a position is a cut's among those of a transition [first, end): several times any but its neighbours."""
        others = [self.step(p) for p in range(first, end + 2) if abs(p - position) > 1]
        return self.step(position) > LARGEST_STEP * max(others, default=0.0)

    def repeats(self, position: int) -> bool:
        """Whether the picture repeats the one before it, and is kept because so many before it did, too."""
        return bool(self._repeats[self._slot(position)])

    def returned(self, position: int) -> bool:
        """Whether the picture is the one before it, back in the light that it had, after pictures in another that were left out."""
        return bool(self._returned[self._slot(position)])

    def shown(self, position: int) -> tuple[int, int]:
        """Frame and milliseconds at which the picture is first shown."""
        slot = self._slot(position)
        return int(self._index[slot]), int(self._time[slot])

    def cut(self, position: int) -> tuple[int, int]:
        """Frame and milliseconds of the largest step since the picture before this one: where a cut between the two lies."""
        slot = self._slot(position)
        return int(self._cut_index[slot]), int(self._cut_time[slot])
