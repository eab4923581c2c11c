"""Squares of a picture are looked at in place of the whole, and finds come back in pixels of the picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from curation_resources.detectors.base import Detections, Image, RawDetections, finish
from curation_resources.detectors.regions import LEAST_SIDE, STEP, ExpectedPlace, Region, detect_in, pixels, regions_for

SIZE = (360, 640)


def place(x: float, y: float, side: float, reach: float = 0.5) -> ExpectedPlace:
    return ExpectedPlace(np.asarray([x, y, side, side * 1.2]), reach)


class Bright:
    """Finds what is white, as one box."""

    names: tuple[str, ...] = ("white",)
    description = "bright"
    has_features, concurrent = False, True

    def __init__(self) -> None:
        self.shown: list[tuple[int, ...]] = []

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        self.shown += [f.shape for f in frames]
        return [self._detect(f) for f in frames]

    def _detect(self, frame: Image) -> Detections:
        rows, columns = np.nonzero(frame.min(axis=2) > 127)
        if not len(rows):
            return Detections.none(1)
        corners = np.asarray([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        score = np.asarray([0.9], np.float32)
        return finish(RawDetections(corners, score, score[:, None]), frame.shape[:2], confidence=0.1, nms=1.0)


def picture(*boxes: tuple[int, int, int, int]) -> Image:
    image = np.zeros((*SIZE, 3), np.uint8)
    for x, y, w, h in boxes:
        image[y : y + h, x : x + w] = 255
    return image


@pytest.mark.parametrize(
    "box", [(300, 100, 20, 24), (300, 100, 60, 70), (200, 60, 150, 180), (0, 0, 24, 30), (600, 330, 40, 30)]
)
@pytest.mark.parametrize("off", [(0.0, 0.0), (0.4, -0.4)])
def test_what_is_near_a_place_is_found_where_it_is(box: tuple[int, int, int, int], off: tuple[float, float]) -> None:
    x, y, w, h = box
    expected = ExpectedPlace(np.asarray([x + off[0] * w, y + off[1] * h, w, h], float), 0.5)
    detector = Bright()
    (region,) = regions_for([expected], SIZE)
    found = detect_in(detector, picture(box), [region])
    np.testing.assert_allclose(found.boxes, [box], atol=1.5 * region.scale)
    assert detector.shown == [(region.side, region.side, 3)]
    assert region.side % STEP == 0
    assert LEAST_SIDE**2 <= pixels([region]) <= 256**2


def test_what_a_region_cuts_through_is_left_out_but_not_what_the_picture_does() -> None:
    region = Region.around(place(300, 100, 20), SIZE)
    cut = picture((region.right - 10, 100, 40, 24))
    assert len(detect_in(Bright(), cut, [region])) == 0
    edge = Region.around(place(620, 100, 20), SIZE)
    assert edge.right == SIZE[1]
    assert detect_in(Bright(), picture((630, 100, 10, 24)), [edge]).boxes.tolist() == [[630, 100, 10, 24]]


def test_places_that_one_region_shows_are_looked_at_once_and_nothing_is_found_twice() -> None:
    near = [place(300, 100, 20, 0.2), place(310, 104, 20, 0.2), place(500, 300, 20, 0.2)]
    regions = regions_for(near, SIZE)
    assert len(regions) == 2
    both = [Region.around(p, SIZE) for p in near[:2]]
    assert len(detect_in(Bright(), picture((305, 102, 20, 24)), both)) == 1
    assert len(detect_in(Bright(), picture(), [])) == 0


def test_a_small_face_beside_a_large_one_has_a_region_of_its_own_at_its_own_size() -> None:
    large, small = regions_for([place(200, 60, 160), place(230, 100, 14)], SIZE)
    assert large.scale > 2
    assert small.scale == 1


def test_a_picture_smaller_than_a_region_is_shown_whole() -> None:
    region = Region.around(place(10, 10, 30), (60, 50))
    assert (region.left, region.top, region.right, region.bottom) == (0, 0, 50, 60)
    image = np.zeros((60, 50, 3), np.uint8)
    image[12:40, 8:30] = 255
    assert detect_in(Bright(), image, [region]).boxes.tolist() == [[8, 12, 22, 28]]
