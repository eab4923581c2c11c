"""How far a picture as a whole has moved since an earlier one: the camera's pan, as far as a shift says it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_resources.detectors.base import Image

SIDE, RESPONSE = 160, 0.15
"""Size of the picture on which the shift is measured, and the peak of the correlation that makes it believable."""


class DriftMeter:
    """Measures the shift from each picture to the next by phase correlation (Kuglin and Hines, 1975)."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None
        self._window: NDArray[np.float32] | None = None

    def shift(self, image: Image) -> NDArray[np.float64] | None:
        """(2,): pixels by which the picture has moved since the one before, right and down.

        None for the first, and where the two have too little in common to tell, as in a very fast sweep.

        Args:
            image: uint8 (h, w, 3) RGB.
        """
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        factor = SIDE / max(grey.shape)
        small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.float32)
        small -= small.mean()  # Brightness alone would correlate best with no shift at all.
        before, self._before = self._before, small
        if before is None or before.shape != small.shape:
            return None
        if self._window is None or self._window.shape != small.shape:
            self._window = cv2.createHanningWindow(small.shape[::-1], cv2.CV_32F)
        shift, response = cv2.phaseCorrelate(before, small, self._window)
        return np.asarray(shift) / factor if response >= RESPONSE else None
