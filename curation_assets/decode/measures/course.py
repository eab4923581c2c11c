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


def _shares(times: Ints, begin: float, end: float) -> NDArray[np.float64]:
    """What each picture contributes to the mean over [begin, end), (n,): it holds, and in the last `_RISE_MS` gives way to the next evenly."""
    if len(times) == 1:
        return np.ones(1)
    rise = np.minimum(_RISE_MS, np.diff(times)).astype(np.float64)
    change = times[1:] - rise
    a, b = np.clip(change, begin, end), np.clip(times[1:], begin, end)
    grown = (b - change) ** 2 / (2 * rise) - (a - change) ** 2 / (
        2 * rise
    )  # integral of the next one's part in the ramp
    after = grown + (end - b)  # time that the next one and all later ones have
    total = np.append(end - begin, after)
    shares: NDArray[np.float64] = (total - np.append(after, 0.0)) / (end - begin)
    return shares
