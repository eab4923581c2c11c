"""Wipes and slides: an edge passes over the picture and leaves the new shot behind it, or one picture moves over, off or before another.

The network does not know them, and the trees alone take hands, focus and titles for them. Here the pictures between two that differ over most
of the frame are explained by these two:

- a wipe: each cell looks like the earlier picture and then, from its own moment on, like the later one; the moments of neighbouring cells lie
  close together, and their share grows evenly;
- a slide: a strip of the later picture grows at one side, and either picture, or both, move along with it; where both do, they do not fit
  together where they meet, which tells it from a pan.

A thing that passes near the camera explains as much, but the earlier picture comes back behind it.

Looked at is only where the trees see a reason. All thresholds were chosen on the first half of the episodes of `benchmarks.truth`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.cuts import runs
from curation_assets.decode.shots.proposals import Proposals
from curation_assets.decode.shots.shifted import least, moved, nearest_return, seams, unlike, unlike_either

Ints = NDArray[np.int32]
"""int32 (n, rows, columns, 3): cells of consecutive pictures, or without the last axis their sums."""

PROPOSE = 0.035
"""Probability by the trees from which a wipe or a slide is looked for."""
JOIN, LONGEST = 4, 60
"""Proposals so many pictures apart are looked at together; a run of them is at most so long."""
SURE, SHORT = 0.97, 8
"""A run of at most so many pictures in which the probability is that high is a cut."""
LENGTHS = (7, 10, 14, 19, 25)
"""Pictures of the transitions that are tried ..."""
EVERY, BESIDE = 3, 4
"""... around every third picture of a run and the ones so near to it."""
SHORTEST, LONGEST_SLIDE = 5, 32
CLOSER_REST = 0.16
"""Pictures of a slide that is tried because another one has shown when its edge is at either side, and what it leaves unexplained at most."""
RETURN, LEAST_RETURN = 30, 0.65
"""The earlier picture must not come back within so many pictures, nor the later one have been there: how far the nearest is, as a share of
the change."""
CHANGED, LEAST_CHANGED = 120, 0.7
"""The two pictures differ in this share of the cells by so much, summed over four pixels and three colours, as they are and when the median
change is taken away: light that changes is no new picture."""
PLAIN = 48
"""Change that is added to each cell's: what coding and noise leave of a plain ground."""
WIPE_REST, ONE_WAY, SPREAD, ROUGH, UNEVEN = 0.22, 0.93, 0.2, 0.32, 0.22
"""Of a wipe: at most that share of the change unexplained; at least that share of it from earlier to later and not back; standard deviation of
the moments as a share of the length (.29 if they are spread evenly, 0 in a cut); at most that difference of neighbouring moments, in their
standard deviation; at most that far from growing evenly."""
SLIDE_REST, SLIDE_GAIN, SLIDE_SPAN, SEAM, UNSTEADY = 0.2, 0.5, 0.45, 1.0, 0.15
"""Of a slide: at most that share of the change unexplained, and of what is so without a movement; the edge passes at least that share of the
picture; where both move, they differ where they meet so many times more than neighbouring columns do; at most that far from a steady movement."""
LEAST_STILL = 0.3
"""What is so of any slide: an even one leaves a quarter of the picture as it was, or as it will be, and moves the rest."""
SAMPLES, FAR_OFF = 5, 2.0
"""Pictures of a slide that are looked at; if the middle one alone leaves so many times too much, the others are not."""


@dataclass(frozen=True)
class Sweep:
    """A wipe or a slide over the positions [first, end).

    Attributes:
        score: 1 less half the share of the limit that remains unexplained: .5 to 1.
    """

    first: int
    end: int
    score: float


class Sweeps:
    """Follows the proposals and looks among them for wipes and slides.

    Args:
        proposals: where the pictures are, and the part of them that shows something.
    """

    def __init__(self, proposals: Proposals) -> None:
        self._proposals = proposals
        self._run: tuple[int, int] | None = None
        self._highest = 0.0

    def follow(self, first: int, chances: NDArray[np.float64], last: bool) -> Iterator[Sweep]:
        """The wipes and slides of each run of proposals that is over by now, the best of those that overlap, given the next block of probabilities."""
        for a, b in runs(chances >= PROPOSE):
            begin, end, highest = first + a, first + b, float(chances[a:b].max())
            if self._run and begin - self._run[1] <= JOIN and end - self._run[0] <= LONGEST:
                self._run, self._highest = (self._run[0], end), max(self._highest, highest)
                continue
            yield from self._close()
            self._run, self._highest = (begin, end), highest
        if self._run and (last or first + len(chances) - self._run[1] > JOIN):
            yield from self._close()

    def _close(self) -> Iterator[Sweep]:
        if self._run is None:
            return
        (begin, end), self._run = self._run, None
        if self._highest >= SURE and end - begin <= SHORT:
            return
        margin = BESIDE + max(LENGTHS) + RETURN
        start, cells = self._proposals.cells(begin - margin, end + margin, (begin + end) // 2)
        taken: list[Sweep] = []
        for _, sweep in sorted(_sweeps(cells, begin - start, end - start), key=lambda found: -found[0]):
            if all(sweep.end <= other.first or other.end <= sweep.first for other in taken):
                taken.append(sweep)
                yield Sweep(sweep.first + start, sweep.end + start, sweep.score)


def _sweeps(cells: Ints, begin: int, end: int) -> Iterator[tuple[float, Sweep]]:
    """Those around pictures [begin, end), each with how much it explains."""
    tried = {
        (first, length)
        for length in LENGTHS
        for first in (np.arange(begin - BESIDE, end + BESIDE, EVERY) - length // 2).tolist()
    }
    asked = sorted(tried)
    for again in (True, False):  # the second time what the first has shown, slides alone
        closer: set[tuple[int, int]] = set()
        for first, length, share in _likely(cells, asked):
            pictures = cells[first - 1 : first + length + 1]
            rest = wipe_rest(pictures)
            if rest is not None and again:
                yield share - rest, Sweep(first, first + length, 1 - 0.5 * rest / WIPE_REST)
                continue
            slides = list(_slides(pictures))
            steady = [s.rest for s in slides if s.steady and (again or s.rest < CLOSER_REST)]
            if steady:
                yield share - min(steady), Sweep(first, first + length, 1 - 0.5 * min(steady) / SLIDE_REST)
            elif slides and again:
                best = min(slides, key=lambda s: s.rest)
                over = round((best.end - best.begin) * (length + 1)) - 1
                closer.add((first + round(best.begin * (length + 1)), over))
        asked = sorted(near for near in closer - tried if SHORTEST <= near[1] <= LONGEST_SLIDE)


def _likely(cells: Ints, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, float]]:
    """Those of the spans (first, length) before and after which the pictures are others, for good, and the share in which they differ."""
    known = np.array([s for s in spans if s[0] >= 1 and s[0] + s[1] < len(cells)], int).reshape(-1, 2)
    change = cells[known.sum(axis=1)] - cells[known[:, 0] - 1]
    likely = _share_above(change, CHANGED) > LEAST_CHANGED
    known, change = known[likely], change[likely]
    if not len(known):
        return
    level = np.median(change, axis=(1, 2), keepdims=True).astype(np.int32)
    shares = _share_above(change - level, CHANGED)
    for (first, length), share in zip(known.tolist(), shares.tolist(), strict=True):
        if share > LEAST_CHANGED and not _returns(cells, first, first + length):
            yield first, length, share


def _share_above(change: Ints, least: int) -> NDArray[np.float64]:
    """Of each of some changes (n, rows, columns, 3) the share of the cells in which it is larger: (n,)."""
    share: NDArray[np.float64] = (_summed(np.abs(change)) > least).mean(axis=(1, 2))
    return share


def _returns(cells: Ints, first: int, end: int) -> bool:
    """Whether a picture near the one before comes back, or one near the one after was there before."""
    change, nearest = nearest_return(cells, first, end, RETURN)
    return bool(nearest <= LEAST_RETURN * change)


def wipe_rest(cells: Ints) -> float | None:
    """The share of the change that a wipe from the first to the last of some pictures leaves unexplained; None if it is none."""
    length, size = len(cells) - 2, cells[0, ..., 0].size
    few = np.arange(1 + length // 4, 1 + length, max(1, length // 4))
    changed, pieced = unlike_either(cells, few)
    total = max(changed, 1)
    if pieced >= 1.5 * WIPE_REST * len(few) * (total + PLAIN * size):
        return None
    before, after, between = cells[0], cells[-1], cells[1:-1]
    change = _summed(np.abs(after - before))
    to_before, to_after = _summed(np.abs(between - before)), _summed(np.abs(between - after))
    rest = float(np.minimum(to_before, to_after).sum() / length / (total + PLAIN * change.size))
    if rest >= WIPE_REST:
        return None
    new = to_after < to_before
    moments = length - new.sum(axis=0)
    ordered = new == (np.arange(length)[:, None, None] >= moments)
    one_way = float((ordered * change).sum() / (length * total))
    deviation = float(np.sqrt((change * (moments - (change * moments).sum() / total) ** 2).sum() / total))
    share = (new * change).sum(axis=(1, 2)) / total
    uneven = float(np.abs(share - np.arange(1, length + 1) / (length + 1)).max())
    if one_way <= ONE_WAY or deviation <= SPREAD * length or uneven >= UNEVEN:
        return None
    rough = np.mean([_roughness(moments, change), _roughness(moments.T, change.T)])
    return rest if rough < ROUGH * (deviation + 0.5) else None


def _roughness(moments: NDArray[np.int64], change: Ints) -> float:
    """Mean difference of the moments of neighbours in one direction, weighted by the lesser change."""
    weight = np.minimum(change[1:], change[:-1])
    return float((np.abs(np.diff(moments, axis=0)) * weight).sum() / max(int(weight.sum()), 1))


@dataclass(frozen=True)
class Slide:
    """How a slide explains some pictures.

    Attributes:
        rest: share of the change that it leaves unexplained.
        steady: whether the edge moves evenly from the first picture to the last.
        begin, end: when it is at either side of the picture if it moves evenly; 0 is the first picture, 1 the last.
    """

    rest: float
    steady: bool
    begin: float
    end: float


def slide_rest(cells: Ints) -> float | None:
    """The share of the change that the best slide from the first to the last of some pictures leaves unexplained; None if it is none."""
    slides = [s for s in _slides(cells) if s.steady]
    return min((s.rest for s in slides), default=None)


def _slides(cells: Ints) -> Iterator[Slide]:
    """Those that explain the change from the first to the last of some pictures, perhaps in a part of the time alone."""
    places = _places(len(cells))
    luma = _summed(cells[np.concatenate(([0], places, [len(cells) - 1]))])
    before, between, after = luma[0], luma[1:-1], luma[-1]
    times = places / (len(cells) - 1)
    changed, left = unlike(between, before, after)
    total, still = changed + PLAIN * before.size, left / len(between)
    limit = min(SLIDE_REST, SLIDE_GAIN * still / total)
    if still < LEAST_STILL * total:
        return
    for upright in (False, True):
        old, new, seen = (
            np.ascontiguousarray(side.swapaxes(-1, -2) if upright else side) for side in (before, after, between)
        )
        middle = seen[len(seen) // 2 : len(seen) // 2 + 1]
        if moved(middle, old, new).min() >= FAR_OFF * limit * total:
            continue
        steps, *ends = seams(old, new)
        usual = steps[0] / (old.size - len(old)) + steps[1] / (old.size - len(old)) + PLAIN / 2
        rests, edges = least(moved(seen, old, new))
        for way, end in enumerate(ends):
            for which in range(3):
                rest = float(rests[way, which] / len(seen)) / total
                if rest < limit and not (which == 0 and end / len(old) <= SEAM * usual):
                    edge = (edges[way, which] + 1) / old.shape[1]
                    if (np.diff(edge) >= 0).all():
                        yield _slide(rest, edge, times)


@cache
def _places(count: int) -> NDArray[np.int64]:
    """Which of so many pictures of a slide are looked at."""
    return np.unique(np.linspace(1, count - 2, SAMPLES + 2).round().astype(int)[1:-1])


def _slide(rest: float, edge: NDArray[np.float64], times: NDArray[np.float64]) -> Slide:
    """From where the edge is at some times, both 0 to 1."""
    span = float(np.ptp(edge))
    steady = float(np.abs(edge - times).max()) < UNSTEADY and span > SLIDE_SPAN
    pace, at_first = np.polyfit(times, edge, 1).tolist()
    if pace <= 0:
        return Slide(rest, steady, 0.0, 1.0)
    return Slide(rest, steady, -at_first / pace, (1 - at_first) / pace)


def _summed(values: Ints) -> Ints:
    """Over the three colours."""
    total: Ints = values[..., 0] + values[..., 1] + values[..., 2]
    return total
