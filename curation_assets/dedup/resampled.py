"""A region of a still in so many cells.

What belongs here: sampling as one is told. What does not: which regions are compared (`standing`), comparing them (`small_windows`).
"""

from __future__ import annotations

import numpy as np

from curation_assets.dedup.courses import Box, Values


def middles(begin: float, end: float, count: int) -> Values:
    """The middles of so many equal parts."""
    return begin + (end - begin) * (np.arange(count) + 0.5) / count


def sampled(still: Values, region: Box, size: tuple[int, int]) -> tuple[Values, Values]:
    """Sums over the cells of the region (left, top, right, lower edge), and the share of each cell that lies within the still."""
    left, top, right, bottom = region
    rows, columns = _weights(top, bottom, size[1], len(still)), _weights(left, right, size[0], len(still))
    return rows @ still @ columns.T, rows.sum(axis=1)[:, None] * columns.sum(axis=1)[None]


def placed(sums: Values, inside: Values) -> Values:
    """Means of cells; nan where most of a cell lies outside."""
    return np.where(inside > 0.5, sums / np.maximum(inside, 0.5), np.nan)


def _weights(begin: float, end: float, count: int, pixels: int) -> Values:
    """(count, pixels): how much of each of so many equal parts of [begin, end] each pixel covers."""
    edges = np.linspace(begin, end, count + 1) * pixels
    low = np.arange(pixels, dtype=np.float64)
    covered = np.clip(np.minimum(edges[1:, None], low + 1) - np.maximum(edges[:-1, None], low), 0, None)
    weights: Values = covered / np.maximum(np.diff(edges)[:, None], 1e-9)
    return weights
