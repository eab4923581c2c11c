"""Compiled scaling of planes: what OpenCV gives, bit for bit, whatever the size and the padding."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curation_assets.decode.reading import small_views
from curation_assets.decode.reading.picture import _FIXED_TO_RGB, _TO_RGB, shrink
from curation_assets.decode.reading.small_views import Padded, Plane

SIZES = ((1920, 1080), (641, 359), (640, 360), (640, 272), (427, 240), (360, 640), (322, 181), (320, 180), (97, 55))


def padded(width: int, height: int, seed: int) -> Padded:
    """A plane of noise and even ground, with other samples beside and below it."""
    samples = np.random.default_rng(seed).integers(0, 256, (height + 3, width + 13), np.uint8)
    samples[: height // 3] = 255
    return Padded(samples, width, height)


def by_opencv(plane: Plane) -> Plane:
    large = cv2.resize(plane, (96, 54), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(large, (48, 27), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("hd", [False, True])
def test_the_tiny_picture_is_what_opencv_gives(size: tuple[int, int], hd: bool) -> None:
    width, height = size
    y, u, v = (padded(width, height, seed) for seed in range(3))
    at = small_views.grid(width, height)
    tiny = small_views.tiny_rgb(y.samples, at, u.samples, v.samples, at, _FIXED_TO_RGB[hd])
    planes = cv2.merge([by_opencv(p.shown) for p in (y, u, v)])
    assert np.array_equal(tiny, cv2.transform(planes, _TO_RGB[hd]))


@pytest.mark.parametrize("size", [*SIZES, (1, 9), (2, 2), (5, 1)])
@pytest.mark.parametrize("least", [(320, 180), (80, 45), (1, 1)])
def test_a_plane_is_halved_as_opencv_halves_it(size: tuple[int, int], least: tuple[int, int]) -> None:
    plane = padded(*size, 0)
    wanted = plane.shown
    while wanted.shape[1] >= 2 * least[0] and wanted.shape[0] >= 2 * least[1] and min(wanted.shape) > 1:
        rows, columns = wanted.shape[0] // 2, wanted.shape[1] // 2
        wanted = cv2.resize(wanted[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA)
    if wanted.shape != least[::-1]:
        wanted = cv2.resize(wanted, least, interpolation=cv2.INTER_LINEAR)
    made = shrink(plane, least)
    assert np.array_equal(made, wanted)
    assert not np.shares_memory(made, plane.samples)
