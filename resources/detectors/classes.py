"""A detector of which some classes alone are wanted."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from curation_resources.detectors.base import Detections, Detector, Image


class OfClasses:
    """What a detector finds of some of its classes: a box counts if its best class is one of them.

    Args:
        detector: finds all of its classes.
        wanted: names of its vocabulary.
    """

    has_features = False

    def __init__(self, detector: Detector, wanted: Collection[str]) -> None:
        self._detector = detector
        self._wanted = np.asarray([n in wanted for n in detector.names])
        self.names = detector.names
        self.concurrent = detector.concurrent
        self.description = f"{detector.description} of {'+'.join(sorted(wanted))}"

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        return [f.take(self._wanted[f.class_scores.argmax(axis=1)]) for f in self._detector.detect(frames)]
