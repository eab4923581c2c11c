"""Pieces of one track, joined where one goes on as the other moved.

A tracker that works frame by frame loses an object whose next boxes lie beside its prediction, and begins a second track. Seen from the
end of the clip, the two fit: carried on by its own motion, each meets the other. What belongs here: which pieces are one. What does not:
how pieces come about (`tracking`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from curation_assets.tracks.tracking import Track

MEETING_DISTANCE = 0.8
"""Largest mean distance, in box sizes, between where a piece would have gone and where the other is. Chosen, as what follows, on the
first half of the scenes of `benchmarks.truth`."""
CLEAR_LEAD = 0.6
"""A pair is joined if its distance is below this share of that of every other pair with one of its pieces."""
LARGEST_HEIGHT_CHANGE, LARGEST_WIDTH_CHANGE = 0.25, 0.5
"""Largest natural logarithm of the ratio of heights and of widths at the seam."""
MOTION_BOXES = 6
"""Boxes at the end of a piece that its motion is read from."""


@dataclass(frozen=True)
class _Ends:
    """First or last box of each piece.

    Attributes:
        times_ms: float64 (n,).
        centres, sizes: float64 (n, 2), pixels.
        velocities: float64 (n, 2), pixels per millisecond.
    """

    times_ms: NDArray[np.float64]
    centres: NDArray[np.float64]
    sizes: NDArray[np.float64]
    velocities: NDArray[np.float64]


def _ends(pieces: Sequence[Track], last: bool) -> _Ends:
    shown = [slice(-MOTION_BOXES, None) if last else slice(0, MOTION_BOXES)] * len(pieces)
    boxes = [np.asarray(p.boxes[s], np.float64) for p, s in zip(pieces, shown, strict=True)]
    times = [np.asarray(p.times_ms[s], np.float64) for p, s in zip(pieces, shown, strict=True)]
    place = -1 if last else 0
    end = np.stack([b[place] for b in boxes])
    velocities = np.stack([_velocity(t, b[:, :2] + b[:, 2:] / 2) for t, b in zip(times, boxes, strict=True)])
    return _Ends(np.asarray([t[place] for t in times]), end[:, :2] + end[:, 2:] / 2, end[:, 2:], velocities)


def _velocity(times_ms: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slope of the straight line through the centres by least squares, (2,) pixels per millisecond; none of fewer than three."""
    if len(times_ms) < 3:
        return np.zeros(2)
    since = times_ms - times_ms.mean()
    return np.asarray((since[:, None] * (centres - centres.mean(axis=0))).sum(axis=0) / (since**2).sum())


def _distances(pieces: Sequence[Track], longest_ms: float, alike: float | None) -> NDArray[np.float64]:
    """float64 (n, n): how far from each other the end of the one and the begin of the other meet, in box sizes; inf where they cannot."""
    end, begin = _ends(pieces, last=True), _ends(pieces, last=False)
    gap = begin.times_ms[None, :] - end.times_ms[:, None]
    between = begin.centres[None, :] - end.centres[:, None]
    size = (end.sizes[:, None] + begin.sizes[None, :]) / 2
    forwards = np.linalg.norm((between - end.velocities[:, None] * gap[..., None]) / size, axis=2)
    backwards = np.linalg.norm((between - begin.velocities[None, :] * gap[..., None]) / size, axis=2)
    distance = (forwards + backwards) / 2
    change = np.abs(np.log(end.sizes[:, None] / begin.sizes[None, :]))
    fits = (gap > 0) & (gap <= longest_ms) & (distance < MEETING_DISTANCE)
    fits &= (change[..., 1] <= LARGEST_HEIGHT_CHANGE) & (change[..., 0] <= LARGEST_WIDTH_CHANGE)
    if alike is not None:
        looks = [p.embedding() for p in pieces]
        known = [look for look in looks if look is not None]
        if len(known) == len(looks):
            fits &= np.stack(known) @ np.stack(known).T >= alike
    return np.where(fits, distance, np.inf)


def join_pieces(pieces: Sequence[Track], longest_ms: float, alike: float | None = None) -> list[Track]:
    """Joins each piece with the one that clearly goes on from it.

    Args:
        pieces: tracks of one clip, in order of appearance; those that another goes on from are extended in place.
        longest_ms: longest time between the end of a piece and the begin of the next.
        alike: least cosine of the pieces' appearance; None where it is not looked at.

    Returns:
        The tracks, in order of appearance.
    """
    if len(pieces) < 2:
        return list(pieces)
    distances = _distances(pieces, longest_ms, alike)
    following: dict[int, int] = {}
    for before, after in zip(*np.nonzero(np.isfinite(distances)), strict=True):
        own = distances[before, after]
        others = np.concatenate([np.delete(distances[before], after), np.delete(distances[:, after], before)])
        if own < CLEAR_LEAD * others.min(initial=np.inf):
            following[int(before)] = int(after)
    taken = set(following.values())
    for before in sorted(following, reverse=True):  # later pieces first, so that each is whole when it is appended
        pieces[before].append(pieces[following[before]])
    return [piece for number, piece in enumerate(pieces) if number not in taken]
