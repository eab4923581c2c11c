"""imagededup's hashes of small pictures, made of pictures that are in memory.

What belongs here: hashes of 32x32 pictures. What does not: which pictures are hashed (`fingerprints`), and comparing hashes (`dedup`).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

Luma = NDArray[np.uint8]
Hashes = NDArray[np.uint64]

SIDE: Final = 32
"""Side of the stored pictures in pixels: imagededup's input size for phash."""


def _dct_basis() -> NDArray[np.float64]:
    """The first eight rows of the unnormalised DCT-II of length 32, shape (8, 32)."""
    k, n = np.arange(8)[:, None], np.arange(SIDE)[None, :]
    basis: NDArray[np.float64] = 2.0 * np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))
    return basis


_DCT: Final = _dct_basis()


def _pack(bits: NDArray[np.bool_]) -> Hashes:
    """Bits (n, 8, 8), row by row and the first one highest, as integers (n,): imagededup's hexadecimal order."""
    packed: Hashes = np.packbits(bits.reshape(len(bits), 64), axis=1).view(">u8").astype(np.uint64).reshape(-1)
    return packed


def block_means(pictures: Luma) -> NDArray[np.float64]:
    """Means of 4x4 blocks, (n, 32, 32) to (n, 8, 8)."""
    means: NDArray[np.float64] = _sums_of_blocks(np.ascontiguousarray(pictures.reshape(-1, SIDE, SIDE))) / 16
    return means


@compiled
def _sums_of_blocks(pictures: Luma) -> NDArray[np.int64]:
    sums = np.zeros((len(pictures), 8, 8), np.int64)
    for k in range(len(pictures)):
        for row in range(SIDE):
            for column in range(SIDE):
                sums[k, row // 4, column // 4] += pictures[k, row, column]
    return sums


def phash(pictures: Luma) -> Hashes:
    """imagededup's perceptual hash of 32x32 pictures (n, 32, 32): the 8x8 lowest DCT coefficients against their median.

    Coefficients are rounded to a thousandth (pictures have 256 levels), so that the zeros of symmetric pictures are zeros
    and not rounding noise.
    """
    hashes: Hashes = _phashes(np.ascontiguousarray(pictures), _DCT)
    return hashes


@compiled
def _phashes(pictures: Luma, basis: NDArray[np.float64]) -> Hashes:
    """`phash`, with the `basis` (8, 32) of the transform."""
    hashes = np.empty(len(pictures), np.uint64)
    across, coefficients, line = np.empty((8, SIDE)), np.empty(64), np.empty(SIDE)
    for k in range(len(pictures)):
        across[:] = 0
        for row in range(SIDE):
            for column in range(SIDE):
                line[column] = pictures[k, row, column]
            for i in range(8):
                for column in range(SIDE):
                    across[i, column] += basis[i, row] * line[column]
        for i in range(8):
            for j in range(8):
                total = 0.0
                for column in range(SIDE):
                    total += across[i, column] * basis[j, column]
                coefficients[8 * i + j] = np.rint(1000 * total) / 1000
        median = np.sort(coefficients[1:])[31]
        value = np.uint64(0)
        for i in range(64):
            value = (value << np.uint64(1)) | np.uint64(coefficients[i] >= median)
        hashes[k] = value
    return hashes


def dhash(pictures: Luma) -> Hashes:
    """imagededup's difference hash of the pictures (n, 32, 32) scaled to 9x8: whether each pixel is brighter than its left one."""
    small = np.array([cv2.resize(p, (9, 8), interpolation=cv2.INTER_AREA) for p in pictures]).reshape(-1, 8, 9)
    return _pack(small[:, :, 1:] > small[:, :, :-1])


def ahash(pictures: Luma) -> Hashes:
    """imagededup's average hash of the pictures (n, 32, 32) scaled to 8x8 by block means: each pixel against the mean."""
    small = np.round(block_means(pictures))
    return _pack(small >= small.mean(axis=(1, 2), keepdims=True))


def whash(pictures: Luma) -> Hashes:
    """imagededup's wavelet hash: the 8x8 Haar approximation, which is that of block means, against its median."""
    approximation = block_means(pictures)
    return _pack(approximation >= np.median(approximation, axis=(1, 2), keepdims=True))


METHODS: Final = {"phash": phash, "dhash": dhash, "ahash": ahash, "whash": whash}
