"""A picture in a grid of 16 x 16 cells: what is summed over the pixels of each, compiled.

Cells begin and end at whole pixels, and what is summed are whole numbers, as far as the picture is one: the sums are the same on every machine.

What belongs here: sums over pixels, cell by cell. What does not: what is made of them (`quality`, `edge_blur`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

GRID = 16
"""Cells along either side."""

Plane = NDArray[np.uint8]
Floats = NDArray[np.float32]


@compiled
def _edges_of(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and one past the last line of each cell; of fewer lines than cells, neighbours share them."""
    first, end = np.empty(GRID, np.int64), np.empty(GRID, np.int64)
    for k in range(GRID):
        first[k] = min(k * length // GRID, length - 1)
        end[k] = max((k + 1) * length // GRID, first[k] + 1)
    return first, end


@compiled
def luma_cells(luma: Plane, over: int, under: int) -> Floats:
    """Of each cell mean, standard deviation, root mean square of the Laplacian, and the shares of pixels from `over` on and up to `under`: float32 (5, GRID, GRID).

    Args:
        luma: uint8 (h, w), contiguous. The Laplacian is that of the four neighbours; beyond the edges lies the mirror image.
    """
    height, width = luma.shape
    result = np.empty((5, GRID, GRID), np.float32)
    rows, columns = _edges_of(height), _edges_of(width)
    total, square = np.empty(width, np.int32), np.empty(width, np.int32)
    bent, high, low = np.empty(width, np.int64), np.empty(width, np.int32), np.empty(width, np.int32)
    for i in range(GRID):
        total[:], square[:], bent[:], high[:], low[:] = 0, 0, 0, 0, 0
        for y in range(rows[0][i], rows[1][i]):
            line = luma[y]
            above = luma[y - 1 if y else min(1, height - 1)]
            below = luma[y + 1 if y + 1 < height else max(height - 2, 0)]
            for x in range(width):
                value = np.int32(line[x])
                total[x] += value
                square[x] += value * value
                high[x] += value >= over
                low[x] += value <= under
            for x in range(1, width - 1):
                curve = np.int32(line[x - 1]) + line[x + 1] + above[x] + below[x] - 4 * np.int32(line[x])
                bent[x] += curve * curve
            for x in (0, width - 1):
                left, right = (
                    line[x - 1 if x else min(1, width - 1)],
                    line[x + 1 if x + 1 < width else max(width - 2, 0)],
                )
                curve = np.int32(left) + right + above[x] + below[x] - 4 * np.int32(line[x])
                bent[x] += curve * curve
                if width == 1:
                    break
        for j in range(GRID):
            begin, end = columns[0][j], columns[1][j]
            count = (end - begin) * (rows[1][i] - rows[0][i])
            sums = np.zeros(5, np.int64)
            for x in range(begin, end):
                sums[0] += total[x]
                sums[1] += square[x]
                sums[2] += bent[x]
                sums[3] += high[x]
                sums[4] += low[x]
            mean = sums[0] / count
            result[0, i, j] = mean
            result[1, i, j] = np.sqrt(max(sums[1] / count - mean * mean, 0.0))
            result[2, i, j] = np.sqrt(sums[2] / count)
            result[3, i, j] = sums[3] / count
            result[4, i, j] = sums[4] / count
    return result


@compiled
def mixed_cells(u: Plane, v: Plane, mixes: NDArray[np.float64]) -> Floats:
    """Of each cell mean and standard deviation of mixtures of two planes less 128: float32 (2 k, GRID, GRID), mean and deviation in turn.

    Args:
        u, v: uint8 (h, w), contiguous, of one shape.
        mixes: (k, 2), the weights of `u` and `v` in each.
    """
    height, width = u.shape
    result = np.empty((2 * len(mixes), GRID, GRID), np.float32)
    rows, columns = _edges_of(height), _edges_of(width)
    sums = np.empty((5, width), np.int64)
    for i in range(GRID):
        sums[:] = 0
        for y in range(rows[0][i], rows[1][i]):
            for x in range(width):
                a, b = np.int32(u[y, x]) - 128, np.int32(v[y, x]) - 128
                sums[0, x] += a
                sums[1, x] += b
                sums[2, x] += a * a
                sums[3, x] += a * b
                sums[4, x] += b * b
        for j in range(GRID):
            begin, end = columns[0][j], columns[1][j]
            count = (end - begin) * (rows[1][i] - rows[0][i])
            mean_u, mean_v = sums[0, begin:end].sum() / count, sums[1, begin:end].sum() / count
            uu = sums[2, begin:end].sum() / count - mean_u * mean_u
            uv = sums[3, begin:end].sum() / count - mean_u * mean_v
            vv = sums[4, begin:end].sum() / count - mean_v * mean_v
            for k in range(len(mixes)):
                p, q = mixes[k, 0], mixes[k, 1]
                result[2 * k, i, j] = p * mean_u + q * mean_v
                result[2 * k + 1, i, j] = np.sqrt(max(p * p * uu + 2 * p * q * uv + q * q * vv, 0.0))
    return result


@compiled
def squared_gradient(plane: Floats) -> Floats:
    """Square of the gradient by Sobel's operators divided by 8, at each pixel of float32 (h, w); beyond the edges lies the mirror image."""
    height, width = plane.shape
    result = np.empty((height, width), np.float32)
    eighth = np.float32(0.125)
    two = np.float32(2)
    for y in range(height):
        line = plane[y]
        above = plane[y - 1 if y else min(1, height - 1)]
        below = plane[y + 1 if y + 1 < height else max(height - 2, 0)]
        for x in range(1, width - 1):
            across = (
                above[x + 1] - above[x - 1] + two * (line[x + 1] - line[x - 1]) + below[x + 1] - below[x - 1]
            ) * eighth
            down = (below[x - 1] - above[x - 1] + two * (below[x] - above[x]) + below[x + 1] - above[x + 1]) * eighth
            result[y, x] = across * across + down * down
        for x in (0, width - 1):  # where both neighbours are the same pixel
            beside = min(1, width - 1) if x == 0 else max(width - 2, 0)
            down = (two * (below[beside] - above[beside]) + two * (below[x] - above[x])) * eighth
            result[y, x] = down * down
    return result


@compiled
def edge_cells(fine: Floats, coarse: Floats, crest: Floats, least: float, share: float) -> Floats:
    """Of each cell the means of `fine` on edges, of `coarse` on edges, of edges, and of `fine`: float32 (4, GRID, GRID).

    Args:
        fine, coarse, crest: float32 (h, w). An edge is where `coarse` is above `least` and at least a `share` of `crest`.
    """
    height, width = fine.shape
    result = np.empty((4, GRID, GRID), np.float32)
    rows, columns = _edges_of(height), _edges_of(width)
    sums = np.empty((4, width), np.float32)
    above, of_crest, none, one = np.float32(least), np.float32(share), np.float32(0), np.float32(1)
    for i in range(GRID):
        sums[:] = 0
        for y in range(rows[0][i], rows[1][i]):
            for x in range(width):
                edge = one if coarse[y, x] > above and coarse[y, x] >= of_crest * crest[y, x] else none
                sums[0, x] += edge * fine[y, x]
                sums[1, x] += edge * coarse[y, x]
                sums[2, x] += edge
                sums[3, x] += fine[y, x]
        for j in range(GRID):
            begin, end = columns[0][j], columns[1][j]
            count = (end - begin) * (rows[1][i] - rows[0][i])
            for k in range(4):
                total = 0.0
                for x in range(begin, end):
                    total += sums[k, x]
                result[k, i, j] = total / count
    return result


@compiled
def side(luma: Plane, across: bool, last: bool, tolerance: int) -> tuple[int, Plane, Plane]:
    """The lines of one half of a picture, from its edge on: rows if `across`, else columns.

    Args:
        luma: uint8 (h, w), contiguous: the whole picture.
        last: whether the half is the lower or the right one.

    Returns:
        The median of the two outermost lines (of the outermost, if there is one); of each line 255 times the share of pixels at most `tolerance` from that, and the mean: uint8 (n,).
    """
    height, width = luma.shape
    lines, length = (max(1, height // 2), width) if across else (max(1, width // 2), height)
    top = height - lines if across and last else 0
    left = width - lines if not across and last else 0
    bottom, right = (top + lines, width) if across else (height, left + lines)
    counts = np.zeros(256, np.int64)
    outer = min(2, lines)
    for k in range(outer):
        if across:
            at = bottom - 1 - k if last else k
            for x in range(width):
                counts[luma[at, x]] += 1
        else:
            at = right - 1 - k if last else k
            for y in range(height):
                counts[luma[y, at]] += 1
    tone = _middle(counts, outer * length)
    low, reach = np.uint8(max(0, tone - tolerance)), np.uint8(min(255, tone + tolerance) - max(0, tone - tolerance))
    near, total = np.zeros(lines, np.int32), np.zeros(lines, np.int32)
    for y in range(top, bottom):
        line = luma[y, left:right]
        if across:
            inside, summed = np.int32(0), np.int32(0)
            for x in range(len(line)):
                inside += np.int32(np.uint8(line[x] - low) <= reach)
                summed += np.int32(line[x])
            near[y - top], total[y - top] = inside, summed
        else:
            for x in range(len(line)):
                near[x] += np.int32(np.uint8(line[x] - low) <= reach)
                total[x] += np.int32(line[x])
    shares, means = np.empty(lines, np.uint8), np.empty(lines, np.uint8)
    for k in range(lines):
        at = lines - 1 - k if last else k
        shares[k] = np.uint8(np.rint(255.0 * near[at] / length))
        means[k] = np.uint8(np.rint(total[at] / length))
    return tone, shares, means


@compiled
def _middle(counts: NDArray[np.int64], total: int) -> int:
    """The median of values that were counted, rounded down between two."""
    below = above = -1
    seen = 0
    for value in range(256):
        seen += counts[value]
        if below < 0 and seen > (total - 1) // 2:
            below = value
        if seen > total // 2:
            above = value
            break
    return (below + above) // 2
