"""What a shift or a stretch of one picture by a part of a cell explains of how two pictures differ.

Where a percent of a copy's picture is cut away, or of its border is left, a horizon lies a part of a cell elsewhere, and the cells along it differ by ten levels and more. But
then all edges of the picture differ by what one and the same shift makes of them, and letters do not.

What belongs here: taking that out of a difference of cells. What does not: what the rest says (`titles`), laying pictures by more (`evidence`).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from curation_assets.dedup.courses import Values

PART_OF_CELL: Final = 0.35
"""Copies may lie on each other otherwise by so much of a cell, or be stretched by so much in all: 2 percent of the picture. What is cut away of a copy, or of its border, moves a
horizon by less than that and changes the cells along it by ten levels and more."""

FITTINGS: Final = 8
LEAST_LEFT: Final = 0.3
RIDGE: Final = 1e-3


def slopes(picture: Values, shape: tuple[int, int]) -> Values:
    """Levels by which so many rows and columns of cells change where a finer picture is moved up or left by a cell, or stretched about its middle that way, (4, rows, columns)."""
    rows, columns = shape
    down, across = (
        cv2.resize(slope * side / cells, (columns, rows), interpolation=cv2.INTER_AREA)
        for slope, side, cells in zip(np.gradient(picture), picture.shape, shape, strict=True)
    )
    at_row, at_column = (np.linspace(-0.5, 0.5, count) for count in shape)
    return np.array([down, across, down * at_row[:, None], across * at_column])


def unexplained(differs: Values, slopes: Values) -> Values:
    """What is left of a difference of cells if one picture is moved and stretched by a part of a cell so that as little as can be is left.

    Args:
        differs: levels (rows, columns).
        slopes: by what they change, as `slopes` gives it.

    Returns:
        No more than there was: where a shift explains more than that, it is not known how the edge there lies in its cells.

    Least sums of absolute values, by weighted least squares, so that letters do not draw the picture to themselves.
    """
    changes = np.stack([*slopes, np.ones_like(differs)], axis=-1).reshape(differs.size, -1)
    target, by = differs.reshape(-1), np.zeros(changes.shape[1])
    for _ in range(FITTINGS):
        left = np.abs(target - changes @ by)
        weighed = changes / np.maximum(left, max(LEAST_LEFT, np.median(left)))[:, None]
        by = np.linalg.solve(weighed.T @ changes + RIDGE * len(target) * np.eye(len(by)), weighed.T @ target)
        by[:-1] = np.clip(by[:-1], -PART_OF_CELL, PART_OF_CELL)
    left = (target - changes @ by).reshape(differs.shape)
    return np.clip(left, np.minimum(differs, 0), np.maximum(differs, 0))
