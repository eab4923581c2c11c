"""How two courses are laid over each other, in time and in the picture: what both show, in the same spans and cells.

What belongs here: laying as one is told. What does not: where they fit best, and what they have in common (`evidence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from curation_assets.decode.measures.course import CELLS
from curation_assets.dedup.courses import Box, Course, Overlay, Values
from curation_assets.dedup.levels import both_lit

SMALLEST: Final = 0.2
"""Least share of a side that two pictures must have in common."""

_TINY: Final = 1e-9


def _both_show(a: Course, b: Course, scale: float, offset: float) -> tuple[float, float]:
    """From when to when, in the first clip's time."""
    return max(0.0, -offset / scale), min(float(a.duration_ms), (b.duration_ms - offset) / scale)


def shared_times(a: Course, b: Course, scale: float, offset: float) -> tuple[float, float]:
    """Share of each clip's time that both show."""
    begin, end = _both_show(a, b, scale, offset)
    return (end - begin) / max(1, a.duration_ms), (end - begin) * scale / max(1, b.duration_ms)


def in_time(a: Course, b: Course, scale: float, offset: float, *, fades: bool = False) -> tuple[Values, Values] | None:
    """Means over the same spans of time, (n, CELLS, CELLS) each: as many as the coarser course has in what both show, less those of fades unless they are asked for."""
    begin, end = _both_show(a, b, scale, offset)
    if end - begin < 1 or not len(a.cells) or not len(b.cells):
        return None
    coarser = max(a.duration_ms / len(a.cells), b.duration_ms / len(b.cells) / scale)
    count = max(1, int((end - begin) / coarser + 0.01))
    sides = ((a, begin, end), (b, begin * scale + offset, end * scale + offset))
    x, y = (
        np.tensordot(_averages(s / c.duration_ms, e / c.duration_ms, count, len(c.cells)), c.cells, 1)
        for c, s, e in sides
    )
    return (x, y) if fades else both_lit(x, y)


@lru_cache(4096)
def _averages(begin: float, end: float, count: int, cells: int) -> Values:
    """(count, cells): means over so many equal parts of [begin, end], shares of a row of cells that go on beyond its ends."""
    edges = np.linspace(begin, end, count + 1) * cells
    low, high = np.arange(cells, dtype=np.float64), np.arange(1.0, cells + 1)
    low[0], high[-1] = min(0.0, edges[0]), max(float(cells), edges[-1])
    weights = np.clip(np.minimum(edges[1:, None], high) - np.maximum(edges[:-1, None], low), 0, None)
    means: Values = weights / np.maximum(weights.sum(axis=1, keepdims=True), _TINY)
    return means


def _on_grid(values: Values, region: Box, size: tuple[int, int]) -> Values:
    """The region (left, top, right, lower edge) of the pictures (n, CELLS, CELLS) in so many cells across and down."""
    left, top, right, bottom = (round(edge * 400) / 400 for edge in region)
    rows, columns = _averages(top, bottom, size[1], CELLS), _averages(left, right, size[0], CELLS)
    out: Values = rows @ values @ columns.T
    return out


def laid_over(x: Values, y: Values, path: Sequence[Overlay]) -> tuple[Values, Values] | None:
    """What both show, in the same cells; None if it is too little.

    Args:
        path: how the first picture lies on the other, for each span of time or for all.
    """
    edges = np.array([overlay.common() for overlay in path])
    region: Box = (*edges[:, :2].max(axis=0).tolist(), *edges[:, 2:].min(axis=0).tolist())
    own = path[0].back(region)
    wide, high = (min(region[k + 2] - region[k], own[k + 2] - own[k]) for k in (0, 1))
    if min(wide, high) < SMALLEST:
        return None
    size = max(4, round(CELLS * wide)), max(4, round(CELLS * high))
    if len(path) == 1:
        return _on_grid(x, own, size), _on_grid(y, region, size)
    moving = [_on_grid(x[k], overlay.back(region), size) for k, overlay in enumerate(path)]
    return np.array(moving), _on_grid(y, region, size)


def shared_parts(path: Sequence[Overlay]) -> tuple[float, float]:
    """Share of the first and of the other picture that both show, in the mean."""
    regions = [(overlay.back(overlay.common()), overlay.common()) for overlay in path]
    areas = [[(r[2] - r[0]) * (r[3] - r[1]) for r in pair] for pair in regions]
    first, other = np.mean(areas, axis=0).tolist()
    return first, other
