"""How far the blocks of a picture move to the next one: dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; in OpenCV), averaged over
blocks where something has moved.

What belongs here: displacements between two pictures. What does not: which pictures, and what their displacements say of a clip (`motion`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

BLOCK = 6
"""Side of a block, pixels."""
STRIDE, ITERATIONS = 8, 16
"""Distance of the patches that are matched, which are 8 pixels wide, and steps of the search of each. With patches that overlap (6 pixels, 12 steps) pans of known speed come out no
nearer, at 1.3 times the cost; of 23 real videos the motion is 3 % apart in the median."""
SLOW = 0.4
"""Displacement of every block, pixels, below which little has changed."""
TEXTURE = 1.5
"""Mean absolute gradient, levels per pixel, from which a block's displacement can be seen."""
NOISE_FACTOR, NOISE_FLOOR = 1.5, 0.3
"""A pixel has changed if the difference around it exceeds so many times what compensation leaves at the quietest fifth, plus so many levels."""
MATCHED = 0.85
"""Textured surroundings have moved if compensation leaves less than this share of its difference; interpolating noise alone leaves about 0.9."""
SAMPLED = 4
"""The noise is read off every so many pixels in either direction."""

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]
Field = NDArray[np.complexfloating]
"""Vectors x + iy, one per block."""


@dataclass(frozen=True)
class Pair:
    """Two pictures, uint8 (h, w), and what can be said of them without matching; float32 (h, w), means around each pixel.

    Attributes:
        texture: absolute gradient of the first.
        changed: absolute difference.
    """

    before: Picture
    after: Picture
    texture: Floats
    changed: Floats

    @staticmethod
    def of(before: Picture, after: Picture) -> Pair:
        return Pair(before, after, _around(_gradient(before)), _around(cv2.absdiff(before, after)))

    @property
    def slow(self) -> bool:
        """Whether nothing has moved far: by first order, the frame difference is gradient times displacement."""
        return bool(_is_slow(self.texture, self.changed))


class BlockFlow:
    """Displacements between pictures of one size, with the buffers that can be kept.

    Attributes:
        positions: centre of each block, complex (n,), pixels.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        h, w = shape
        self.shape = shape
        self._rows, self._columns = _edges(h), _edges(w)
        ys, xs = ((edges[1:] + edges[:-1]) / 2 for edges in (self._rows, self._columns))
        self.positions: Field = (xs + 1j * ys[:, None]).ravel()
        ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
        self._identity = np.dstack([xs, ys])
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(0)
        self._dis.setPatchStride(STRIDE)
        self._dis.setGradientDescentIterations(ITERATIONS)

    def __call__(self, pair: Pair) -> tuple[Field, NDArray[np.bool_]]:
        """Displacement of each block, complex (n,), pixels, and whether it can be seen, bool (n,)."""
        if float(pair.changed.max()) < NOISE_FLOOR:
            return np.zeros_like(self.positions), _textured(pair.texture, self._rows, self._columns)
        flow = self._dis.calc(pair.before, pair.after, None)
        target = cv2.add(self._identity, flow)
        met = cv2.remap(pair.after, target, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        left = _around(cv2.absdiff(pair.before, met))
        vectors, textured = _displacements(target, pair.texture, pair.changed, left, self._rows, self._columns)
        return vectors, textured


def _edges(length: int) -> NDArray[np.int64]:
    """Where the blocks along a side begin, and where the last one ends, pixels."""
    count = max(1, round(length / BLOCK))
    return np.arange(count + 1) * length // count


def _around(picture: Picture) -> Floats:
    """Mean over the 5 x 5 pixels around each pixel, float32."""
    return cv2.boxFilter(picture, cv2.CV_32F, (5, 5))


def _gradient(picture: Picture) -> Picture:
    """Mean of the absolute horizontal and vertical differences to the next pixel, uint8 of the same shape."""
    right, below = np.zeros_like(picture), np.zeros_like(picture)
    cv2.absdiff(picture[:, 1:], picture[:, :-1], right[:, 1:])
    cv2.absdiff(picture[1:], picture[:-1], below[1:])
    return cv2.addWeighted(right, 0.5, below, 0.5, 0)


@compiled
def _is_slow(texture: Floats, changed: Floats) -> bool:
    slow, least = np.float32(SLOW), np.float32(TEXTURE)
    for y in range(texture.shape[0]):
        for x in range(texture.shape[1]):
            if changed[y, x] >= slow * max(texture[y, x], least):
                return False
    return True


@compiled
def _textured(texture: Floats, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the mean of each block reaches `TEXTURE`: (n,)."""
    result = np.empty((len(rows) - 1) * (len(columns) - 1), np.bool_)
    for i in range(len(rows) - 1):
        for j in range(len(columns) - 1):
            part = texture[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            result[i * (len(columns) - 1) + j] = part.mean() >= TEXTURE
    return result


@compiled
def _displacements(
    target: Floats,
    texture: Floats,
    changed: Floats,
    left: Floats,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
    """Mean displacement of the pixels of each block, those that have not moved counted as zero, and whether there is texture enough in it to see that.

    Args:
        target: float32 (h, w, 2): where each pixel goes. What leaves the frame cannot be matched; it is treated like a part without texture.
        left: mean around each pixel of the difference that compensation leaves.
    """
    height, width = texture.shape
    sample = np.ascontiguousarray(left[::SAMPLED, ::SAMPLED]).ravel()
    noise = np.partition(sample, sample.size // 5)[sample.size // 5]
    least = np.float32(NOISE_FACTOR * noise + NOISE_FLOOR)
    seen, matched = np.float32(TEXTURE), np.float32(MATCHED)
    last_x, last_y = np.float32(width - 1), np.float32(height - 1)
    count = len(columns) - 1
    vectors = np.empty((len(rows) - 1) * count, np.complex128)
    textured = np.empty(len(vectors), np.bool_)
    across, down, texts = np.empty(width), np.empty(width), np.empty(width)
    for i in range(len(rows) - 1):
        across[:], down[:], texts[:] = 0, 0, 0
        for y in range(rows[i], rows[i + 1]):
            for x in range(width):
                to_x, to_y = target[y, x, 0], target[y, x, 1]
                inside = (to_x >= 0) & (to_x <= last_x) & (to_y >= 0) & (to_y <= last_y)
                change, rest, text = changed[y, x], left[y, x], texture[y, x]
                moved = ((change > least) & ((rest < change) | (not inside))) | (
                    (text >= seen) & (rest < matched * change)
                )
                if moved:
                    across[x] += to_x - np.float32(x)
                    down[x] += to_y - np.float32(y)
                if inside:
                    texts[x] += text
        for j in range(count):
            begin, end = columns[j], columns[j + 1]
            pixels = (end - begin) * (rows[i + 1] - rows[i])
            vectors[i * count + j] = complex(across[begin:end].sum() / pixels, down[begin:end].sum() / pixels)
            textured[i * count + j] = texts[begin:end].sum() / pixels >= TEXTURE
    return vectors, textured
