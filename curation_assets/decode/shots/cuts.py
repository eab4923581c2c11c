"""What a shot detector is handed and what it answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
