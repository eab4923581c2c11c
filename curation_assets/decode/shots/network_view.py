"""What the network says of a few pictures: of the part of them that shows something, with its levels stretched.

It was trained on ordinary footage and sees nothing where the picture is dark, hazy or small within a still frame, unless that is undone
first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.cuts import runs
from curation_assets.decode.shots.evidence import Box
from curation_assets.decode.shots.history import Tiny

NEAR = 3
"""Pictures on either side of a proposal in which the network's view of it is looked for."""
SHARED = 0.5
"""Weight of the network's view of one proposal in what it says of a less likely one nearby."""
MANY = 0.5
"""Probability by the second head from which a picture belongs to a transition."""
SINGLE_SHARE = 0.6
"""Weight of the network's first head in the geometric mean by which dissolves are scored: in a slow one it stays near one half."""
DARKEST, BRIGHTEST, LARGEST_GAIN = 0.01, 0.99, 12.0
"""Quantiles of a window's levels that are stretched to the whole range for the network, and the most by which."""


@dataclass(frozen=True)
class View:
    """What the network says of pictures.

    Attributes:
        positions: of the pictures, ascending (n,).
        single: probability that each is the picture by which a boundary is counted (n,).
        many: probability that it belongs to a transition at all (n,).
        seconds: processor time that it took.
    """

    positions: NDArray[np.int64]
    single: NDArray[np.float32]
    many: NDArray[np.float32]
    seconds: float

    def near(self, first: int, end: int) -> NDArray[np.intp]:
        """Indices of the pictures at or near positions [first, end)."""
        return np.flatnonzero((self.positions >= first - NEAR) & (self.positions < end + NEAR))

    def seen(self, first: int, end: int, others: Sequence[tuple[int, int]]) -> tuple[int, float]:
        """What is seen of a boundary at positions [first, end): the index of the picture, and the probability.

        Args:
            others: where boundaries are likelier; what lies nearer to one of them weighs `SHARED`.
        """
        near = self.near(first, end)
        away = self._away(first, end)
        shared = np.any([self._away(*other) < away for other in others], axis=0) if others else np.False_
        weighed = np.where(shared, SHARED, 1.0) * self.single
        index = int(near[np.argmax(weighed[near])])
        return index, float(weighed[index])

    def _away(self, first: int, end: int) -> NDArray[np.int64]:
        """How far the boundary behind each picture is from those before positions [first, end)."""
        return np.maximum(0, np.maximum(first - 1 - self.positions, self.positions - (end - 1)))

    def extent(self, seen: int) -> tuple[int, int] | None:
        """The positions [first, end) of the transition at index `seen`; None if it is as short as a cut."""
        a, b = next((a, b) for a, b in [*runs(self.many >= MANY), (seen, seen + 1)] if a <= seen < b)
        first, end = int(self.positions[a]), int(self.positions[b - 1]) + 1
        return (first, end) if end - first > 2 else None


def look(frames: Tiny, positions: NDArray[np.int64], box: Box, *, gradual: bool) -> View:
    """Ask the network.

    Args:
        frames: the pictures (n, 27, 48, 3).
        positions: of the pictures.
        box: the part that shows something.
        gradual: whether gradual transitions are looked for: then the second head helps the first.
    """
    from curation_assets.decode.shots.transnet_whole import network

    net = network()
    before = net.seconds
    single, many = net.scores(stretched(frames, box))
    if gradual:
        single = np.maximum(single, single**SINGLE_SHARE * _highest_near(many) ** (1 - SINGLE_SHARE))
    return View(positions, single, many, net.seconds - before)


def stretched(frames: Tiny, box: Box) -> Tiny:
    """The part of pictures (n, 27, 48, 3) that shows something, at the whole size, with the levels of all of them stretched alike."""
    bottom = 27 if box.bottom == 13 else 2 * box.bottom
    part = frames[:, 2 * box.top : bottom, 2 * box.left : 2 * box.right]
    counts = np.cumsum(np.bincount(part.ravel(), minlength=256))
    low, high = (int(np.searchsorted(counts, share * counts[-1])) for share in (DARKEST, BRIGHTEST))
    gain = min(255 / max(high - low, 1), LARGEST_GAIN)
    curve = np.clip(np.round((np.arange(256) - low) * gain), 0, 255).astype(np.uint8)
    if part.shape[1:3] != (27, 48):
        part = np.stack([cv2.resize(p, (48, 27), interpolation=cv2.INTER_LINEAR) for p in part])
    result: Tiny = cv2.LUT(np.ascontiguousarray(part).reshape(-1, 48, 3), curve).reshape(part.shape)
    return result


def _highest_near(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """The highest score at most three frames away from each: (n,)."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(scores, 3), 7).max(axis=1)
