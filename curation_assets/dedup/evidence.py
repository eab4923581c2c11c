"""A second look at a pair that hashes propose: whether what changes in the two clips, and where, is the same.

Hashes say that most of two pictures look alike. Here the courses of the clips (`decode.measures.course`) are laid over each other, in time and in the
picture, and compared part by part: speakers before one background, lecturers beside one slide or two takes of one scene agree everywhere but
where something moves.

What belongs here: comparing two courses. What does not: which pairs are compared (`index`, `crops`), their levels (`levels`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.courses import Box, Course, Overlay, Values
from curation_assets.dedup.detail import detail_of, window_sums
from curation_assets.dedup.happenings import changes_alone, worst_time
from curation_assets.dedup.laying import in_time, laid_over, shared_parts, shared_times
from curation_assets.dedup.levels import NOISE, even, levelled

SURE: Final = 0.97
"""Likeness from which no better alignment is looked for."""

GOOD: Final = 0.9
"""Likeness below which the pictures are moved and scaled against each other."""

UNSURE: Final = 0.6
"""Likeness below which one picture is also tried as a slight crop of the other."""

SLIGHT: Final = 0.9
"""Side of a slight crop; stronger ones are found by their windows."""

LEAST_SPANS: Final = 4
"""Spans of time from which a drift of one picture over the other is looked for."""

GAIN: Final = 0.05
"""A drift must make the pictures so much more alike."""

SHIFTS_MS: Final = (0, -100, 100, -200, 200)
"""Slack of the hashes' alignment in time."""

SCAN_MS: Final = 125
MOST_SHIFTS: Final = 40
"""Where the shorter clip may lie anywhere in the longer one, so many places at most are tried, at least so far apart."""

LITTLE: Final = 0.2
"""Levels of change, in the mean of all cells, that weigh as much as what is alike: coding noise must not decide."""

MOST_UNLIKE: Final = 0.45
OPPOSED: Final = -0.1
MOST_UNLIKE_WITH_OPPOSED: Final = 0.1
"""Of two copies at most so much of what changes is unlike; no more than the last if a part of the picture changes against the other. Chosen on the
first half of the material of `benchmarks.truth`, area duplicates, where no copy that hashes find is lost by them; `LITTLE` by both halves.
"""

INNER: Final = 0.38
LEAST_INNER: Final = 0.15
"""Concordance that every part of the picture has at least in which both clips change, but for parts whose middle lies in so much of both sides at a corner, where somebody may
watch: else something else happens there, however well a backdrop that moves agrees. Chosen on the first half of `benchmarks.truth`: of 622 looks at its copies that all else
accepts one has less than 0.2 (a reversed copy that was taken for one forwards), of 32 at speakers before one moving backdrop 24 have less than 0.15.
"""

LEAST_IN_TIME: Final = 0.3
"""Correlation of the detail that every quarter of the time has at least: two clips that share an intro are none of each other. Chosen on the first half of `benchmarks.truth`: of
some 760 looks at copies that all else accepts, of its areas duplicates and reuploads, all have 0.5 and more, of seven at other footage after one intro four 0.12 and less."""

MOST_ALONE: Final = 0.3
"""Share of its change that each of two clips has where the other one stands still, at most. Of those copies it is 0.08 at most, of small walkers in one room all."""

LEAST_CHANGE: Final = 0.5
LEAST_LIKENESS: Final = 0.8
"""Of two copies either what changes concords more than this, or all that both show does: small changes have little weight in what is unlike, and two
that hardly move before one background agree by chance at some moment. Chosen on the first half, too."""

LEAST_CHANGE_BACKWARDS: Final = 0.7
"""What changes in a reversed copy concords by so much at least: run backwards, every pair has a second chance to agree. Reversed copies of the first half have
0.82 and more, other clips that were taken for some 0.6 and less."""

LEAST_TIME_BACKWARDS: Final = 0.6
"""And so much of the shorter one's time is shown by both. Two clips that begin with the same black picture share that if one is run backwards, and no more: a fifth of the
time of the only two different videos of `benchmarks.truth` that were merged. Its reversed copies share 0.9 and more."""


@dataclass(frozen=True)
class Agreement:
    """What two courses have in common under the best alignment.

    Attributes:
        likeness: concordance of all that is seen, appearance and change, at most 1.
        change: concordance of the changes (each cell's difference from its mean over time).
        worst_change: the same of the part of the picture where it is least, among the parts that change in both; 1 if none does.
        worst_inner: the same without those in corners.
        unlike_change: share of what changes in both that does not change alike.
        unlike_still: share of the detail that both show and that looks different.
        worst_time: correlation of the detail in the quarter of the time in which it is least.
        alone: share of each clip's change that lies where the other one stands still, the lesser of the two.
        detail: levels by which the lesser of the two pictures deviates from its surroundings of 5 x 5 cells.
        offset_ms: time in the other clip that the start of the first one falls on.
        spans: spans of time that were compared.
        common: share of the first and of the other picture that both show.
        times: share of each clip's time that both show.
        moving: share of the cells that change in both, and alike.
        overlay: how the first picture lies on the other; None if it drifts.
        scale: of time, as it was given.
    """

    likeness: float
    change: float
    worst_change: float
    worst_inner: float
    unlike_change: float
    unlike_still: float
    worst_time: float
    alone: float
    detail: float
    offset_ms: int
    spans: int
    common: tuple[float, float]
    times: tuple[float, float]
    moving: float
    overlay: Overlay | None
    scale: float

    def turned(self) -> Agreement:
        """The same with the other clip laid on the first one."""
        return replace(
            self,
            offset_ms=round(-self.offset_ms / self.scale),
            scale=1 / self.scale,
            common=self.common[::-1],
            times=self.times[::-1],
            overlay=None if self.overlay is None else self.overlay.turned(),
        )


def unlike(found: Agreement, backwards: bool = False) -> bool:
    """Whether what changes in two clips differs, so that they are no copies of each other.

    Args:
        backwards: whether one of them was run backwards for it.
    """
    return (
        (backwards and (found.change < LEAST_CHANGE_BACKWARDS or max(found.times) < LEAST_TIME_BACKWARDS))
        or found.unlike_change > MOST_UNLIKE
        or (found.worst_change < OPPOSED and found.unlike_change > MOST_UNLIKE_WITH_OPPOSED)
        or (found.change < LEAST_CHANGE and found.likeness < LEAST_LIKENESS)
        or found.worst_time < LEAST_IN_TIME
        or found.alone > MOST_ALONE
    )


def happens_otherwise(found: Agreement) -> bool:
    """Whether something else happens in a part of two whole pictures, however alike the rest changes."""
    return found.worst_inner < LEAST_INNER


def agreement(
    a: Course,
    b: Course,
    scale: float,
    offset_ms: int,
    overlays: Sequence[Overlay] = (),
) -> Agreement | None:
    """Compares two courses under the best alignment near the given one.

    Args:
        scale, offset_ms: time in `b` = scale x time in `a` + offset.
        overlays: where to begin to look for how the pictures lie on each other; by default picture on picture and frame on frame.

    Returns:
        None if there is nothing to compare.
    """
    best: tuple[float, float, Overlay, Values, Values] | None = None
    for starts in (list(overlays),) if overlays else (_starts(a, b), _cropped_starts(a, b)):
        for shift in _shifts(a, b, scale, offset_ms):
            if best is not None and best[0] > SURE:
                break
            aligned = in_time(a, b, scale, offset_ms + shift)
            if aligned is None:
                continue
            x, y = (even(v) for v in aligned)
            for overlay in starts:
                likeness = _likeness(x, y, [overlay])
                if best is None or likeness > best[0]:
                    best = likeness, shift, overlay, x, y
        if best is None or best[0] > UNSURE:
            break
    if best is None:
        return None
    likeness, shift, overlay, x, y = best
    path = [overlay]
    if likeness < GOOD:
        likeness, overlay = _refined(x, y, overlay, likeness)
        likeness, path = _drifting(x, y, overlay, likeness)
    aligned = in_time(a, b, scale, offset_ms + shift)
    laid = None if aligned is None else laid_over(*aligned, path)
    if laid is None:
        return None
    times = shared_times(a, b, scale, offset_ms + shift)
    found = _judged(*levelled(*laid), likeness, round(offset_ms + shift), path, times, scale)
    everything = in_time(a, b, scale, offset_ms + shift, fades=True)
    whole = laid if len(path) > 1 or everything is None else laid_over(*everything, path)
    return replace(found, worst_time=1.0 if whole is None else worst_time(*whole))


def likeness_laid(a: Course, b: Course, found: Agreement, overlay: Overlay) -> float:
    """How alike two courses are at the time that was found for them, if the first picture lies so on the other; -1 if they have too little in common."""
    aligned = in_time(a, b, found.scale, found.offset_ms)
    return -1.0 if aligned is None else _likeness(even(aligned[0]), even(aligned[1]), [overlay])


def _starts(a: Course, b: Course) -> list[Overlay]:
    """Picture on picture, and frame on frame where that is something else."""
    frames = Overlay.between(a.box, b.box)
    apart = max(abs(frames.scale_x - 1), abs(frames.scale_y - 1), abs(frames.offset_x), abs(frames.offset_y))
    return [Overlay()] if apart < 0.02 else [Overlay(), frames]


def _cropped_starts(a: Course, b: Course) -> list[Overlay]:
    """One frame as the middle of the other, either way."""
    edge = (1 - SLIGHT) / 2

    def grown(box: Box) -> Box:
        return (box[0] - edge) / SLIGHT, (box[1] - edge) / SLIGHT, box[2] / SLIGHT, box[3] / SLIGHT

    return [Overlay.between(grown(a.box), b.box), Overlay.between(a.box, grown(b.box))]


def _shifts(a: Course, b: Course, scale: float, offset_ms: int) -> list[float]:
    """Times to be added to the offset: near ones first; at the same speed also all places of the shorter clip in the longer one."""
    longer = b.duration_ms - a.duration_ms
    near: list[float] = list(SHIFTS_MS)
    if abs(scale - 1) > 1e-3:
        return near
    count = min(MOST_SHIFTS, abs(longer) // SCAN_MS + 2)
    return near + [float(at) - offset_ms for at in np.linspace(min(0, longer), max(0, longer), count)]


def _likeness(x: Values, y: Values, path: Sequence[Overlay]) -> float:
    """Mean concordance of detail and of change in what both pictures show; -1 if that is too little."""
    laid = laid_over(x, y, path)
    if laid is None:
        return -1.0
    u, v = laid
    mean_u, mean_v = u.mean(axis=0), v.mean(axis=0)
    return (_alike(detail_of(mean_u), detail_of(mean_v)) + _alike(u - mean_u, v - mean_v)) / 2


def _alike(x: Values, y: Values) -> float:
    """Concordance (Lin 1989, about zero) ; 1 where there is nothing."""
    floor = NOISE**2 * x.size
    return float((2 * (x * y).sum() + floor) / ((x * x).sum() + (y * y).sum() + floor))


def _refined(x: Values, y: Values, overlay: Overlay, likeness: float) -> tuple[float, Overlay]:
    """Moved and scaled in ever smaller steps while that makes the pictures more alike."""
    for size in (0.06, 0.03, 0.015):
        improved = True
        while improved:
            improved = False
            for other in overlay.steps(size):
                reached = _likeness(x, y, [other])
                if reached > likeness + 1e-4:
                    likeness, overlay, improved = reached, other, True
                    break
    return likeness, overlay


def _drifting(x: Values, y: Values, overlay: Overlay, likeness: float) -> tuple[float, list[Overlay]]:
    """How the first picture lies on the other at each span of time if it drifts evenly; at all of them alike unless that is less so."""
    path, spans, still = [overlay], len(x), likeness
    unmoved = max(float((v - v.mean(axis=0)).std()) for v in (x, y)) < NOISE
    if likeness > GOOD or spans < LEAST_SPANS or unmoved:
        return likeness, path
    course = np.linspace(-0.5, 0.5, spans)
    across = down = 0.0
    for size in (0.12, 0.06, 0.03, 0.015):
        improved = True
        while improved:
            improved = False
            for right, low in itertools.product((0.0, size, -size), repeat=2):
                drift = across + right, down + low
                other = [overlay.moved(drift[0] * at, drift[1] * at) for at in course.tolist()]
                reached = _likeness(x, y, other)
                if reached > likeness + 0.005:
                    likeness, path, (across, down), improved = reached, other, drift, True
                    break
    return (likeness, path) if likeness > still + GAIN else (still, [overlay])


def _concordance(x: Values, y: Values, floor: float, wide: int, high: int) -> tuple[Values, Values]:
    """Of the windows of pictures of products xx, yy and xy: how far they agree, and what the lesser of the two has, per cell."""
    n = wide * high
    xx, yy = (np.maximum(0.0, window_sums((v * v).mean(axis=0), wide, high)) / n for v in (x, y))
    xy = window_sums((x * y).mean(axis=0), wide, high) / n
    return (2 * xy + floor) / (xx + yy + floor), np.sqrt(np.minimum(xx, yy))


PART: Final = 4
"""A part of the picture is a window of a quarter of each side."""

MOVES: Final = 1.5
"""Levels by which the cells of a part deviate from their means if the part counts as changing."""


ALIKE: Final = 0.5
"""Concordance from which the change of a cell counts as the same."""


def _corners(windows: tuple[int, ...], cells: tuple[int, ...]) -> NDArray[np.bool_]:
    """Of windows at every place in so many cells, whose middles lie in a corner."""
    near = []
    for count, of in zip(windows, cells, strict=True):
        middle = (np.arange(count) + (of - count + 1) / 2) / of
        near.append(np.minimum(middle, 1 - middle) < INNER)
    return near[0][:, None] & near[1]


def _judged(
    x: Values,
    y: Values,
    likeness: float,
    offset_ms: int,
    path: Sequence[Overlay],
    times: tuple[float, float],
    scale: float,
) -> Agreement:
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    still_x, still_y = detail_of(mean_x)[None], detail_of(mean_y)[None]
    alike, both = _concordance(still_x, still_y, 2 * NOISE**2, 3, 3)
    detail = min(float(np.sqrt(np.maximum(0, window_sums((v * v)[0], 3, 3)) / 9).sum()) for v in (still_x, still_y))
    unlike_still = float((both * np.clip(1 - alike, 0, 1)).sum()) / max(detail, NOISE * both.size / 2)

    change_x, change_y = x - mean_x, y - mean_y
    noise = NOISE**2
    alike, both = _concordance(change_x, change_y, noise, *(max(2, round(s / PART)) for s in x.shape[:0:-1]))
    changing = both > MOVES
    parts, inner = alike[changing], alike[changing & ~_corners(alike.shape, change_x.shape[1:])]
    alike, both = _concordance(change_x, change_y, noise, 1, 1)
    each = float((change_x**2).sum() + (change_y**2).sum()) / len(x)
    product = float((change_x * change_y).sum()) / len(x)
    return Agreement(
        likeness=likeness,
        change=(2 * product + noise * mean_x.size) / (each + noise * mean_x.size),
        worst_change=float(parts.min()) if len(parts) else 1.0,
        worst_inner=float(inner.min()) if len(inner) else 1.0,
        unlike_change=float((both * np.clip(1 - alike, 0, 1)).sum() / (both.sum() + LITTLE * both.size)),
        unlike_still=unlike_still,
        worst_time=1.0,
        alone=changes_alone(x, y),
        detail=float(min(np.sqrt((v * v).mean()) for v in (still_x, still_y))),
        offset_ms=offset_ms,
        spans=len(x),
        common=shared_parts(path),
        times=times,
        moving=float(((both > MOVES) & (alike > ALIKE)).mean()),
        overlay=path[0] if len(path) == 1 else None,
        scale=scale,
    )
