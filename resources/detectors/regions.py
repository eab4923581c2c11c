"""Looking at a few places of a picture instead of all of it: squares around where an object is expected, cut out and looked at together.

A convolutional detector costs what its input has in pixels, so a square around a face costs a small share of the whole picture. Small objects
are looked at as they are; large ones are scaled down to what a detector needs of them.

What belongs here: which squares, cutting them out, and finds in them as finds in the picture. What does not: where objects are expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation_resources.detectors.base import Detections, Detector, Image, RawDetections, finish

Box = NDArray[np.float64]
"""(4,): x, y, w, h in pixels."""
SHOWN_SIDE = 64
"""A larger object is shown with its longer side this many pixels long: of faces of 80 pixels and more, looks at such squares find 0.9 of what looks
at the whole picture find, which is 0.97 when the picture is shifted by a few pixels."""
LEAST_SIDE, STEP = 96, 32
"""The smallest square, and what sides are multiples of. Of faces of 18 to 32 pixels, looks at squares of 96 find 0.94 at half of the threshold or
more, of 128 0.97, of 64 much less; the whole picture shifted by a few pixels 0.99."""
CONTEXT = 1.0
"""Object sizes that are shown around the place where the object may be, on every side."""
NMS = 0.3
"""Two finds that overlap by more than this IoU, from squares that overlap, are one."""


@dataclass(frozen=True)
class ExpectedPlace:
    """Where an object is expected.

    Attributes:
        box: x, y, w, h in pixels, possibly partly outside of the picture.
        reach: how far from there its centre may be, in sizes of the object.
    """

    box: Box
    reach: float

    @property
    def size(self) -> float:
        """Longer side in pixels."""
        return float(max(self.box[2:]))

    @property
    def centre(self) -> Box:
        return self.box[:2] + self.box[2:] / 2


@dataclass(frozen=True)
class Region:
    """A square that is cut out of a picture.

    Attributes:
        left, top, right, bottom: in pixels, inside the picture; where the picture is smaller than the square, no square.
        side: length of the input that it becomes, a multiple of `STEP`.
        scale: pixels of the picture to one of the input, at least 1.
    """

    left: int
    top: int
    right: int
    bottom: int
    side: int
    scale: float

    @classmethod
    def around(cls, place: ExpectedPlace, size: tuple[int, int]) -> Region:
        """The region in which an object can be seen whole, with what is around it.

        Args:
            size: height and width of the picture.
        """
        scale = max(1.0, place.size / SHOWN_SIDE)
        wanted = place.size * (1 + 2 * (CONTEXT + place.reach)) / scale
        side = int(np.ceil(max(LEAST_SIDE, wanted) / STEP) * STEP)
        wide = round(side * scale)
        left, top = (
            int(np.clip(middle - wide / 2, 0, max(0, length - wide)))
            for middle, length in zip(place.centre, size[::-1], strict=True)
        )
        return cls(left, top, min(size[1], left + wide), min(size[0], top + wide), side, scale)

    def shows(self, place: ExpectedPlace, size: tuple[int, int]) -> bool:
        """Whether an object at that place can be seen well in this region too, in a picture of that height and width."""
        if self.scale > 1.3 * max(1.0, place.size / SHOWN_SIDE):
            return False
        around = place.size * (CONTEXT / 2 + 0.5 + place.reach)
        (x, y), (height, width) = place.centre, size
        return bool(
            (self.left == 0 or x - around >= self.left)
            and (self.top == 0 or y - around >= self.top)
            and (self.right == width or x + around <= self.right)
            and (self.bottom == height or y + around <= self.bottom)
        )


def regions_for(places: Sequence[ExpectedPlace], size: tuple[int, int]) -> list[Region]:
    """Regions in which all of the places are shown, largest object first; one that another region shows needs none of its own.

    Args:
        size: height and width of the picture.
    """
    regions: list[Region] = []
    for place in sorted(places, key=lambda p: -p.size):
        if not any(region.shows(place, size) for region in regions):
            regions.append(Region.around(place, size))
    return regions


def pixels(regions: Sequence[Region]) -> int:
    """What a detector is shown of them, in pixels."""
    return sum(region.side**2 for region in regions)


def detect_in(detector: Detector, image: Image, regions: Sequence[Region]) -> Detections:
    """What a detector finds in regions of one picture, as it would tell of the whole; what a region's side cuts through is left out.

    Args:
        image: uint8 (h, w, 3) RGB.
    """
    size = image.shape[0], image.shape[1]
    ordered = sorted(regions, key=lambda r: r.side)  # so that those of one size are looked at together
    corners, scores, class_scores = [], [], []
    for region, found in zip(ordered, detector.detect([_cut(image, r) for r in ordered]), strict=True):
        offset = np.asarray([region.left, region.top] * 2, np.float32)
        placed = found.corners * np.float32(region.scale) + offset
        whole = _whole(placed, region, size)
        corners.append(placed[whole])
        scores.append(found.scores[whole])
        class_scores.append(found.class_scores[whole])
    if not corners:
        return Detections.none(len(detector.names))
    raw = RawDetections(np.concatenate(corners), np.concatenate(scores), np.concatenate(class_scores))
    return finish(raw, size, confidence=0.0, nms=NMS)


def _cut(image: Image, region: Region) -> Image:
    """uint8 (side, side, 3): black at the right and below where the picture ends."""
    import cv2

    part = image[region.top : region.bottom, region.left : region.right]
    if region.scale > 1:
        width, height = (
            min(region.side, max(1, round(length / region.scale))) for length in (part.shape[1], part.shape[0])
        )
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    cut = np.zeros((region.side, region.side, 3), np.uint8)
    cut[: part.shape[0], : part.shape[1]] = part
    return cut


def _whole(corners: NDArray[np.float32], region: Region, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes do not end at a side of the region that is not the picture's own."""
    height, width = size
    x1, y1, x2, y2 = corners.T
    return np.asarray(
        ((region.left == 0) | (x1 > region.left + region.scale))
        & ((region.top == 0) | (y1 > region.top + region.scale))
        & ((region.right == width) | (x2 < region.right - region.scale))
        & ((region.bottom == height) | (y2 < region.bottom - region.scale))
    )
