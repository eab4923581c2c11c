"""A picture scaled down to a small square, each pixel the mean over its area: what OpenCV's `resize` with `INTER_AREA` gives of 8-bit samples, bit for bit, at a third of its cost.

OpenCV adds a row's samples one after the other, each to the pixel that it lies in; here each pixel adds up those that lie in it, in the same order and in the same 32 bits.

What belongs here: scaling. What does not: which part of which picture (`fingerprints`).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

Plane = NDArray[np.uint8]

SLIVER = 1e-3
"""Share of a sample below which OpenCV leaves it out."""


def squared(plane: Plane, side: int) -> Plane:
    """A picture, uint8 (h, w), at `side` x `side`."""
    height, width = plane.shape
    if min(height, width) <= side or (height % side == 0 and width % side == 0):  # where it goes other ways
        return np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    scaled: Plane = _scaled(plane, *_shares(width, side), *_shares(height, side))
    return scaled


@cache
def _shares(length: int, side: int) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Of each of `side` pixels the first of the samples that lie in it, (side,), and their weights, 0 behind the last one, (most of them, side)."""
    scale = length / side
    firsts, weights = [], []
    for pixel in range(side):
        begin = pixel * scale
        end, width = begin + scale, min(scale, length - begin)
        last = min(int(np.floor(end)), length - 1)
        whole = min(int(np.ceil(begin)), last)
        own = [1 / width] * (last - whole)
        if end - last > SLIVER:
            own.append(min(end - last, 1.0, width) / width)
        if whole - begin > SLIVER:
            own.insert(0, (whole - begin) / width)
            whole -= 1
        firsts.append(whole)
        weights.append(own)
    most = max(map(len, weights))
    # A pixel of fewer samples begins earlier where the picture would end.
    starts = [min(first, length - most) for first in firsts]
    rows = [
        [0.0] * (first - start) + own + [0.0] * (most - len(own) - first + start)
        for first, start, own in zip(firsts, starts, weights, strict=True)
    ]
    return np.array(starts, np.uint32), np.ascontiguousarray(np.array(rows, np.float32).T)


@compiled
def _scaled(
    plane: Plane,
    columns: NDArray[np.uint32],
    across: NDArray[np.float32],
    rows: NDArray[np.uint32],
    down: NDArray[np.float32],
) -> Plane:
    side = len(columns)
    result = np.empty((side, side), np.uint8)
    line, total = np.empty(side, np.float32), np.empty(side, np.float32)
    half_way = np.float32(
        12582912
    )  # 1.5 * 2 ** 23: added to a small number and taken away again, it leaves the nearest whole one
    samples = np.empty(plane.shape[1], np.float32)
    held = -1
    for pixel in range(side):
        for k in range(side):
            total[k] = 0
        for tap in range(len(down)):
            weight = down[tap, pixel]
            if weight == 0:
                continue
            at = rows[pixel] + np.uint32(tap)
            if at != held:  # the last row of a pixel is often the first of the next
                held, own = at, plane[at]
                for k in range(len(samples)):
                    samples[k] = own[k]
                for k in range(side):
                    line[k] = 0
                for shift in range(len(across)):
                    part, of_each = samples[shift:], across[shift]
                    for k in range(side):
                        line[k] += part[columns[k]] * of_each[k]
            for k in range(side):
                total[k] += weight * line[k]
        out = result[pixel]
        for k in range(side):
            out[k] = np.uint8(np.int32(total[k] + half_way - half_way))
    return result
