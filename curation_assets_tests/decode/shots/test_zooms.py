"""What a camera that zooms changes is no boundary; a jump to a closer view, and a new shot within a zoom, are."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest

from curation_assets.decode.shots.cascade import CascadeDetector
from curation_assets.decode.shots.evidence import WHOLE, Box
from curation_assets.decode.shots.zooms import zoomed
from curation_assets_tests.decode.shots.videos import SIZE, Image, Picture, detect, shot


def closer(image: Image, factor: float, place: tuple[float, float] = (0.5, 0.5)) -> Image:
    """The image enlarged around a place in it, shares of its width and height."""
    move = cv2.getRotationMatrix2D((place[0] * SIZE[0], place[1] * SIZE[1]), 0, factor)
    return cv2.warpAffine(image, move, SIZE, borderMode=cv2.BORDER_REFLECT)


def zoom(images: Sequence[Image], at: int, steps: int, factor: float, place: tuple[float, float]) -> list[Image]:
    """A shot in which the lens changes the scale by `factor` within some steps, the first of them before picture `at`."""
    powers = [min(max(k - at + 1, 0), steps) / steps for k in range(len(images))]
    scales = [factor**p if factor > 1 else factor ** (p - 1) for p in powers]
    return [closer(image, scale, place) for image, scale in zip(images, scales, strict=True)]


def soft(images: Sequence[Image]) -> list[Image]:
    """As pictures are that a lens has made: nothing is finer than the samples of small ones."""
    return [cv2.GaussianBlur(image, (0, 0), 8) for image in images]


def tiny(images: Sequence[Image]) -> np.ndarray:
    return np.stack([Picture(image).tiny_rgb for image in images])


@pytest.mark.parametrize("factor", [1.5, 2.1, 1 / 1.5, 1 / 2.1])
@pytest.mark.parametrize(("steps", "place"), [(3, (0.5, 0.5)), (5, (0.5, 0.5)), (7, (0.25, 0.75))])
def test_a_zoom_is_known_and_a_jump_to_a_closer_view_is_not(
    factor: float, steps: int, place: tuple[float, float]
) -> None:
    for seed in range(6):
        images = zoom(soft(shot(seed, 30)), 12, steps, factor, place)
        assert zoomed(tiny(images), 12, 13, WHOLE)
        assert not zoomed(tiny([*images[:12], *images[12 + steps :]]), 12, 13, WHOLE)


def test_a_shot_that_comes_out_of_an_enlarged_one_is_no_zoom() -> None:
    for seed in range(6):
        one, other = soft(shot(seed, 16)), soft(shot(seed + 10, 16))
        both = [*zoom(one, 12, 4, 2.5, (0.5, 0.5)), *zoom(other, 0, 4, 1 / 2.5, (0.5, 0.5))]
        assert not zoomed(tiny(both), 13, 19, WHOLE)


def test_a_pan_and_a_shot_that_stands_are_no_zoom() -> None:
    ground = cv2.resize(shot(3, 1)[0], (960, 540))
    pan = [ground[100:280, 30 * k : 30 * k + 320] for k in range(20)]
    assert not zoomed(tiny(pan), 9, 11, WHOLE)
    assert not zoomed(tiny([ground[100:280, 100:420]] * 20), 9, 11, WHOLE)


def test_the_first_picture_and_a_small_part_of_it_can_be_asked_about() -> None:
    images = tiny(zoom(soft(shot(2, 20)), 1, 4, 1.8, (0.5, 0.5)))
    assert zoomed(images, 0, 3, WHOLE)
    zoomed(images, 1, 2, Box(5, 8, 10, 13))


def test_a_crash_zoom_makes_no_boundary_and_hides_none() -> None:
    found = []
    for seed in range(6):
        first = [closer(image, 1.0) for image in shot(seed, 60)]
        images = [*zoom(first, 30, 3, 2.1, (0.5, 0.5)), *shot(seed + 20, 40)]
        found.append([c.frame for c in detect(CascadeDetector(), images).accepted])
    assert found == [[60]] * 6
