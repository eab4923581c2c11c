"""TransNetV2 over every frame: the yardstick of the cascade, at about forty times its cost."""

from __future__ import annotations

from array import array

import numpy as np

from curation_assets.decode.reading.picture import AnalysisPicture
from curation_assets.decode.shots.cuts import Cut, CutList, Needs, runs
from curation_assets.decode.shots.history import Tiny

WINDOW, CONTEXT = 100, 25
"""Frames that the network was trained on at a time, and how many at either end only give context (section 3 of the paper)."""
LONGEST_CUT = 3
"""Transitions of at most so many frames are cuts: what the coding of a hard cut smears."""
MANY = 0.5
"""Probability of the second head from which a frame belongs to the transition."""


class NetworkDetector:
    """Scores windows of 100 frames, of which the middle 50 count. Implements `ShotDetector`.

    Args:
        threshold: probability of the first head from which a boundary is accepted.
    """

    needs: Needs = "yuv_small"
    every_frame = True

    def __init__(self, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._indexes, self._times = array("q"), array("q")
        self._single, self._many = array("f"), array("f")
        self._waiting: list[Tiny] = []
        self._stats = {"frames": 0.0, "windows": 0.0, "network_frames": 0.0, "network_seconds": 0.0}

    def push(self, index: int, time_ms: int, picture: AnalysisPicture) -> None:
        """Take the next frame."""
        frame = picture.tiny_rgb.copy()
        if not self._waiting:
            self._waiting = [frame] * CONTEXT
        self._waiting.append(frame)
        self._indexes.append(index)
        self._times.append(time_ms)
        if len(self._waiting) == WINDOW:
            self._judge()

    def finish(self) -> CutList:
        """One boundary for each run of frames that the first head calls one; peaks from half the threshold on are listed, too."""
        while len(self._single) < len(self._times):
            self._waiting += [self._waiting[-1]] * (WINDOW - len(self._waiting))
            self._judge()
        frames = len(self._times)
        single, many = (np.frombuffer(scores, np.float32)[:frames] for scores in (self._single, self._many))
        peaks = [a + int(np.argmax(single[a:b])) for a, b in runs(single >= self._threshold)]
        near = [a + int(np.argmax(single[a:b])) for a, b in runs(single >= self._threshold / 2)]
        transitions = runs(many >= MANY)
        cuts = {}
        for peak in [*near, *peaks]:
            cut = self._cut(peak, float(single[peak]), transitions)
            cuts[cut.frame] = cut
        self._stats["frames"] = float(frames)
        return CutList(
            tuple(cuts[f] for f in sorted(cuts)), f"transnetv2 threshold={self._threshold:g}", dict(self._stats)
        )

    def _cut(self, peak: int, score: float, transitions: list[tuple[int, int]]) -> Cut:
        first, end = next(((a, b) for a, b in transitions if a <= peak < b), (peak, peak + 1))
        gradual = end - first > LONGEST_CUT
        middle = min((first + end) // 2 if gradual else peak + 1, len(self._times) - 1)
        frame, accepted = self._indexes[middle], score >= self._threshold
        extent = (self._indexes[first], self._indexes[end - 1] + 1) if gradual else (frame, frame)
        return Cut(frame, self._times[middle], score, "dissolve" if gradual else "cut", accepted, *extent)

    def _judge(self) -> None:
        from curation_assets.decode.shots.transnet_whole import network

        net = network()
        seconds = net.seconds
        single, many = net.scores(np.stack(self._waiting))
        self._single.extend(single[CONTEXT:-CONTEXT].tolist())
        self._many.extend(many[CONTEXT:-CONTEXT].tolist())
        self._waiting = self._waiting[WINDOW - 2 * CONTEXT :]
        self._stats["windows"] += 1
        self._stats["network_frames"] += WINDOW
        self._stats["network_seconds"] += net.seconds - seconds
