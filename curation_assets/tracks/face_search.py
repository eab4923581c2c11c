"""Which frames of a clip are searched for faces, and where in them: whole pictures on a beat, and between two of those only the places where one of
the two has something that may be a face.

A whole look costs what a hundred small ones cost, and most of what it would find has been found a moment before. What is between two whole looks
is halved until the frames that were looked at are `step` apart: in the middle, faces that both ends have are looked for on the line between, those
that one end has where the camera carried them. Where faces of both ends fit nowhere, the middle is looked at whole. While the camera sweeps or the
picture changes beyond telling, every frame is looked at whole.

What belongs here: when and where to look. What does not: detectors, squares of pictures (`curation_resources.detectors.regions`), joining finds to
faces and covering them (`faces.py`), tracks (`tracking.py`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from curation_assets.tracks.picture_drift import DriftMeter
from curation_resources.detectors.base import Detections, Detector, Image, iou_matrix
from curation_resources.detectors.regions import NMS, Box, ExpectedPlace, detect_in, pixels, regions_for
from curation_resources.words import plural

REACH = 1.5
"""A face may be found this far from where it is expected, in face sizes."""
SIZE_RATIO = 2.0
"""Two boxes whose sizes differ by more than this factor are not one face."""
FAST = 0.02
"""Shift per frame, in frame diagonals, above which every frame is looked at. With this, sweeps over photographs of up to a quarter of
the diagonal per frame are covered as if every frame were looked at; handheld videos hardly reach it."""
NEAR, FAR = 0.5, 0.7
"""How far from where it is expected a face is looked for, in face sizes: on the line between two finds, at most, and from one find alone."""
CLEAR, STILL, SLOW = 0.5, 0.1, 0.3
"""A face that is on the line between two finds: it has at least the first score in both and moved by at most the second, in face sizes and besides
the camera's own way; or it is a face in both, moved by at most the third, and the finds are two steps apart. What is covered reaches 0.3 of a face
further than the face."""
FAINT = 0.5
"""Share of the threshold below which a find of one look alone is not looked for once more, nearer to it."""
NO_FACE = Detections.none(1)
WORTH = 0.8
"""Share of the picture from which on regions are not worth it, and the picture is looked at whole."""


@dataclass(frozen=True)
class Look:
    """What was found in a frame.

    Attributes:
        index: the frame.
        found: faces, or what may be one.
        drift: (2,): pixels per frame by which the whole picture moved since the frame that was looked at before.
        whole: whether the whole picture was looked at; else nothing is known of what lies outside of the places that were.
        seen: how many of `found` were seen, those first; the others are on the line between two looks, with the lesser score. None is all.
    """

    index: int
    found: Detections
    drift: Box
    whole: bool
    seen: int | None = None

    @property
    def boxes(self) -> NDArray[np.float64]:
        return self.found.boxes.astype(np.float64)

    def taken_for_granted(self, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> Look:
        """The look with faces that were not looked for and are there all the same, unless they were found on the way.

        Args:
            boxes: (n, 4); scores: (n,).
        """
        if not len(boxes):
            return self
        faces = Detections(boxes, scores, scores[:, None])
        same = iou_matrix(faces.corners, self.found.corners) > NMS
        better: NDArray[np.bool_] = same & (self.found.scores[None] >= CLEAR * scores[:, None])
        added = faces.take(np.flatnonzero(~better.any(axis=1)))
        rest = self.found.take(np.flatnonzero(~(same & ~better).any(axis=0)))
        both = Detections(
            *(np.concatenate([getattr(rest, n), getattr(added, n)]) for n in ("boxes", "scores", "class_scores"))
        )
        return replace(self, found=both, seen=len(rest))


@dataclass(frozen=True)
class Beat:
    """How often is looked.

    Attributes:
        whole: frames from one look at the whole picture to the next.
        step: frames from one look at a place to the next.
        on_line: whether faces that two looks found where the camera carried them are taken to be on the line between; else every face is
            looked for every `step` frames.
    """

    whole: int
    step: int
    on_line: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.step <= self.whole:
            raise ValueError(
                f"a look at places every {plural(self.step, 'frame')} cannot be rarer than whole looks, every {self.whole}"
            )


TRACKED = Beat(whole=3, step=1)
"""How tracks look for faces: a track has at least three boxes (`tracking.LEAST_BOXES`), so a face that comes and goes between two looks at the whole
picture would have none."""


class _Between:
    """Two looks, and what is to be expected in a frame between them.

    Args:
        halfway, carried: pixels by which the picture moved from the first look to that frame, and to the second look.

    Attributes:
        frames: from one look to the other.
        pairs: places in the finds of both looks of what is one face.
        ends: both looks, and how the picture moved from there to the frame.
    """

    def __init__(self, a: Look, b: Look, middle: int, halfway: Box, carried: Box) -> None:
        self._first, self._last, self._carried = a.boxes, b.boxes, carried
        self._scores = a.found.scores, b.found.scores
        self.frames = b.index - a.index
        self._share = (middle - a.index) / self.frames
        self._bend = float(np.linalg.norm(halfway - carried * self._share))
        self.pairs = join(_moved(self._first, carried), self._first, self._last)
        self.ends = ((a, halfway), (b, halfway - carried))

    def box(self, i: int, j: int) -> Box:
        """Where a face of both looks is on the line between them."""
        return on_line(self._first[i], self._last[j], self._share)

    def score(self, i: int, j: int) -> float:
        """The lesser of its two."""
        return float(min(self._scores[0][i], self._scores[1][j]))

    def off(self, i: int, j: int) -> float:
        """How far it may be off that line, in face sizes: how far it moved besides what the camera did, and how far that is from a line."""
        a, b = self._first[i], self._last[j]
        own = (b[:2] + b[2:] / 2) - (a[:2] + a[2:] / 2) - self._carried
        return (float(np.linalg.norm(own)) + self._bend) / float(max(*a[2:], *b[2:]))


class FaceSearch:
    """Searches the frames of one clip, in order.

    Args:
        detector: finds faces; it should report well below what makes a face, since weak finds say where to look again.
        beat: how often is looked.
        threshold: least score that makes a face.
    """

    def __init__(self, detector: Detector, beat: Beat, threshold: float) -> None:
        self._detector, self._beat, self._threshold = detector, beat, threshold
        self._meter = DriftMeter()
        self._images: dict[int, Image] = {}
        """Frames since the last whole look, which may yet be looked at."""
        self._measured: list[int] = []
        self._moved: list[Box] = []
        """Frames of which the shift was measured, and how far the picture had moved by then since the first of them."""
        self._drift: Box = np.zeros(2)
        self._last: Look | None = None
        self._newest = -1
        self._due = 0

    def see(self, index: int, image: Image) -> list[Look]:
        """Takes the next frame; gives the looks that it completes, in order. No later look comes before them."""
        self._newest = index
        if index < self._due:
            self._images[index] = image
            return []
        shift = self._measure(index, image)
        fast = shift is None or float(np.linalg.norm(self._drift)) > FAST * float(np.hypot(*image.shape[:2]))
        self._due = index + (1 if fast else self._beat.step)
        self._images[index] = image
        if self._last is None:
            return self._whole_look(index)
        looks = []
        if shift is None and self._measured[-2] > self._last.index:
            # Another scene, perhaps: what came last in the one before is not seen from here.
            looks = self._whole_look(self._measured[-2])
        if fast or index - self._last.index >= self._beat.whole:
            looks += self._whole_look(index)
        return looks

    def close(self) -> list[Look]:
        """The looks that remain after the last frame, which is looked at too."""
        if self._last is None or self._newest == self._last.index:
            return []
        if self._measured[-1] != self._newest:
            self._measure(self._newest, self._images[self._newest])
        return self._whole_look(self._newest)

    def _measure(self, index: int, image: Image) -> Box | None:
        """Notes how far the picture has moved; (2,) pixels, or None where that cannot be told, as for the first."""
        shift = self._meter.shift(image)
        self._drift = np.zeros(2) if shift is None else shift / (index - self._measured[-1])
        so_far = self._moved[-1] if self._moved else np.zeros(2)
        self._measured.append(index)
        self._moved.append(so_far if shift is None else so_far + shift)
        return shift

    def _whole_look(self, index: int) -> list[Look]:
        look = self._whole(index)
        looks = [*(self._between(self._last, look) if self._last is not None else []), look]
        self._images = {later: image for later, image in self._images.items() if later > index}
        keep = bisect_left(self._measured, index)
        self._measured, self._moved = self._measured[keep:], self._moved[keep:]
        self._last = look
        return looks

    def _whole(self, index: int) -> Look:
        image = self._images[index]
        return Look(index, self._detector.detect([image])[0], self._drift_at(index), True)

    def _between(self, a: Look, b: Look) -> list[Look]:
        """Looks at frames between two that were looked at, in order."""
        step = self._beat.step
        if b.index - a.index <= step:
            return []
        middle = a.index + max(step, (b.index - a.index) // 2 // step * step)
        between = _Between(a, b, middle, self._carried(a.index, middle), self._carried(a.index, b.index))
        sure = self._sure(between) if self._beat.on_line else []
        places, apart = self._places(between, sure)
        if not places:
            return []
        image = self._images[middle]
        regions = regions_for(places, image.shape[:2])
        if apart or pixels(regions) > WORTH * image.shape[0] * image.shape[1]:
            look = self._whole(middle)
        else:
            found = detect_in(self._detector, image, regions)
            look = Look(middle, found, self._drift_at(middle), False).taken_for_granted(
                np.asarray([between.box(i, j) for i, j in sure], np.float32),
                np.asarray([between.score(i, j) for i, j in sure], np.float32),
            )
        return [*self._between(a, look), look, *self._between(look, b)]

    def _sure(self, between: _Between) -> list[tuple[int, int]]:
        """Faces of both looks that are on the line between them for sure, so that nobody looks for them."""
        near = between.frames <= 2 * self._beat.step
        sure = []
        for i, j in between.pairs:
            off, score = between.off(i, j), between.score(i, j)
            if (score >= CLEAR and off <= STILL) or (score >= self._threshold and off <= SLOW and near):
                sure.append((i, j))
        return sure

    def _places(self, between: _Between, sure: Sequence[tuple[int, int]]) -> tuple[list[ExpectedPlace], bool]:
        """Where faces may be besides those that are sure, and whether both looks have a face that the other lacks: it may be one that moves fast."""
        places = [
            ExpectedPlace(between.box(i, j), min(NEAR, 0.2 + between.off(i, j) / 2))
            for i, j in between.pairs
            if (i, j) not in sure
        ]
        # What is hardly like a face was looked for in the middle of the interval that this one is half of.
        least = self._threshold * FAINT if between.frames <= 2 * self._beat.step else 0.0
        strong = []
        for side, (look, shift) in enumerate(between.ends):
            alone = np.setdiff1d(np.arange(len(look.found)), [pair[side] for pair in between.pairs])
            scores = look.found.scores[alone]
            places += [ExpectedPlace(box, FAR) for box in _moved(look.boxes[alone[scores >= least]], shift)]
            strong.append(bool((scores >= self._threshold).any()))
        return places, all(strong)

    def _drift_at(self, index: int) -> Box:
        """(2,): pixels per frame at a frame."""
        if len(self._measured) < 2 or index <= self._measured[0]:
            return self._drift
        place = bisect_left(self._measured, index)
        frames = self._measured[place] - self._measured[place - 1]
        return (self._moved[place] - self._moved[place - 1]) / frames

    def _carried(self, a: int, b: int) -> Box:
        """(2,): pixels by which the picture moved from frame `a` to frame `b`."""
        moved = np.asarray(self._moved)
        return np.asarray(
            [
                np.interp(b, self._measured, moved[:, axis]) - np.interp(a, self._measured, moved[:, axis])
                for axis in (0, 1)
            ]
        )


def look_through(
    frames: Iterable[tuple[int, Image]], search: FaceSearch
) -> Iterator[tuple[list[int], list[Detections], float]]:
    """Times of the next frames, what the search found in each, and the seconds that it took; no face in frames in which it looked nowhere.

    Args:
        frames: presentation time in milliseconds and uint8 (h, w, 3) RGB, in order.
    """
    times: list[int] = []
    given = 0
    ended: tuple[int, Image | None] = (0, None)
    for time_ms, image in chain(frames, [ended]):
        begun = time.perf_counter()
        if image is None:
            looks = search.close()
        else:
            looks = search.see(len(times), image)
            times.append(time_ms)
        if looks:
            found = {look.index: look.found for look in looks}
            done, given = range(given, looks[-1].index + 1), looks[-1].index + 1
            yield [times[i] for i in done], [found.get(i, NO_FACE) for i in done], time.perf_counter() - begun


def on_line(a: Box, b: Box, share: float) -> Box:
    """The box at a share of the way from one to another, or beyond; the size stays within theirs."""
    centre_a, centre_b = a[:2] + a[2:] / 2, b[:2] + b[2:] / 2
    centre = centre_a + (centre_b - centre_a) * share
    extent = a[2:] + (b[2:] - a[2:]) * min(1.0, max(0.0, share))
    return np.concatenate([centre - extent / 2, extent])


def join(
    moved: Sequence[Box] | NDArray[np.float64], rested: Sequence[Box] | NDArray[np.float64], found: NDArray[np.float64]
) -> list[tuple[int, int]]:
    """Pairs (face, found) that are one face, by the smallest sum of distances in face sizes.

    Args:
        moved, rested: two guesses of where each face is expected; the nearer counts.
        found: (n, 4): boxes of this look.
    """
    if not len(moved) or not len(found):
        return []
    distance = np.minimum(_distance(np.asarray(moved), found), _distance(np.asarray(rested), found))
    rows, columns = linear_sum_assignment(np.where(distance <= REACH, distance, 1e6))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if distance[r, c] <= REACH]


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m): distance of the centres in sizes of the larger box; infinite where the sizes do not fit together."""
    size_a, size_b = np.sqrt(a[:, 2:].prod(axis=1))[:, None], np.sqrt(b[:, 2:].prod(axis=1))[None]
    centre_a, centre_b = a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2
    apart = np.linalg.norm(centre_a[:, None] - centre_b[None], axis=2) / np.maximum(size_a, size_b)
    return np.where(np.maximum(size_a / size_b, size_b / size_a) <= SIZE_RATIO, apart, np.inf)


def _moved(boxes: NDArray[np.float64], shift: Box) -> NDArray[np.float64]:
    return np.concatenate([boxes[:, :2] + shift, boxes[:, 2:]], axis=1)
