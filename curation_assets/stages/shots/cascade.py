"""The default shot detector: cheap distances between 48x27 frames decide what is clear, TransNetV2 judges the rest.

Three proposals are made from the tiny pictures. d(i, j) is the mean absolute difference of red, green and blue, 0..255.

hard cut before frame i
    The *jump* is the least of d(i-1, i), d(i-2, i+1) and d(i-3, i+2), so that a flash of one or two frames is none. The *contrast* is
    the jump over the largest difference of neighbouring frames on either side. A large jump of high contrast is a cut; so is a
    smaller one between still pictures (slides), which the network does not know. A jump that stands out less goes to the network.
dissolve around frame i
    The mean of two unlike pictures has about half the detail of either, whatever moves in them (the dip in variance that Alattar
    described in 1993). The *dip* is the share of detail that the frames i-h and i+h have and i-1..i+1 lack, for four half lengths h.
    Where the two ends differ, by no single step, and the dip is deep, the network is asked.
fade through black
    A run of black frames between two pictures is one boundary in its middle, whatever else is proposed in the run and in the ramps at
    its ends. Black at the start or the end of a video is no boundary.

A judged window is as short as the network allows: the cost lies in the frames it sees. Boundaries are not merged by a minimum scene
length: that is what makes other detectors miss short shots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation_assets.stages.decode.picture import AnalysisPicture
from curation_assets.stages.shots.black import BlackRuns
from curation_assets.stages.shots.cuts import Cut, CutList, Needs, runs
from curation_assets.stages.shots.history import History, Tiny

CLEAR_JUMP, CLEAR_CONTRAST = 25.0, 3.5
STILL_JUMP, STILL_MOTION = 15.0, 0.5
ASK_JUMP, ASK_CONTRAST, ASK_EVIDENCE = 8.0, 1.1, 30.0
"""Least jump, least contrast and least product of both that are worth the network's time."""
LEAST_DIPS = {5: 0.26, 8: 0.30, 16: 0.34, 24: 0.38}
"""Half length of a dissolve in frames to the least dip that is worth the network's time."""
ASK_CHANGE, ASK_DETAIL = 24.0, 4.0
"""Least difference of the two ends of a dissolve, and least detail of either."""
LARGEST_STEP = 0.5
"""Share of that difference from which a single step is a cut or a flash, which the dip of detail only stands beside."""
CUT_CONTEXT, DISSOLVE_CONTEXT = 8, 16
"""Frames on either side of a judged interval. A cut needs few of them; with fewer than this, dissolves between moving shots score low."""
MERGE, LONG_INTERVAL, LONGEST_INTERVAL = 6, 40, 60
"""Proposals so many frames apart are judged in one window; a long interval is looked at in steps of two, the longest is cut."""
SINGLE_SHARE = 0.6
"""Weight of the network's first head in the geometric mean by which dissolves are scored: in a slow one it stays near one half."""
REFERENCE_FPS = 30.0
"""At higher rates the dissolve proposals and their windows step over frames."""


@dataclass
class _Interval:
    """Positions first..last among which a boundary may lie, as a cut or in a gradual transition."""

    first: int
    last: int
    gradual: bool


class CascadeDetector:
    """Cheap proposals, judged by TransNetV2 where they are not clear. Implements `ShotDetector`; frames may be blended.

    Holds the last 1,024 tiny frames (4 MB) and what it found, whatever the length of the video. The score of a cut is the network's
    probability, or 1 where the network was not asked.

    Args:
        threshold: probability from which a boundary is accepted.
        fps: frame rate of the pushed frames; at more than 45 the dissolve proposals step over frames.
    """

    needs: Needs = "yuv_small"
    every_frame = False

    def __init__(self, threshold: float = 0.5, fps: float = 25.0) -> None:
        self._threshold = threshold
        self._stride = min(8, max(1, round(fps / REFERENCE_FPS)))
        self._lookahead = self._stride * (max(LEAST_DIPS) + MERGE + DISSOLVE_CONTEXT) + 1
        self._history = History()
        self._black = BlackRuns(self._history)
        self._examined = 0
        self._open: _Interval | None = None
        self._cuts: list[Cut] = []
        self._stats = {"frames": 0.0, "windows": 0.0, "network_frames": 0.0, "network_seconds": 0.0}

    def push(self, index: int, time_ms: int, picture: AnalysisPicture) -> None:
        """Take the next frame."""
        self._history.push(index, time_ms, picture.tiny_rgb)
        if self._history.count - self._examined > self._lookahead:
            self._examine()

    def finish(self) -> CutList:
        """The boundaries, each transition once."""
        self._complete()
        fades = [run.cut for run in self._black.runs if run.cut]
        others = [c for c in self._cuts if not any(run.explains(c) for run in self._black.runs)]
        self._stats["frames"] = float(self._history.count)
        return CutList(
            one_per_transition([*fades, *others]), f"cascade threshold={self._threshold:g}", dict(self._stats)
        )

    def _complete(self) -> None:
        while self._examined < self._history.count:
            self._examine()
        self._judge()
        self._black.finish()

    def _examine(self) -> None:
        position = self._examined
        self._examined += 1
        self._black.examine(position)
        if self._history.step(position) >= ASK_JUMP:
            self._propose_cut(position)
        if position % (2 * self._stride) == 0:
            self._propose_dissolve(position)
        if self._open and position - self._open.last > MERGE * self._stride:
            self._judge()

    def _propose_cut(self, position: int) -> None:
        history = self._history
        jump = min(history.between(position - k, position + k - 1) for k in (1, 2, 3))
        motion = max(history.step(position + k) for k in (-2, -1, 1, 2))
        contrast = jump / (motion + 1.0)
        if (jump >= CLEAR_JUMP and contrast >= CLEAR_CONTRAST) or (jump >= STILL_JUMP and motion <= STILL_MOTION):
            self._add_cut(position, 1.0)
        elif jump >= ASK_JUMP and contrast >= ASK_CONTRAST and jump * contrast >= ASK_EVIDENCE:
            self._ask(position)

    def _propose_dissolve(self, position: int) -> None:
        history, k = self._history, self._stride
        detail = max(history.detail(position + offset * k) for offset in (-1, 0, 1))
        for half, least_dip in LEAST_DIPS.items():
            first, last = position - half * k, position + half * k
            if first < 0 or last >= history.count:
                return
            before, after = history.detail(first), history.detail(last)
            if min(before, after) < ASK_DETAIL or 1 - 2 * detail / (before + after) < least_dip:
                continue
            change = history.between(first, last)
            if (
                change >= ASK_CHANGE
                and max(history.step(p) for p in range(first + 1, last + 1)) < LARGEST_STEP * change
            ):
                self._ask(position, gradual=True)
                return

    def _ask(self, position: int, gradual: bool = False) -> None:
        """Add a position to the interval that is judged next."""
        if self._open and position - self._open.first > LONGEST_INTERVAL * self._stride:
            self._judge()
        if self._open:
            self._open.last = position
            self._open.gradual |= gradual
        else:
            self._open = _Interval(position, position, gradual)

    def _judge(self) -> None:
        """Let the network look at the open interval."""
        if self._open is None:
            return
        interval, self._open = self._open, None
        stride, context = (self._stride, DISSOLVE_CONTEXT) if interval.gradual else (1, CUT_CONTEXT)
        if interval.last - interval.first > LONG_INTERVAL * stride:
            stride *= 2
        positions = np.arange(interval.first - context * stride, interval.last + context * stride + 1, stride)
        single, many = self._network(self._history.frames(positions))
        if interval.gradual:
            single = np.maximum(single, single**SINGLE_SHARE * _highest_near(many) ** (1 - SINGLE_SHARE))
        inside = (positions >= interval.first - 3 * stride) & (positions <= interval.last + 3 * stride)
        peaks = [a + int(np.argmax(single[a:b])) for a, b in runs((single >= self._threshold) & inside)]
        for peak in peaks:
            self._add_transition(positions, many, peak, float(single[peak]))
        if not peaks:
            peak = int(np.argmax(np.where(inside, single, -1.0)))
            self._add_cut(int(positions[peak]) + stride, float(single[peak]))

    def _network(self, frames: Tiny) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        from curation_assets.stages.shots.transnet import network

        net = network()
        seconds = net.seconds
        scores = net.scores(frames)
        self._stats["windows"] += 1
        self._stats["network_frames"] += len(frames)
        self._stats["network_seconds"] += net.seconds - seconds
        return scores

    def _add_transition(self, positions: NDArray[np.int64], many: NDArray[np.float32], peak: int, score: float) -> None:
        """Record the boundary that the network sees at `peak`: before the largest step if it is a cut, else amid the transition."""
        history = self._history
        a, b = next((a, b) for a, b in [*runs(many >= 0.5), (peak, peak + 1)] if a <= peak < b)
        first, last = int(positions[a]), int(positions[b - 1])
        steps = {p: history.step(p) for p in range(max(first, 1), last + 2)}
        near = range(max(int(positions[peak]) - 1, 1), int(positions[peak]) + 3)
        sharpest = max(near, key=history.step)
        if b - a <= 2 or history.step(sharpest) > 0.5 * sum(steps.values()):
            self._add_cut(sharpest, score)
            return
        middle = (first + last + 1) // 2
        self._cuts.append(
            Cut(
                history.index(middle),
                history.time(middle),
                score,
                "dissolve",
                True,
                history.index(first),
                history.index(last) + 1,
            )
        )

    def _add_cut(self, position: int, score: float) -> None:
        history = self._history
        position = min(max(position, 1), history.count - 1)
        frame, time_ms, accepted = history.index(position), history.time(position), score >= self._threshold
        self._cuts.append(Cut(frame, time_ms, score, "cut", accepted, frame, frame))


def _highest_near(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The highest score at most three frames away from each: (n,)."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(scores, 3), 7).max(axis=1)


def one_per_transition(cuts: list[Cut]) -> tuple[Cut, ...]:
    """By frame; of cuts whose transitions overlap the first of: accepted, a hard cut or a fade, the highest score."""
    order = sorted(cuts, key=lambda c: (not c.accepted, c.kind == "dissolve", -c.score, c.frame))
    kept: list[Cut] = []
    for cut in order:
        first, end = min(cut.transition_start, cut.frame), max(cut.transition_end, cut.frame + 1)
        if not any(first < max(k.transition_end, k.frame + 1) and min(k.transition_start, k.frame) < end for k in kept):
            kept.append(cut)
    return tuple(sorted(kept, key=lambda c: c.frame))
