"""Sums over cells against the same in numpy, for pictures of all shapes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.decode.measures.cells import (
    GRID,
    edge_cells,
    luma_cells,
    mixed_cells,
    side,
    squared_gradient,
)

SHAPES = [(180, 320), (320, 180), (136, 320), (37, 53), (16, 16), (5, 320), (320, 2), (1, 7), (1, 1)]


def lines(length: int) -> list[slice]:
    """Of each cell along a side."""
    first = [min(k * length // GRID, length - 1) for k in range(GRID)]
    return [slice(a, max((k + 1) * length // GRID, a + 1)) for k, a in enumerate(first)]


def means(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    h, w = plane.shape
    return np.array([[plane[rows, columns].mean() for columns in lines(w)] for rows in lines(h)])


def noise(shape: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
def test_luma(shape: tuple[int, int]) -> None:
    luma = noise(shape)
    plane = luma.astype(np.float64)
    bent = cv2.Laplacian(luma, cv2.CV_64F, borderType=cv2.BORDER_REFLECT_101)
    deviation = np.sqrt(np.maximum(means(plane**2) - means(plane) ** 2, 0))
    expected = [means(plane), deviation, np.sqrt(means(bent**2)), means(plane >= 230), means(plane <= 20)]
    np.testing.assert_allclose(luma_cells(luma, 230, 20), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_mixtures_of_chroma(shape: tuple[int, int]) -> None:
    u, v = noise(shape), noise(shape, 1)
    mixes = np.array([[0.213, 2.326], [-2.218, 0.630]])
    expected = []
    for p, q in mixes:
        plane = p * (u.astype(np.float64) - 128) + q * (v.astype(np.float64) - 128)
        expected += [means(plane), np.sqrt(np.maximum(means(plane**2) - means(plane) ** 2, 0))]
    np.testing.assert_allclose(mixed_cells(u, v, mixes), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_and_edges(shape: tuple[int, int]) -> None:
    plane = noise(shape).astype(np.float32)
    x, y = (cv2.Sobel(plane, cv2.CV_32F, dx, 1 - dx, ksize=3, scale=1 / 8) for dx in (1, 0))
    squared = squared_gradient(plane)
    np.testing.assert_allclose(squared, x * x + y * y, rtol=1e-4, atol=1e-3)
    crest = cv2.dilate(squared, np.ones((9, 9), np.uint8))
    edges = (squared > 9) & (squared >= np.float32(0.7) * crest)
    expected = [means(plane * edges), means(squared * edges), means(edges), means(plane)]
    np.testing.assert_allclose(edge_cells(plane, squared, crest, 9.0, 0.7), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("across", [False, True])
def test_sides(shape: tuple[int, int], across: bool, last: bool) -> None:
    luma = noise(shape)
    turned = luma if across else luma.T
    turned = turned[::-1] if last else turned
    half = turned[: max(1, len(turned) // 2)]
    tone, shares, mean = side(luma, across, last, 6)
    assert tone == int(np.median(half[:2]))
    np.testing.assert_array_equal(shares, np.rint(255 * (np.abs(half.astype(int) - tone) <= 6).mean(axis=1)))
    np.testing.assert_array_equal(mean, np.rint(half.mean(axis=1)))
