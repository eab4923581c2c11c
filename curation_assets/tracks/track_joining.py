"""Pieces of tracks, joined where one goes on as the other moved.

A tracker that works frame by frame loses an object whose next boxes lie beside its prediction, and begins a second track; and where two meet
and hide each other, it may go on with the wrong one. Seen from the end of the clip, both can be told: carried on by its own motion, each
piece meets the one that it belongs to. So tracks are cut where they may have gone on as another (`track_pieces`), and their pieces joined anew,
all at once. What belongs here: which pieces are one. What does not: where tracks are cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from curation_assets.tracks.track import Track
from curation_assets.tracks.track_pieces import LEAST_PIECE

MEETING_DISTANCE = 1.0
"""Largest mean distance, in box sizes, between where a piece would have gone and where the other is. Chosen, as what follows, on the
first half of the scenes of `benchmarks.truth`."""
CLEAR_LEAD = 0.6
"""Pieces of two tracks are joined if their distance is below this share of that of every other pair with one of them."""
OWN_LEAD = 0.1
"""By how much, in box sizes, pieces must meet nearer than those of one track do to take their place."""
LARGEST_HEIGHT_CHANGE, LARGEST_WIDTH_CHANGE = 0.25, 0.5
"""Largest natural logarithm of the ratio of heights and of widths at the seam."""
MOTION_BOXES = 8
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
    """Slope of the straight line through the centres by least squares, (2,) pixels per millisecond; none of too few."""
    if len(times_ms) < LEAST_PIECE:
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


def join_pieces(tracks: Sequence[list[Track]], longest_ms: float, alike: float | None = None) -> list[Track]:
    """Joins the pieces of a clip's tracks, each with the one that goes on from it.

    What is joined is the assignment of ends to begins in which pieces meet nearest in all. Pieces of one track that meet nobody nearer stay
    joined however far they lie apart, and a few last boxes are one, which may be left over; where neither piece has a place in a track already, one must go on clearly better than any other.

    Args:
        tracks: the pieces of each track in order of time; they are changed in place.
        longest_ms: longest time between the end of a piece and the begin of one of another track that goes on from it.
        alike: least cosine of the pieces' appearance; None where it is not looked at.

    Returns:
        The tracks, in order of appearance.
    """
    pieces = [piece for track in tracks for piece in track]
    if len(pieces) < 2:
        return pieces
    ends = np.cumsum([len(track) for track in tracks]) - 1
    own = sorted(set(range(len(pieces))) - set(ends.tolist()))  # each goes on with the next
    distances = _distances(pieces, longest_ms, alike)
    gain = np.where(np.isfinite(distances), MEETING_DISTANCE - distances, 0)
    gain[own, np.asarray(own, int) + 1] += OWN_LEAD
    held, begun = set(own), {before + 1 for before in own}
    following: dict[int, int] = {}
    for before, after in zip(*(places.tolist() for places in linear_sum_assignment(gain, maximize=True)), strict=True):
        unclaimed = before not in held and after not in begun
        if gain[before, after] > 0 and not (unclaimed and _doubtful(distances, before, after)):
            following[before] = after
    taken = set(following.values())
    for before in sorted(following, key=lambda k: -pieces[k].times_ms[0]):  # later ones first, each whole when appended
        pieces[before].append(pieces[following[before]])
    return sorted((p for k, p in enumerate(pieces) if k not in taken), key=lambda p: (p.times_ms[0], *p.boxes[0]))


def _doubtful(distances: NDArray[np.float64], before: int, after: int) -> bool:
    """Whether another pair with one of the two fits nearly as well."""
    others = np.concatenate([np.delete(distances[before], after), np.delete(distances[:, after], before)])
    return bool(distances[before, after] >= CLEAR_LEAD * others.min(initial=np.inf))
