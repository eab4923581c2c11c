"""What a detector takes and gives: frames in, boxes with scores out.

What belongs here: the interface, its value type, and geometry that every detector needs. What does not: any one detector.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Detections:
    """The objects found in one frame, best score first.

    Attributes:
        boxes: float32 (n, 4): x, y, w, h in pixels of the frame that was handed in, inside the frame.
        scores: float32 (n,): how sure the detector is of the box as a whole, 0 to 1.
        class_scores: float32 (n, classes): score of each class of the vocabulary, 0 to 1.
        objectness: float32 (n,): how sure it is that there is an object of any kind; None if the detector does not say.
        features: float32 (n, d): appearance, rows of length one; None if the detector has none.
    """

    boxes: Floats
    scores: Floats
    class_scores: Floats
    objectness: Floats | None = None
    features: Floats | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def none(cls, classes: int) -> Detections:
        """No object, for a vocabulary of `classes` names."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, classes), np.float32))

    @property
    def corners(self) -> Floats:
        """float32 (n, 4): x1, y1, x2, y2."""
        return np.concatenate([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]], axis=1)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """The detections that `index` (positions or a mask) picks, in its order."""
        return Detections(
            self.boxes[index],
            self.scores[index],
            self.class_scores[index],
            None if self.objectness is None else self.objectness[index],
            None if self.features is None else self.features[index],
        )


class Detector(Protocol):
    """Finds objects of a vocabulary in frames.

    Attributes:
        names: the vocabulary; columns of `class_scores` are in its order.
        description: detector, weights and vocabulary in words, as tables record it.
        has_features: whether `Detections.features` is filled.
        concurrent: whether several threads may call `detect` at the same time.
    """

    names: tuple[str, ...]
    description: str
    has_features: bool
    concurrent: bool

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        """Detections per frame.

        Args:
            frames: uint8 (h, w, 3) each, red, green, blue, as displayed. Sizes may differ.
        """
        ...


class AheadDetector(Detector, Protocol):
    """A detector that goes on with the next batch while results of the last come back.

    Attributes:
        asynchronous: whether a device of its own computes, which others may keep busy meanwhile.
        device: torch's name of that device.
    """

    @property
    def asynchronous(self) -> bool: ...
    @property
    def device(self) -> object: ...

    def detect_ahead(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[list[Detections]]:
        """Detections per frame of batch after batch, in order.

        Args:
            batches: uint8 (n, h, w, 3) each; see `overlapped` for how long one must stay as it is.
        """
        ...


def keeps_busy(detector: Detector) -> TypeGuard[AheadDetector]:
    """Whether a detector computes on a device that waits for whoever does not bring it frames ahead."""
    return bool(getattr(detector, "asynchronous", False))


def same_size_batches(frames: Sequence[Image], batch: int) -> Iterator[list[Image]]:
    """Runs of at most `batch` neighbouring frames of one size, in order."""
    for _, group in groupby(frames, key=lambda f: f.shape):
        same = list(group)
        for start in range(0, len(same), batch):
            yield same[start : start + batch]


def iou_matrix(a: Floats, b: Floats) -> Floats:
    """float32 (n, m): intersection over union of corner boxes (n, 4) and (m, 4); 0 for empty boxes."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=1), np.prod(b[:, 2:] - b[:, :2], axis=1)
    union = area_a[:, None] + area_b[None, :] - intersection
    return np.asarray(np.where(union > 0, intersection / np.where(union > 0, union, 1), 0), np.float32)


def suppress(corners: Floats, scores: Floats, threshold: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression over all classes together: a tracker wants one box per object, whatever its name.

    Args:
        corners: float32 (n, 4): x1, y1, x2, y2.
        scores: float32 (n,).
        threshold: a box that overlaps a better one by more than this IoU is dropped.

    Returns:
        Positions of the boxes that stay, best score first; of equal scores, the earlier box first.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[iou_matrix(corners[best][None], corners[order])[0] <= threshold]
    return np.asarray(kept, dtype=np.intp)


@dataclass(frozen=True)
class RawDetections:
    """What a network says of one frame, before weak and doubled boxes are dropped.

    Attributes:
        corners: float32 (n, 4): x1, y1, x2, y2, possibly outside the frame.
        scores, class_scores, objectness, features: as of `Detections`; features need no length one.
    """

    corners: Floats
    scores: Floats
    class_scores: Floats
    objectness: Floats | None = None
    features: Floats | None = None


def finish(raw: RawDetections, size: tuple[int, int], *, confidence: float, nms: float) -> Detections:
    """Turns a detector's raw boxes into `Detections`: weak, empty and doubled boxes dropped, the rest clipped to the frame.

    Args:
        raw: corners in pixels of the frame.
        size: height and width of the frame.
        confidence: least score.
        nms: see `suppress`; 1 keeps doubled boxes.
    """
    height, width = size
    corners, scores = raw.corners, raw.scores
    clipped = np.clip(corners, 0, np.asarray([width, height, width, height], np.float32)).astype(np.float32)
    extent = clipped[:, 2:] - clipped[:, :2]
    good = np.flatnonzero((scores >= confidence) & np.all(np.isfinite(corners), axis=1) & np.all(extent >= 1, axis=1))
    kept = good[suppress(clipped[good], scores[good], nms)] if len(good) else good
    boxes = np.concatenate([clipped[kept, :2], extent[kept]], axis=1)
    return Detections(
        boxes.astype(np.float32),
        scores[kept].astype(np.float32),
        raw.class_scores[kept].astype(np.float32),
        None if raw.objectness is None else raw.objectness[kept].astype(np.float32),
        None if raw.features is None else unit_rows(raw.features[kept]),
    )


def unit_rows(features: NDArray[np.floating]) -> Floats:
    """float32 rows scaled to length one; a row of zeros stays."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.where(length > 0, length, 1), np.float32)
