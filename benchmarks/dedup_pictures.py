"""What the search for near-duplicates looks at beside hashes of frames, for generated clips: windows, courses and stills.

What belongs here: generated pictures of clips and of their copies and crops. What does not: hashes of frames, and what is measured (`dedup`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.contracts.tables import RECT
from curation_assets.decode.measures import course, still, windows

ASPECT: Final = 16 / 9
DURATION_MS: Final = 6000
SPANS: Final = course.spans(DURATION_MS)
CROP: Final = 1
"""The window that planted crops show: 72 percent of each side."""

Luma = NDArray[np.uint8]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Pictures:
    """Pictures of clips.

    Attributes:
        fine: uint8 (clips, SPANS, s, s), of each span; the side s is a multiple of a course's cells.
    """

    fine: Luma

    @staticmethod
    def made(rng: np.random.Generator, clips: int) -> Pictures:
        """A scene of some detail each, in which a part moves."""
        side = 2 * course.CELLS
        fine = np.empty((clips, SPANS, side, side), np.uint8)
        for k in range(clips):
            scene = _smooth(rng.normal(128, 40, (8, 8)), side)
            change = cv2.resize(rng.normal(0, 30, (5, 36)).astype(np.float32), (36, SPANS)).reshape(SPANS, 6, 6)
            for span in range(SPANS):
                fine[k, span] = np.clip(scene + _smooth(change[span], side), 0, 255)
        return Pictures(fine)

    def copied(self, rng: np.random.Generator, copies: Counts, crops: Counts) -> Pictures:
        """The pictures with each of some clips showing the one before it, as coding changes it, or a window of it."""
        fine = self.fine.copy()
        window = windows.windows(ASPECT)[CROP]
        assert window is not None
        for k in copies.tolist():
            fine[k] = fine[k - 1]
        for k in crops.tolist():
            fine[k] = windows.look_through(fine[k - 1], window, ASPECT)
        changed = np.concatenate([copies, crops])
        noise = rng.normal(0, 1.5, fine[changed].shape)
        fine[changed] = np.clip(np.round(fine[changed] + noise), 0, 255)
        return Pictures(fine)

    def columns(self) -> dict[str, pa.Array]:
        """Columns of `clip_fingerprints`."""
        clips, spans, side = self.fine.shape[:3]
        size = side // course.CELLS
        cells = self.fine.reshape(clips, spans, course.CELLS, size, course.CELLS, size).mean(axis=(3, 5))
        courses = np.round(cells).astype(np.uint8)
        shown = [cv2.resize(p[spans // 2], (still.SIDE, still.SIDE)) for p in self.fine]
        box = {"x": 0.0, "y": 0.0, "w": 1.0, "h": 1.0}
        return {
            "course": pa.array([c.tobytes() for c in courses], pa.binary()),
            "still": pa.array([still.still(p[None]) for p in shown], pa.binary()),
            "content_box": pa.repeat(pa.scalar(box, RECT), clips),
            "picture_aspect": pa.repeat(pa.scalar(ASPECT, pa.float32()), clips),
        }


def _smooth(values: NDArray[np.floating], side: int) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(values.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC), np.float32)
