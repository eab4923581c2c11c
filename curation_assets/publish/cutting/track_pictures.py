"""The pictures of a clip that follows a track: where the window is in each frame, and what is seen in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from curation_assets.decode.reading.media import Display
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_pictures import ClipPictures, Image, even

SMOOTHING_S = 0.66
ASPECTS = (2 / 3, 3 / 2)
"""TrackVerse's extract_tracks.py: deviation of the Gaussian over a track's boxes, and the bounds of the mean aspect ratio."""


@dataclass(frozen=True)
class TrackBoxes:
    """The boxes of a track, which its clip follows.

    Attributes:
        times_ms: (n,) presentation times, ascending.
        boxes: (n, 4): x, y, w, h in displayed pixels.
    """

    times_ms: Sequence[int]
    boxes: Sequence[Sequence[float]]

    def windows(self, width: int, height: int) -> tuple[NDArray[np.float64], tuple[int, int]]:
        """The boxes smoothed, brought to one aspect ratio and kept inside the frame; and the even size of the clip, their mean.

        As TrackVerse does it: a Gaussian of 0.66 s, the mean aspect ratio clamped to 2/3..3/2, each box enlarged to that ratio.
        """
        boxes = np.asarray(self.boxes, np.float64).reshape(-1, 4)
        step_s = float(np.diff(self.times_ms).mean()) / 1000 if len(boxes) > 1 else 0.0
        if step_s > 0 and (sigma := int(SMOOTHING_S / step_s)):
            boxes = gaussian_filter1d(boxes, sigma, axis=0)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 2.0)
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        w, h = boxes[:, 2].copy(), boxes[:, 3].copy()
        aspect = float(np.clip((w / h).mean(), *ASPECTS))
        h = np.maximum(h, w / aspect)
        w = h * aspect
        shrink = np.minimum(1.0, np.minimum(height / h, width / w))
        sizes = np.stack([w * shrink, h * shrink], axis=1)
        corners = np.clip(centres - sizes / 2, 0, np.array([width, height]) - sizes)
        mean = sizes.mean(axis=0)
        return np.concatenate([corners, sizes], axis=1), (even(mean[0]), even(mean[1]))


class TrackPictures:
    """RGB pictures that follow a track. `size` is that of the clip; a short side that the recipe asks for is never enlarged to."""

    def __init__(
        self,
        frame: VideoFrame,
        display_of: Callable[[VideoFrame], Display],
        params: ClipExport,
        track: TrackBoxes,
    ) -> None:
        self._whole = ClipPictures(frame, display_of, params, None, rgb=True, full=True)
        self._times = np.asarray(track.times_ms, np.float64)
        self._windows, size = track.windows(*self._whole.size)
        shrink = 1.0 if params.short_side is None else min(1.0, params.short_side / min(size))
        self.size = (even(size[0] * shrink), even(size[1] * shrink))

    def __call__(self, frame: VideoFrame, time_ms: int) -> Image:
        """uint8 (h, w, 3) RGB of the window at that time, on the line between the boxes before and after."""
        x, y, w, h = (int(np.interp(time_ms, self._times, column)) for column in self._windows.T)
        window = self._whole(frame).to_ndarray()[y : y + max(1, h), x : x + max(1, w)]
        shrinking = window.shape[1] > self.size[0]
        return cast(
            Image, cv2.resize(window, self.size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR)
        )
