"""The course of a clip: its picture in 16 x 16 cells, averaged over equal spans of its time.

A perceptual hash says what most of a picture looks like. Two people before one studio background, or two takes of one scene, have nearly the
same hashes; what tells them apart is what happens in a part of the picture. The course keeps that in at most 4 kB.

What belongs here: making a course. What does not: comparing two of them (`dedup.evidence`).
"""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

CELLS: Final = 16
"""Cells along each side of the picture."""

SPAN_MS: Final = 250
"""Shortest span of time that is averaged: gestures and speech go on for longer."""

MOST: Final = 16
"""Spans of a course; those of clips longer than four seconds are longer."""

_RISE_MS: Final = 100
"""A picture is stored within this time after it has changed; until then the one before it holds."""

Luma = NDArray[np.uint8]
Ints = NDArray[np.int64]


def spans(duration_ms: int) -> int:
    """Number of spans of the course of a clip of this length."""
    return max(1, min(MOST, -(-duration_ms // SPAN_MS)))


def course(pictures: Luma, times: Ints, start_ms: int, end_ms: int) -> Luma:
    """The course of the clip [start_ms, end_ms).

    Args:
        pictures: uint8 (n, s, s) at `times` (n,), increasing; s is a multiple of `CELLS`. Each holds until shortly before the next one.

    Returns:
        uint8 (spans, CELLS, CELLS): mean luma of each cell over each span of time; without pictures, no spans.
    """
    if not len(pictures):
        return np.empty((0, CELLS, CELLS), np.uint8)
    edges = np.linspace(start_ms, max(end_ms, start_ms + 1), spans(end_ms - start_ms) + 1)
    out = np.empty((len(edges) - 1, CELLS, CELLS), np.uint8)
    for k, (begin, end) in enumerate(itertools.pairwise(edges)):
        first = max(0, int(np.searchsorted(times, begin, side="right")) - 1)
        last = min(len(times), int(np.searchsorted(times, end + _RISE_MS)) + 1)
        share = _shares(times[first:last], float(begin), float(end))
        out[k] = _weighed(pictures[first:last], share)
    return out


@compiled
def _weighed(pictures: Luma, share: NDArray[np.float64]) -> Luma:
    """Mean of pictures (n, s, s) with a weight each (n,), of each cell: (CELLS, CELLS)."""
    side = pictures.shape[1] // CELLS
    sums = np.zeros((CELLS, CELLS))
    for k in range(len(pictures)):
        for row in range(CELLS):
            for column in range(CELLS):
                cell = np.int64(0)
                for i in range(side):
                    for j in range(side):
                        cell += pictures[k, row * side + i, column * side + j]
                sums[row, column] += share[k] * cell
    return np.rint(sums / (side * side)).astype(np.uint8)


@compiled
def _shares(times: Ints, begin: float, end: float) -> NDArray[np.float64]:
    """What each picture contributes to the mean over [begin, end), (n,): it holds, and in the last `_RISE_MS` gives way to the next evenly."""
    shares = np.ones(len(times))
    before = end - begin  # time that this one and all later ones have
    for k in range(len(times) - 1):
        later = float(times[k + 1])
        rise = float(min(_RISE_MS, times[k + 1] - times[k]))
        change = later - rise
        a, b = min(max(change, begin), end), min(max(later, begin), end)
        # The integral of the next one's part in the ramp, and what comes after that.
        after = (b - change) * (b - change) / (2 * rise) - (a - change) * (a - change) / (2 * rise) + (end - b)
        shares[k] = (before - after) / (end - begin)
        before = after
    if len(times) > 1:
        shares[-1] = before / (end - begin)
    return shares
