"""A part of a resized picture, computed for that part alone: bit for bit what Pillow makes of the whole and then cuts out.

What belongs here: Pillow's arithmetic. What does not: which part a model takes (`model_input.py`).

Pillow weighs the pixels under a filter in fixed point, those of a row and those of a column one after the other, and rounds to 8 bits after each
(`src/libImaging/Resample.c`). Here whole rows are weighed at once, and the picture is turned in between: a tenth of Pillow's time for the whole picture. Which of
both comes first makes other pixels, and differs between sizes and between versions of Pillow, so it is asked of the one that is installed, once for each size.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

Pixels = NDArray[np.uint8]
BITS = 22
"""Of a weight behind the point: Pillow leaves 8 of 32 to the pixel and 2 to what filters overshoot."""
SUPPORT = {2: 1.0, 3: 2.0}
"""Pillow's numbers of filters (bilinear, bicubic) -> pixels to each side that they look at, of the coarser grid."""
SHARPNESS = -0.5
"""The parameter of the bicubic filter."""
ASKED_OF = 512
"""Sizes of which it is remembered which pass comes first."""
NOISES = 8
"""Pictures of noise at most that are looked at to tell: of results of a few pixels both ways may make the same."""


def resized_part(
    pixels: Pixels, resized: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], resample: int
) -> Pixels:
    """`picture.resize(resized, resample)` of an RGB picture, of which a part is cut out.

    Args:
        pixels: uint8 [height, width, 3].
        resized: width and height that the whole would get.
        corner: left and top of the part in there.
        size: its height and width; it must lie inside.
        resample: Pillow's number of the filter, 2 (bilinear) or 3 (bicubic).
    """
    first = _first_pass((pixels.shape[1], pixels.shape[0]), resized, resample)
    if first is None:
        return _by_pillow(pixels, resized, corner, size, resample)
    return _resized_part(pixels, resized, corner, size, resample, first == "rows")


@lru_cache(maxsize=ASKED_OF)
def _first_pass(length: tuple[int, int], resized: tuple[int, int], resample: int) -> str | None:
    """Whether the installed Pillow weighs `rows` or `columns` first, as it shows of noise of that width and height; None if it does neither as is done here."""
    possible = ["rows", "columns"]
    for seed in range(NOISES):
        noise = np.random.default_rng(seed).integers(0, 256, (length[1], length[0], 3), dtype=np.uint8)
        whole = (noise, resized, (0, 0), resized[::-1], resample)
        expected = _by_pillow(*whole)
        possible = [name for name in possible if np.array_equal(_resized_part(*whole, name == "rows"), expected)]
        if len(possible) < 2:
            break
    return possible[0] if possible else None


def _by_pillow(
    pixels: Pixels, resized: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], resample: int
) -> Pixels:
    from PIL import Image

    (left, top), (height, width) = corner, size
    whole = Image.fromarray(pixels).resize(resized, Image.Resampling(resample))
    return np.array(whole.crop((left, top, left + width, top + height)))


def _resized_part(
    pixels: Pixels,
    resized: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    resample: int,
    rows_first: bool,
) -> Pixels:
    import cv2

    (height, width), (high, wide) = size, pixels.shape[:2]
    across = _weights(wide, resized[0], corner[0], width, resample)
    down = _weights(high, resized[1], corner[1], height, resample)
    (top, bottom), (left, right) = _span(*down), _span(*across)
    part = np.ascontiguousarray(pixels[top:bottom, left:right])
    if not rows_first:
        part = _weighed(part, down[0] - top, down[1])
    part = _weighed(np.asarray(cv2.transpose(part), np.uint8), across[0] - left, across[1])
    part = np.asarray(cv2.transpose(part), np.uint8)
    return _weighed(part, down[0] - top, down[1]) if rows_first else part


def _span(first: NDArray[np.int64], weights: NDArray[np.int32]) -> tuple[int, int]:
    """The pixels that are looked at."""
    ends = [
        int(f) + (int(used[-1]) if len(used := np.flatnonzero(w)) else 0) for f, w in zip(first, weights, strict=True)
    ]
    return int(first.min()), max(ends) + 1


def _weighed(pixels: Pixels, first: NDArray[np.int64], weights: NDArray[np.int32]) -> Pixels:
    """Rows that are weighed sums of rows: uint8 [n, length, 3] -> [len(first), length, 3]."""
    out = np.empty((len(first), *pixels.shape[1:]), np.uint8)
    _weigh(pixels.reshape(len(pixels), -1), first, weights, out.reshape(len(out), -1))
    return out


@compiled
def _weigh(rows: Pixels, first: NDArray[np.int64], weights: NDArray[np.int32], out: Pixels) -> None:
    sums = np.empty(rows.shape[1], np.int32)
    for n in range(out.shape[0]):
        sums[:] = np.int32(1 << (BITS - 1))
        for k in range(weights.shape[1]):
            weight = weights[n, k]
            if weight != 0:
                row = rows[first[n] + k]
                for x in range(row.shape[0]):
                    sums[x] += np.int32(row[x]) * weight
        for x in range(sums.shape[0]):
            out[n, x] = min(max(sums[x] >> BITS, 0), 255)


@lru_cache(maxsize=2 * ASKED_OF)
def _weights(
    length: int, resized: int, begin: int, count: int, resample: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Of `count` pixels from `begin` on of a side of `resized` pixels made of `length`: the first pixel that each looks at, and the weights from there on."""
    scale = length / resized
    stretch = max(scale, 1.0)
    support = SUPPORT[resample] * stretch
    first = np.zeros(count, np.int64)
    weights = np.zeros((count, 2 * math.ceil(support) + 1), np.int32)
    for n in range(count):
        centre = (begin + n + 0.5) * scale
        left, right = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), length)
        shares = [_filter((x - centre + 0.5) * (1.0 / stretch), resample) for x in range(left, right)]
        whole = 0.0
        for share in shares:
            whole += share
        first[n] = left
        for k, share in enumerate(shares):
            fixed = share / whole * (1 << BITS)
            weights[n, k] = int(fixed + (0.5 if fixed >= 0 else -0.5))
    return first, weights


def _filter(distance: float, resample: int) -> float:
    """What a pixel at a distance counts."""
    x, a = abs(distance), SHARPNESS
    if resample == 2:
        return max(1.0 - x, 0.0)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0
