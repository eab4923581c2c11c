"""The default shot detector: small trees propose on 48x27 pictures, TransNetV2 judges what they are not sure of.

    frames -> without repeats, at most 30 a second (`thinning`)
           -> evidence for a boundary before each, inside the part of the picture that shows something (`evidence`)
           -> its probability by boosted trees (`trees`, `proposals`), or a cut where most of the picture changes at once (`whole_change`)
           -> accepted where the trees are sure of a short change; else judged by the network, which sees that part of the picture alone,
              with its levels stretched
           -> where they see a reason, wipes and slides by how these explain the pictures (`sweeps`)
           -> nothing of it where the light alone changes, or the camera zooms (`camera`)
    black frames between two pictures -> one boundary in their middle, whatever else is proposed there (`black`)

The network was trained on ordinary footage. It sees nothing where the picture is dark, hazy or small within a still frame, unless that is
undone first; it takes a white or a mixed frame at a cut for a flash, and does not know wipes: there the trees, which were trained with
these, and `sweeps` decide.

A judged window is as short as the network allows: the cost lies in the frames it sees. Boundaries are not merged by a minimum scene
length: that is what makes other detectors miss short shots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.reading.picture import AnalysisPicture
from curation_assets.decode.shots.black import LONGEST_RAMP, BlackRuns
from curation_assets.decode.shots.camera import of_camera, of_zoom
from curation_assets.decode.shots.cuts import Cut, CutList, Kind, Needs, one_per_transition, runs
from curation_assets.decode.shots.dips import blurred, dips_among
from curation_assets.decode.shots.history import History, Tiny, levels_of
from curation_assets.decode.shots.network_view import NEAR, View, look
from curation_assets.decode.shots.proposals import Proposals
from curation_assets.decode.shots.proposed_parts import SHORT, STANDS_OUT, marked, split_at, standing_out
from curation_assets.decode.shots.reach import Reach
from curation_assets.decode.shots.relit import leave_out_light
from curation_assets.decode.shots.sweeps import Sweeps
from curation_assets.decode.shots.thinning import Thinned
from curation_assets.decode.shots.whole_change import returns, slow_cut_at, whole_change_at

PROPOSE = 0.1
"""Probability by the trees from which a boundary is proposed."""
SURE = 0.97
"""Probability by the trees from which a cut needs no network."""
WORTH_ASKING = 0.55
"""What a cut within three steps is given of which the trees see less: the network decides."""
LIKELY = 0.5
"""Probability by the trees from which a change over all of the picture is a cut."""
CUT_SEEN, CUT_WEIGHT = (0.02, 0.05, 0.15, 0.35, 0.5, 0.8, 0.92), (-0.47, -0.3, -0.17, -0.1, -0.1, 0.0, 0.1)
GRADUAL_SEEN, GRADUAL_WEIGHT = (0.04, 0.2, 0.25, 0.35, 0.7), (-0.44, -0.42, -0.29, 0.0, 0.1)
"""What the network's probability (linear in between) adds to the trees': it speaks against what it sees nothing of. Of slow changes the trees
alone are less sure: hands, focus and titles come and go as slowly."""
CUT_CONTEXT, DISSOLVE_CONTEXT = 8, 16
"""Pictures on either side of a judged interval. A cut needs few of them; with fewer than this, dissolves between moving shots score low."""
LEAST_DIPS = 8
"""Pictures at which detail dips, where the trees see nothing to ask about: of 26 shorter dips the network called none a dissolve."""
DOUBT = 0.1
"""Score on either side of the threshold within which a gradual transition is looked at again, every picture and not every second."""
MERGE, LONG_INTERVAL, LONGEST_INTERVAL = 6, 40, 60
"""Proposals so many pictures apart are judged in one window; a long interval is looked at in steps of two, the longest is cut."""
TOGETHER = 64
"""Frames that are measured one after the other: between two frames the decoder has pushed all of this out of the processor's caches."""
BESIDE, MOST_BESIDE = 2, 0.8
"""So many pictures on either side of one from which something is laid over the shot the trees give less than that because of that one."""
RECENT = 100
"""Boundaries found last among which one is looked for that a new one would double."""


@dataclass
class _Interval:
    """Positions first..last among which boundaries may lie, the trees' probability at each from `first` on, and where detail dips."""

    first: int
    last: int
    chances: list[float] = field(default_factory=list)
    dips: list[int] = field(default_factory=list)

    def add(self, position: int, chance: float) -> None:
        self.chances += [0.0] * (position - self.first - len(self.chances)) + [chance]
        self.last = position


@dataclass(frozen=True)
class _Found:
    """A boundary with its score: a cut before `position`, or a transition over positions [first, end) `extent`."""

    score: float
    position: int
    extent: tuple[int, int] | None


class CascadeDetector:
    """Proposals by trees, judged by TransNetV2 where these are not sure. Implements `ShotDetector`; frames may be blended.

    Holds the last 1,024 tiny frames in three forms (10 MB) and what it found, whatever the length of the video. The score is the
    trees' probability, moved by the network's where that was asked; the network's alone of a dissolve that only it sees; how much of the change
    is explained by a wipe; 1 for a fade.

    Args:
        threshold: probability from which a boundary is accepted.
        fps: frame rate of the pushed frames; at more than 45 the pictures are thinned.
    """

    needs: Needs = "yuv_small"
    every_frame = False

    def __init__(self, threshold: float = 0.5, fps: float = 25.0) -> None:
        self._threshold = threshold
        self._history = History()
        self._black = BlackRuns(self._history)
        self._examined = 0
        self._thinned = Thinned(fps)
        self._proposals = Proposals(self._thinned)
        self._sweeps = Sweeps(self._proposals)
        self._waiting: list[tuple[int, int]] = []
        self._frames = np.empty((TOGETHER, 27, 48, 3), np.uint8)
        self._last: Tiny | None = None
        self._run: _Interval | None = None
        self._open: _Interval | None = None
        self._cuts: list[Cut] = []
        self._stats = {"frames": 0.0, "windows": 0.0, "network_frames": 0.0, "network_seconds": 0.0}

    def push(self, index: int, time_ms: int, picture: AnalysisPicture) -> None:
        """Take the next frame."""
        self._frames[len(self._waiting)] = picture.tiny_rgb
        self._waiting.append((index, time_ms))
        if len(self._waiting) == TOGETHER:
            self._take()

    def _take(self) -> None:
        if not self._waiting:
            return
        frames = self._frames[: len(self._waiting)]
        for (index, time_ms), frame, levels in zip(self._waiting, frames, levels_of(frames, self._last), strict=True):
            self._history.push(index, time_ms, frame, levels)
            self._thinned.push(index, time_ms, frame, levels.step)
            if self._history.count - self._examined > LONGEST_RAMP:
                self._black.examine(self._examined)
                self._examined += 1
            self._propose()
        self._last = frames[-1]
        self._waiting.clear()
        self._frames = np.empty_like(self._frames)  # those that wait to be thinned stay

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
        self._take()
        while self._examined < self._history.count:
            self._black.examine(self._examined)
            self._examined += 1
        self._black.finish()
        self._thinned.finish()
        self._propose(last=True)
        self._close_run()
        self._judge()

    def _propose(self, last: bool = False) -> None:
        for first, chances in self._proposals.measure(last):
            dips = np.repeat(dips_among(self._thinned, np.arange(first, first + len(chances), 2)), 2)[: len(chances)]
            for k in range(len(chances)):
                if self._thinned.repeats(first + k) or self._thinned.returned(first + k):
                    chances[k] = 0.0
                elif chances[k] < SURE and whole_change_at(self._thinned, first + k):
                    chances[k] = SURE
                elif chances[k] < WORTH_ASKING and slow_cut_at(self._thinned, first + k):
                    chances[k] = WORTH_ASKING
            self._consider_reach(first, chances)
            for sweep in self._sweeps.follow(first, chances, last):
                if not of_zoom(self._thinned, self._proposals, sweep.first, sweep.end):
                    self._add_gradual(sweep.first, sweep.end, sweep.score, "wipe")
            for offset in np.flatnonzero((chances >= PROPOSE) | dips):
                position, chance = first + int(offset), float(chances[offset])
                if self._run and (position > self._run.last + 1 or position - self._run.first >= LONGEST_INTERVAL):
                    self._close_run()
                if self._run is None:
                    self._run = _Interval(position, position)
                self._run.add(position, chance)
                if dips[offset]:
                    self._run.dips.append(position)
            done = first + len(chances)
            if self._run and self._run.last < done - 1:
                self._close_run()
            if self._open and not self._run and done - self._open.last > MERGE:
                self._judge()

    def _consider_reach(self, first: int, chances: NDArray[np.float64]) -> None:
        """Change the probabilities where the change is one that the trees, or the network, are known to misjudge."""
        for k in np.flatnonzero(chances >= STANDS_OUT):
            if first + k == 0:
                continue
            reach = Reach(self._proposals, first + int(k))
            if reach.laid_over():
                near = chances[max(0, k - BESIDE) : k + BESIDE + 1]
                near[near < min(float(chances[k]), MOST_BESIDE)] = 0.0
                chances[k] = 0.0
            elif LIKELY <= chances[k] < SURE and reach.everywhere() and not returns(self._thinned, first + int(k)):
                chances[k] = SURE
        for a, b in (run for run in runs(chances >= STANDS_OUT) if run[1] - run[0] <= SHORT):
            start, cells = self._proposals.cells(first + a - 1, first + b, first + a)
            if start == first + a - 1:
                leave_out_light(chances[a:b], cells)

    def _close_run(self) -> None:
        """Accept a run of proposals of which the trees are sure, list what no answer of the network could make one, and hand it the rest."""
        if self._run is None:
            return
        run, self._run = self._run, None
        chances = np.array(run.chances)
        parts = standing_out(chances, self._at_rest(run)) if chances.max() >= PROPOSE else []
        of_cameras = [
            (a, b)
            for a, b in parts
            if of_camera(self._thinned, self._proposals, run.first + a, run.first + b, float(chances[a:b].max()))
        ]
        for a, b in of_cameras:
            parts.remove((a, b))
            run.chances[a:b] = [0.0] * (b - a)
        peaks = [a + int(np.argmax(chances[a:b])) for a, b in parts]
        if parts and self._is_certain(run, parts):
            for one in self._found(run, None):
                self._add(one)
            return
        at_most = [score(float(chances[p]), 1.0, gradual=b - a > SHORT) for p, (a, b) in zip(peaks, parts, strict=True)]
        asked = [part for part, most in zip(parts, at_most, strict=True) if most >= self._threshold]
        if not asked and len(run.dips) < LEAST_DIPS:
            run.dips = []
        worth = [*(run.first + p for a, b in asked for p in (a, b - 1)), *run.dips]
        judged = range(min(worth), max(worth) + 1) if worth else range(0)
        for peak, most in zip(peaks, at_most, strict=True):
            if run.first + peak not in judged:
                self._add_cut(run.first + peak, most)
        if not worth:
            return
        run = _Interval(
            judged[0], judged[-1], run.chances[judged[0] - run.first : judged[-1] + 1 - run.first], run.dips
        )
        if self._open and (run.first > self._open.last + MERGE or run.last - self._open.first > LONGEST_INTERVAL):
            self._judge()
        if self._open is None:
            self._open = run
        else:
            for position, chance in enumerate(run.chances, run.first):
                self._open.add(position, chance)
            self._open.dips += run.dips

    def _is_certain(self, run: _Interval, parts: list[tuple[int, int]]) -> bool:
        """Whether no answer of the network could undo any part of a run, nor find a dissolve where none of them is."""
        chances = np.array(run.chances)
        least = (score(float(chances[a:b].max()), 0.0, gradual=b - a > SHORT) for a, b in parts)
        if any(s < self._threshold for s in least):
            return False
        gradual = [(run.first + a, run.first + b) for a, b in parts if b - a > SHORT]
        if any(end - first > LONG_INTERVAL for first, end in gradual):  # perhaps two, one after the other
            return False
        beside = max((b - a for a, b in gradual), default=0) // 2
        return all(any(first - beside <= dip < end + beside for first, end in gradual) for dip in run.dips)

    def _judge(self) -> None:
        """Let the network look at the open interval, and decide on each run of proposals in it."""
        if self._open is None:
            return
        interval, self._open = self._open, None
        chances = np.array(interval.chances)
        changing = split_at(runs(chances >= STANDS_OUT), self._at_rest(interval))
        gradual = bool(interval.dips) or any(b - a > SHORT for a, b in changing)
        if gradual and self._is_fade(interval):
            return
        view = self._look(interval, gradual, 2 if gradual or interval.last - interval.first > LONG_INTERVAL else 1)
        found = self._found(interval, view)
        if gradual and self._in_doubt(found, interval.dips, view):
            view = self._look(interval, gradual, 1)
            found = self._found(interval, view)
        for one in found:
            self._add(one)
        if interval.dips:
            self._add_dissolves(interval.dips, view)

    def _at_rest(self, interval: _Interval) -> list[int]:
        """Which pictures of an interval stand still for longer than others do: no transition goes on over them.

        Where pictures are shown for a quarter of a second each, every other one that is kept repeats the one before.
        """
        repeats = [self._thinned.repeats(p) for p in range(interval.first - 2, interval.last + 3)]
        around = zip(repeats, repeats[1:], repeats[2:], repeats[4:], strict=False)
        return [k for k, (two, one, own, later) in enumerate(around) if own and (one or not (two or later))]

    def _is_fade(self, interval: _Interval) -> bool:
        """Whether it is a part of a fade through black that is known by now, and so no boundary of its own."""
        begin, end = (self._thinned.shown(p)[0] for p in (interval.first, interval.last))
        return any(run.fade_first - NEAR <= begin and end <= run.fade_end + NEAR for run in self._black.runs[-RECENT:])

    def _look(self, interval: _Interval, gradual: bool, stride: int) -> View:
        """What the network says of every `stride`-th picture of an interval and its context."""
        context = DISSOLVE_CONTEXT if gradual else CUT_CONTEXT * stride
        positions = np.arange(interval.first - context, interval.last + context + 1, stride)
        box = self._proposals.box((interval.first + interval.last) // 2)
        view = look(self._thinned.frames(positions), positions, box, gradual=gradual)
        self._stats["windows"] += 1
        self._stats["network_frames"] += len(positions)
        self._stats["network_seconds"] += view.seconds
        return view

    def _in_doubt(self, found: list[_Found], dips: list[int], view: View) -> bool:
        """Whether a closer look could decide otherwise."""
        near = [abs(one.score - self._threshold) for one in found]
        if dips:
            near.append(abs(float(view.single[view.near(dips[0], dips[-1] + 1)].max()) - self._threshold))
        return min(near, default=1.0) < DOUBT

    def _found(self, interval: _Interval, view: View | None) -> list[_Found]:
        """What the trees propose in an interval, given what the network says of it, if it was asked."""
        chances = np.array(interval.chances)
        parts = {
            (interval.first + a + first, interval.first + a + end): float(chances[a:b][first:end].max())
            for a, b in split_at(runs(chances >= PROPOSE), self._at_rest(interval))
            for first, end in standing_out(chances[a:b])
        }
        return [
            self._found_in(part, chances[part[0] - interval.first : part[1] - interval.first], parts, view)
            for part in parts
        ]

    def _found_in(
        self,
        part: tuple[int, int],
        chances: NDArray[np.float64],
        parts: Mapping[tuple[int, int], float],
        view: View | None,
    ) -> _Found:
        first, end = part
        gradual = end - first > SHORT
        extent, at, joint = None, first, parts[part]
        if view is not None:
            seen, network = view.seen(first, end, [p for p, chance in parts.items() if chance > parts[part]])
            joint = score(parts[part], network, gradual=gradual)
            extent, at = view.extent(seen) if network >= self._threshold else None, int(view.positions[seen])
        sharpest = first + int(np.argmax(chances))
        if gradual:
            extent = extent or marked(first, end)
            within = range(max(1, min(first, at - 1)), max(end, at + 3))
            sharpest = max(within, key=self._thinned.step)
        cut = extent is None or self._thinned.stands_out(sharpest, *extent)
        return _Found(joint, sharpest, None if cut else extent)

    def _add_dissolves(self, dips: list[int], view: View) -> None:
        """Record the gradual transitions that the network sees where detail dips, if nothing was accepted there."""
        inside = np.isin(np.arange(len(view.positions)), view.near(dips[0], dips[-1] + 1))
        for a, b in runs((view.single >= self._threshold) & inside):
            seen = a + int(np.argmax(view.single[a:b]))
            extent = view.extent(seen)
            if extent is None or blurred(self._thinned, *extent):
                continue
            first, end = (self._thinned.shown(p)[0] for p in extent)
            if not any(c.accepted and first - NEAR <= c.frame <= end + NEAR for c in self._cuts[-RECENT:]):
                self._add_gradual(*extent, float(view.single[seen]))

    def _add(self, found: _Found) -> None:
        if found.extent is None:
            self._add_cut(found.position, found.score)
        else:
            self._add_gradual(*found.extent, found.score)

    def _add_gradual(self, first: int, end: int, score: float, kind: Kind = "dissolve") -> None:
        """Record a transition over positions [first, end)."""
        frame, time_ms = self._thinned.shown((first + end) // 2)
        begin, over = self._thinned.shown(first)[0], self._thinned.shown(end)[0]
        self._cuts.append(Cut(frame, time_ms, score, kind, score >= self._threshold, begin, max(over, begin + 1)))

    def _add_cut(self, position: int, score: float) -> None:
        position = min(max(position, 1), self._thinned.count - 1)
        frame, time_ms = self._thinned.cut(position)
        self._cuts.append(Cut(frame, time_ms, score, "cut", score >= self._threshold, frame, frame))


def score(trees: float, network: float, *, gradual: bool) -> float:
    """The probability of a boundary by both, 0 to 1."""
    seen, weight = (GRADUAL_SEEN, GRADUAL_WEIGHT) if gradual else (CUT_SEEN, CUT_WEIGHT)
    return min(max(trees + float(np.interp(network, seen, weight)), 0.0), 1.0)
