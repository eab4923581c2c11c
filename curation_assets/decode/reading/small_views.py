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

NONE, TWO, FOUR, TEN, SIXTEEN, MOST = (np.int32(value) for value in (0, 2, 4, 10, 16, 255))
BYTE, TWO_BYTES, THREE_BYTES, LOWEST = (np.uint32(value) for value in (8, 16, 24, 255))
"""Numbers of 32 bits: with one of 64, everything that is made of them has 64, and a processor works on half as many at a time."""


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
    colours = np.empty((3, WIDTH), np.int32)
    for row in range(HEIGHT):
        for colour in range(3):
            of_luma, of_blue, of_red = matrix[colour, 0], matrix[colour, 1], matrix[colour, 2]
            constant, line = matrix[colour, 3], colours[colour]
            for k in range(WIDTH):
                total = np.int32(luma[row, k] * of_luma) + np.int32(blue[row, k] * of_blue)
                line[k] = min(max(np.int32(total + np.int32(red[row, k] * of_red) + constant) >> TEN, NONE), MOST)
        for k in range(WIDTH):
            result[row, k, 0], result[row, k, 1], result[row, k, 2] = colours[0, k], colours[1, k], colours[2, k]
    return result


@compiled
def _tiny(samples: Plane, grid: NDArray[np.int32]) -> NDArray[np.int32]:
    """One plane: int32 (27, 48)."""
    result, both = np.empty((HEIGHT, WIDTH), np.int32), np.empty((2, 2 * WIDTH), np.int32)
    columns = grid[0].astype(np.uint32)  # what is not below zero for certain is looked at before each use
    reach = columns[-1] + 1
    four, fetched = np.empty(reach, np.uint32), np.empty(2 * WIDTH, np.uint32)
    of_left, of_right = grid[1], grid[2]
    for row in range(HEIGHT):
        for half in range(2):
            at = 2 * row + half
            above, below, line = samples[grid[3, at]], samples[grid[3, at] + 1], both[half]
            for k in range(reach):  # the four samples of a place in one number: one is fetched faster than four
                upper = np.uint32(above[k]) | np.uint32(np.uint32(above[k + 1]) << BYTE)
                lower = np.uint32(below[k]) | np.uint32(np.uint32(below[k + 1]) << BYTE)
                four[k] = np.uint32(upper | np.uint32(lower << TWO_BYTES))
            for k in range(2 * WIDTH):
                fetched[k] = four[columns[k]]
            of_above, of_below = grid[4, at], grid[5, at]
            for k in range(2 * WIDTH):
                value = fetched[k]
                p, q = np.int32(value & LOWEST), np.int32((value >> BYTE) & LOWEST)
                r, s = np.int32((value >> TWO_BYTES) & LOWEST), np.int32(value >> THREE_BYTES)
                over = np.int32(np.int32(p * of_left[k]) + np.int32(q * of_right[k])) >> FOUR
                under = np.int32(np.int32(r * of_left[k]) + np.int32(s * of_right[k])) >> FOUR
                total = np.int32(np.int32(over * of_above) >> SIXTEEN) + np.int32(np.int32(under * of_below) >> SIXTEEN)
                line[k] = np.int32(total + TWO) >> TWO
        for k in range(WIDTH):
            total = np.int32(both[0, 2 * k] + both[0, 2 * k + 1] + both[1, 2 * k] + both[1, 2 * k + 1])
            result[row, k] = np.int32(total + TWO) >> TWO
    return result
