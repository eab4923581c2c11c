"""What speaks for a boundary at each frame, measured on the 48x27 pictures inside the part of the frame that shows something.

Pictures are compared after their mean is taken away and in relation to their own variance, so that dark, hazy and grey footage is judged as any other. All
sums are of whole numbers, exact in float64 in whatever order they are added: the same pictures give the same evidence on every machine.

Lags are in frames of the thinned sequence (`thinning`), at most about 30 a second.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.shots.history import Tiny
from curation_resources.compiled import compiled

REACH = 36
"""Frames on either side that the evidence of a frame looks at, at most."""
LAGS = (1, 2, 3, 4, 5, 8, 12, 16, 24, 32)
"""Distances in time at which pictures are compared."""
FLOOR = 1.5
"""Variance, levels squared, that is added to each picture's: what coding and noise leave of a plain ground."""
HALVES = (4, 8, 16)
"""Half lengths of the gradual transitions that are looked for."""

Floats = NDArray[np.float64]


Cells = NDArray[np.uint16]
"""uint16 (n, 13, 24, 3): sums of red, green and blue over squares of two by two pixels; the last row of 27 is left out."""


@dataclass(frozen=True)
class Box:
    """The part of the tiny picture that shows something, in cells: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int


WHOLE = Box(0, 13, 0, 24)
LEAST_RANGE, RANGE_SHARE = 3 * 4, 0.12
"""A cell is active if its sum ranges over more than so much (three levels), and over more than this share of what the busiest do."""
LEAST_ACTIVE = 0.12
"""Share of a row or column that is active within a box."""
LEAST_BOX, LEAST_SIDE = 0.06, 3
"""Share of the picture, and cells of a side, below which nothing but a detail is active."""


def cells_of(frames: Tiny) -> Cells:
    """The cells of pictures (n, 27, 48, 3)."""
    stacked = (frames[:, :26].astype(np.uint16) << 2).reshape(-1, 48, 3)
    return cv2.resize(stacked, (24, len(frames) * 13), interpolation=cv2.INTER_AREA).reshape(-1, 13, 24, 3)


def active_box(lowest: Cells, highest: Cells) -> Box:
    """The box outside of which nothing happens, from each cell's least and greatest sums over some seconds, both (13, 24, 3)."""
    spread = (highest - lowest).max(axis=2)
    rank = int(0.95 * spread.size)
    active = spread > max(LEAST_RANGE, RANGE_SHARE * int(np.partition(spread.ravel(), rank)[rank]))
    rows = np.flatnonzero(active.mean(axis=1) > LEAST_ACTIVE)
    columns = np.flatnonzero(active.mean(axis=0) > LEAST_ACTIVE)
    if not len(rows) or not len(columns):
        return WHOLE
    box = Box(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    height, width = box.bottom - box.top, box.right - box.left
    if min(height, width) < LEAST_SIDE or height * width < LEAST_BOX * spread.size:
        return WHOLE
    return box


class Pictures:
    """Consecutive pictures prepared for comparisons.

    Args:
        cells: of the pictures.
        box: the part to compare.
    """

    def __init__(self, cells: Cells, box: Box) -> None:
        part = cells[:, box.top : box.bottom, box.left : box.right]
        self.luma = part[..., 0].astype(np.int32) + part[..., 1] + part[..., 2]
        self.count = self.luma[0].size
        self._values = part.astype(np.int16).reshape(len(cells), -1)
        self.sums, detail = _sums(self.luma, part)
        self.energy = _products(self._values, 0)
        self.variance = (self.energy - (self.sums**2).sum(axis=1) / self.count) / (48 * self.count)
        self.detail = detail / (12.0 * self.count)

    def lagged(self, lag: int) -> tuple[Floats, Floats]:
        """Of each picture j and j + lag: mean square difference with the means taken away, and of the means; levels squared, (n - lag,)."""
        product = _products(self._values, lag)
        square = (self.energy[:-lag] + self.energy[lag:] - 2 * product) / (48 * self.count)
        means = ((self.sums[lag:] - self.sums[:-lag]) ** 2).sum(axis=1) / (48.0 * self.count**2)
        return square - means, means


@compiled
def _sums(luma: NDArray[np.int32], part: Cells) -> tuple[Floats, NDArray[np.int64]]:
    """Of each picture those of its colours, (n, 3), and of all steps between cells side by side or one above the other, (n,)."""
    count, rows, columns = luma.shape
    sums, detail = np.zeros((count, 3)), np.zeros(count, np.int64)
    for k in range(count):
        red = green = blue = 0
        for row in range(rows):
            for column in range(columns):
                red += part[k, row, column, 0]
                green += part[k, row, column, 1]
                blue += part[k, row, column, 2]
        sums[k, 0], sums[k, 1], sums[k, 2] = red, green, blue
        steps = 0
        for row in range(rows):
            for column in range(1, columns):
                steps += abs(luma[k, row, column] - luma[k, row, column - 1])
        for row in range(1, rows):
            for column in range(columns):
                steps += abs(luma[k, row, column] - luma[k, row - 1, column])
        detail[k] = steps
    return sums, detail


@compiled
def _products(values: NDArray[np.int16], lag: int) -> Floats:
    """Of each row and the one `lag` later the sum of products: (n - lag,). A sum of the largest possible, 936 of 1020 squared, is an int32, too."""
    products = np.empty(len(values) - lag)
    for row in range(len(products)):
        product = np.int32(0)
        for k in range(values.shape[1]):
            product += np.int32(values[row, k]) * np.int32(values[row + lag, k])
        products[row] = product
    return products


def evidence(cells: Cells, box: Box) -> NDArray[np.float32]:
    """What speaks for a boundary before each picture but the first and last `REACH`: (n - 2 * REACH, features).

    Args:
        cells: of pictures that are consecutive in the thinned sequence.
        box: the part of the pictures that shows something.
    """
    pictures = Pictures(cells, box)
    count = len(cells) - 2 * REACH
    spread = pictures.variance + FLOOR
    apart: dict[int, Floats] = {}
    lighter: dict[int, Floats] = {}
    raw: dict[int, Floats] = {}
    for lag in LAGS:
        shape, means = pictures.lagged(lag)
        scale = spread[:-lag] + spread[lag:]
        apart[lag], lighter[lag], raw[lag] = shape / scale, means / scale, shape + means

    def at(values: Floats, offset: int) -> Floats:
        part: Floats = values[REACH + offset : REACH + offset + count]
        return part

    def between(values: dict[int, Floats], first: int, last: int) -> Floats:
        """Of the pictures at two offsets from each frame."""
        return at(values[last - first], first)

    columns: list[Floats] = []
    step = between(apart, -1, 0)
    columns += [step, between(apart, -2, 1), between(apart, -3, 2)]
    columns += [between(lighter, -1, 0), between(lighter, -2, 1)]
    columns += [between(apart, -h, h) for h in (4, 8, 16)]
    columns += [between(lighter, -h, h) for h in (4, 16)]
    # Within either side of the moment, at the same lags.
    for lag in (1, 3, 8, 16):
        before, after = between(apart, -1 - lag, -1), between(apart, 0, lag)
        columns += [np.minimum(before, after), np.maximum(before, after)]
    around = [between(apart, k - 1, k) for k in range(-16, 17)]
    left, right = np.stack(around[8:16]), np.stack(around[17:25])
    columns += [left.max(axis=0), right.max(axis=0), left[-1], right[0], left[-2], right[1]]
    nearest = np.maximum(left[4:].max(axis=0), right[:4].max(axis=0))
    usual = np.median(np.stack(around), axis=0)
    columns += [nearest, usual, step / (nearest + 0.02), step / (usual + 0.02)]
    second = np.sort(np.stack(around), axis=0)
    columns += [second[-2], second[-4]]
    # Flashes: the picture returns to what it was.
    columns += [
        np.minimum(between(apart, -2, 0), between(apart, -1, 1)),
        np.minimum(between(apart, -1, 2), between(apart, -2, 1)),
    ]
    lightest = np.stack([between(lighter, k - 1, k) for k in range(-4, 5)])
    columns += [lightest.max(axis=0)]
    for h in HALVES:
        change = between(raw, -h, h)
        inward, outward = between(raw, -h, 0), between(raw, 0, h)
        along = 0.5 * (inward + change - outward) / (change + FLOOR)
        columns += [along, np.maximum(inward - along * along * (change + FLOOR), 0) / (change + FLOOR)]
        dip = 2 * at(spread, 0) / (at(spread, -h) + at(spread, h))
        columns += [dip, 2 * at(pictures.detail, 0) / (at(pictures.detail, -h) + at(pictures.detail, h) + 0.25)]
        columns += list(_patchwork(pictures.luma, h, count))
    columns += [at(spread, 0), np.minimum(at(spread, -4), at(spread, 4)), np.full(count, pictures.count / 312.0)]
    return np.stack(columns, axis=1).astype(np.float32)


@compiled
def _patchwork(luma: NDArray[np.int32], half: int, count: int) -> tuple[Floats, Floats]:
    """How well each picture is pieced together of the ones `half` before and after, cell by cell, and the share of the later one.

    A wipe is; of a dissolve or a pan each cell is unlike both.
    """
    pieced, later = np.empty(count), np.empty(count)
    for k in range(count):
        middle, before, after = luma[REACH + k], luma[REACH + k - half], luma[REACH + k + half]
        change = least = turned = 0
        for row in range(luma.shape[1]):
            for column in range(luma.shape[2]):
                to_before = abs(middle[row, column] - before[row, column])
                to_after = abs(middle[row, column] - after[row, column])
                apart = abs(after[row, column] - before[row, column])
                change += apart
                least += min(to_before, to_after)
                turned += apart if to_after < to_before else 0
        total = change + 12.0 * middle.size
        pieced[k], later[k] = least / total, turned / total
    return pieced, later
