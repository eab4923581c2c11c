"""What a shot detector is handed and what it answers: each transition once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.reading.picture import AnalysisPicture

Kind = Literal["cut", "fade", "dissolve", "wipe"]
Needs = Literal["bgr", "yuv_small", "none"]


@dataclass(frozen=True)
class Cut:
    """A proposed shot boundary.

    Attributes:
        frame: index in display order of the first frame of the new shot; of a gradual transition, its middle.
        time_ms: presentation time of that frame.
        score: what the detector compared with its threshold: higher is surer, 0..1 for `cascade` and `transnetv2`.
        kind: how the shots meet; a slide is a wipe, too.
        accepted: whether the score reached the threshold (and the detector's minimum scene length let it stand).
        transition_start, transition_end: the frames that show both shots or neither, end exclusive; both equal `frame` for a hard cut.
    """

    frame: int
    time_ms: int
    score: float
    kind: Kind
    accepted: bool
    transition_start: int
    transition_end: int


@dataclass(frozen=True)
class CutList:
    """Every proposed boundary of a video, by frame.

    Attributes:
        cuts: at most one per frame, ordered.
        detector: name of the detector with its parameters.
        stats: what it cost: `frames` pushed, `network_frames` that the network saw, `network_seconds` of processor time, `windows` judged.
    """

    cuts: tuple[Cut, ...]
    detector: str | None
    stats: Mapping[str, float] = field(default_factory=dict, compare=False)

    def __iter__(self) -> Iterator[Cut]:
        return iter(self.cuts)

    def __len__(self) -> int:
        return len(self.cuts)

    @property
    def accepted(self) -> list[Cut]:
        """The boundaries that hold."""
        return [c for c in self.cuts if c.accepted]


class ShotDetector(Protocol):
    """Finds the shot boundaries of one video: `push` for each frame in display order, none left out, then `finish`, once.

    Attributes:
        needs: which view of the pictures it reads: `bgr`, the small views (`yuv_small`), or `none`.
        every_frame: whether each frame must be a decoded one; otherwise those where nothing changes may be blended from their neighbours.
    """

    needs: Needs
    every_frame: bool

    def push(self, index: int, time_ms: int, picture: AnalysisPicture) -> None:
        """Take the next frame. `picture` is read during the call and not kept."""

    def finish(self) -> CutList:
        """The boundaries."""


def runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open intervals in which `mask` (n,) is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def one_per_transition(cuts: list[Cut]) -> tuple[Cut, ...]:
    """By frame; of cuts of which one lies in the other's transition the first of: accepted, a hard cut or a fade, the highest score.

    Where a transition ends is an estimate: of two that overlap at their ends each keeps its own half.
    """
    order = sorted(cuts, key=lambda c: (not c.accepted, c.kind in ("dissolve", "wipe"), -c.score, c.frame))
    kept: list[Cut] = []
    for cut in order:
        if not any(_within(cut, k) or _within(k, cut) for k in kept):
            kept.append(cut)
    kept.sort(key=lambda c: c.frame)
    for place, (before, after) in enumerate(pairwise(kept)):
        if after.transition_start < before.transition_end:
            middle = (after.transition_start + before.transition_end) // 2
            kept[place] = replace(kept[place], transition_end=middle)
            kept[place + 1] = replace(after, transition_start=middle)
    return tuple(kept)


def _within(cut: Cut, other: Cut) -> bool:
    """Whether a boundary lies in the transition of another."""
    first, end = min(other.transition_start, other.frame), max(other.transition_end, other.frame + 1)
    return first <= cut.frame < end
