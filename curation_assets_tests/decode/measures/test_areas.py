"""Means over areas against OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curation_assets.decode.measures.areas import squared


@pytest.mark.parametrize("side", [32, 96])
def test_pictures_of_any_size_come_out_as_opencv_has_them(side: int) -> None:
    rng = np.random.default_rng(side)
    sizes = [
        (180, 320),
        (136, 320),
        (side, 2 * side),
        (3 * side, 2 * side),
        (side + 1, side + 1),
        (side, 300),
        (7, 320),
    ]
    sizes += [(int(height), int(width)) for height, width in rng.integers(5, 330, (60, 2))]
    for height, width in sizes:
        whole = cv2.GaussianBlur(rng.integers(0, 256, (height, width + 9), dtype=np.uint8), (3, 3), 0)
        part = whole[:, 4 : 4 + width]
        wanted = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
        assert np.array_equal(squared(part, side), wanted), (height, width)
