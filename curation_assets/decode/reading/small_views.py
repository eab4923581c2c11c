"""Pictures scaled down by compiled kernels: halved, and the picture of 48 x 27 that the shot detectors read.

They give what OpenCV's `resize` (areas of two by two, and bilinear with its weights of 11 bits) and `transform` (with 10 bits) give of 8-bit samples, bit for bit, in whole numbers. A
decoder fills the processor's caches with its own code and pictures from one frame to the next, so that ten small calls into a library cost three times what they do in a row; these are two.

What belongs here: scaling of planes. What does not: which views a frame has (`picture`).
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

Plane = NDArray[np.uint8]

WIDTH: Final = 48
HEIGHT: Final = 27
"""Of the picture that TransNetV2 reads."""


class Padded(NamedTuple):
    """A plane as a decoder lays it down.

    Attributes:
        samples: uint8 (h or more, w or more), contiguous.
        width, height: of what is shown of it.
    """

    samples: Plane
    width: int
    height: int

    @property
    def shown(self) -> Plane:
        """A view without the padding."""
        return self.samples[: self.height, : self.width]


@compiled
def halved(samples: Plane, width: int, height: int, least_width: int, least_height: int) -> Plane:
    """The plane of `Padded`, each pixel the mean of four, again and again while it is at least twice as wide and high as the least; once in any case."""
    width, height = width // 2, height // 2
    plane = _half(samples, width, height)
    while width >= 2 * least_width and height >= 2 * least_height and min(width, height) > 1:
        width, height = width // 2, height // 2
        plane = _half(plane, width, height)
    return plane


@compiled
def _half(samples: Plane, width: int, height: int) -> Plane:
    half = np.empty((height, width), np.uint8)
    for row in range(height):
        upper, lower, out = samples[2 * row], samples[2 * row + 1], half[row]
        for k in range(width):
            total = (
                np.int32(upper[2 * k])
                + np.int32(upper[2 * k + 1])
                + np.int32(lower[2 * k])
                + np.int32(lower[2 * k + 1])
            )
            out[k] = np.uint8((total + 2) >> 2)
    return half


def is_large(width: int, height: int) -> bool:
    """Whether a plane is sampled at twice the tiny picture's size; `tiny_rgb` is for such planes alone."""
    return width > 2 * WIDTH and height > 2 * HEIGHT


@cache
def grid(width: int, height: int) -> NDArray[np.int32]:
    """Where a plane of this size, which `is_large`, is sampled for a picture of 96 x 54.

    Returns:
        int32 (6, 96): the left one of the two columns, and the weights of both; the upper one of the two rows (54), and theirs.
    """
    table = np.zeros((6, 2 * WIDTH), np.int32)
    for first, length, count in ((0, width, 2 * WIDTH), (3, height, 2 * HEIGHT)):
        at = ((np.arange(count) + 0.5) * (length / count) - 0.5).astype(np.float32)
        before = np.floor(at)
        table[first, :count] = before
        table[first + 1, :count] = np.rint((np.float32(1) - (at - before)) * np.float32(2048))
        table[first + 2, :count] = np.rint((at - before) * np.float32(2048))
    return table


def fixed(matrix: NDArray[np.float32]) -> NDArray[np.int32]:
    """A colour matrix (3, 4), its last column a constant, in units of 1/1024, a half of the result's unit added for rounding."""
    offset = matrix[:, 3:] + np.float32(0.5)
    return np.rint(np.concatenate([matrix[:, :3], offset], axis=1) * np.float32(1024)).astype(np.int32)


@compiled
def tiny_rgb(
    y: Plane, y_grid: NDArray[np.int32], u: Plane, v: Plane, uv_grid: NDArray[np.int32], matrix: NDArray[np.int32]
) -> Plane:
    """The picture of 48 x 27 of three planes: uint8 (27, 48, 3), red, green, blue.

    Args:
        y, u, v: as `Padded.samples`.
        y_grid, uv_grid: `grid` of their sizes.
        matrix: `fixed`.
    """
    luma, blue, red = _tiny(y, y_grid), _tiny(u, uv_grid), _tiny(v, uv_grid)
    result = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    r0, r1, r2, r3 = matrix[0, 0], matrix[0, 1], matrix[0, 2], matrix[0, 3]
    g0, g1, g2, g3 = matrix[1, 0], matrix[1, 1], matrix[1, 2], matrix[1, 3]
    b0, b1, b2, b3 = matrix[2, 0], matrix[2, 1], matrix[2, 2], matrix[2, 3]
    none, most = np.int32(0), np.int32(255)
    for row in range(HEIGHT):
        for k in range(WIDTH):
            a, b, c = luma[row, k], blue[row, k], red[row, k]
            result[row, k, 0] = np.uint8(min(max((a * r0 + b * r1 + c * r2 + r3) >> 10, none), most))
            result[row, k, 1] = np.uint8(min(max((a * g0 + b * g1 + c * g2 + g3) >> 10, none), most))
            result[row, k, 2] = np.uint8(min(max((a * b0 + b * b1 + c * b2 + b3) >> 10, none), most))
    return result


@compiled
def _tiny(samples: Plane, grid: NDArray[np.int32]) -> NDArray[np.int32]:
    """One plane: int32 (27, 48)."""
    result, both = np.empty((HEIGHT, WIDTH), np.int32), np.empty((2, 2 * WIDTH), np.int32)
    p, q, r, s = (
        np.empty(2 * WIDTH, np.int32),
        np.empty(2 * WIDTH, np.int32),
        np.empty(2 * WIDTH, np.int32),
        np.empty(2 * WIDTH, np.int32),
    )
    columns = grid[0].astype(np.uint32)  # what is not below zero for certain is looked at before each use
    of_left, of_right, one = grid[1], grid[2], np.uint32(1)
    for row in range(HEIGHT):
        for half in range(2):
            at = 2 * row + half
            above, below, line = samples[grid[3, at]], samples[grid[3, at] + 1], both[half]
            for k in range(2 * WIDTH):
                left = columns[k]
                p[k], q[k], r[k], s[k] = above[left], above[left + one], below[left], below[left + one]
            of_above, of_below = grid[4, at], grid[5, at]
            for k in range(2 * WIDTH):
                upper, lower = (
                    (p[k] * of_left[k] + q[k] * of_right[k]) >> 4,
                    (r[k] * of_left[k] + s[k] * of_right[k]) >> 4,
                )
                line[k] = (((upper * of_above) >> 16) + ((lower * of_below) >> 16) + 2) >> 2
        for k in range(WIDTH):
            result[row, k] = (both[0, 2 * k] + both[0, 2 * k + 1] + both[1, 2 * k] + both[1, 2 * k + 1] + 2) >> 2
    return result
