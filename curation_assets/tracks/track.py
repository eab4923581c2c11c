"""One object, followed through one clip: its boxes, and sums of what a detector said of them.

What belongs here: what is kept of a track. What does not: which boxes are one track (`tracking`, `track_pieces`, `track_joining`), its row in
the table (`track_rows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from curation_resources.detectors.base import Detections, Floats, unit_rows


@dataclass(frozen=True)
class Hit:
    """A detection that a track takes."""

    time_ms: int
    detections: Detections
    index: int


@dataclass
class Track:
    """One object, followed through one clip.

    Scores of classes are kept as sums over boxes, so that a long track with a large vocabulary stays small.

    Attributes:
        times_ms: presentation time of each box.
        boxes: float32 (4,) each: x, y, w, h in displayed pixels.
        scores: detection score of each box; None for a box that was filled in.
        objectness: likewise; None everywhere if the detector has none.
        classes: number of the best class of each box; None for a box that was filled in.
        best_scores: score of that class.
        doubted: a box from before all others that counts only once the track has proved itself.
    """

    times_ms: list[int] = field(default_factory=list)
    boxes: list[Floats] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    objectness: list[float | None] = field(default_factory=list)
    classes: list[int | None] = field(default_factory=list)
    best_scores: list[float | None] = field(default_factory=list)
    doubted: Hit | None = None
    _detected: int = 0
    _sums: NDArray[np.float64] | None = None
    _feature_sum: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.times_ms)

    def add(self, hit: Hit, first: bool = False) -> None:
        """Puts a detection at the end of the track, or before its first."""
        detections, index = hit.detections, hit.index
        place = 0 if first else len(self)
        classes = detections.class_scores[index].astype(np.float64)
        objectness = None if detections.objectness is None else float(detections.objectness[index])
        self.times_ms.insert(place, hit.time_ms)
        self.boxes.insert(place, detections.boxes[index])
        self.scores.insert(place, float(detections.scores[index]))
        self.objectness.insert(place, objectness)
        self.classes.insert(place, int(classes.argmax()))
        self.best_scores.insert(place, float(classes.max()))
        self._detected += 1
        weighted = classes if objectness is None else classes * objectness
        sums = np.stack([classes, classes**2, weighted, weighted**2])
        self._sums = sums if self._sums is None else self._sums + sums
        if detections.features is not None:
            feature = detections.features[index].astype(np.float64)
            self._feature_sum = feature if self._feature_sum is None else self._feature_sum + feature

    def prove(self) -> None:
        """Takes the doubted box."""
        if self.doubted is not None:
            self.add(self.doubted, first=True)
            self.doubted = None

    def append(self, later: Track) -> None:
        """Goes on with a track that begins after this one has ended; what goes on from another is proved by that."""
        if later.doubted is not None and later.doubted.time_ms > self.times_ms[-1]:
            later.prove()
        for name in ("times_ms", "boxes", "scores", "objectness", "classes", "best_scores"):
            getattr(self, name).extend(getattr(later, name))
        self._detected += later._detected
        if self._sums is not None and later._sums is not None:
            self._sums = self._sums + later._sums
        if self._feature_sum is not None and later._feature_sum is not None:
            self._feature_sum = self._feature_sum + later._feature_sum

    def fill(self, times_ms: Sequence[int], longest_ms: float) -> None:
        """Puts boxes on a straight line between the ends of each gap of at most `longest_ms`, at those of `times_ms` that lie in it."""
        for place in range(len(self) - 1, 0, -1):
            before, after = self.times_ms[place - 1], self.times_ms[place]
            if after - before > longest_ms:
                continue
            inside = [t for t in times_ms if before < t < after]
            step = self.boxes[place] - self.boxes[place - 1]
            line = [self.boxes[place - 1] + step * np.float32((t - before) / (after - before)) for t in inside]
            self.times_ms[place:place] = inside
            self.boxes[place:place] = line
            for values in (self.scores, self.objectness, self.classes, self.best_scores):
                values[place:place] = [None] * len(inside)

    def class_statistics(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Mean and standard deviation over boxes of the class scores, plain and weighted by objectness; float32 (classes,) each.

        Without objectness the weighted ones equal the plain ones.
        """
        if self._sums is None:
            raise ValueError("a track without boxes has no class scores")
        mean, square, weighted, weighted_square = self._sums / self._detected
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        weighted_deviation = np.sqrt(np.maximum(weighted_square - weighted**2, 0))
        kept = [np.asarray(a, np.float32) for a in (mean, deviation, weighted, weighted_deviation)]
        return kept[0], kept[1], kept[2], kept[3]

    def embedding(self) -> Floats | None:
        """float32 (d,): the mean appearance feature, of length one; None if the detector has none."""
        return None if self._feature_sum is None else unit_rows(self._feature_sum[None])[0]
