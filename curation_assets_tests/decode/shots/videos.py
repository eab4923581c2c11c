"""Pictures of known shots, and frames of real videos, for detectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.reading.picture import AnalysisPicture
from curation_assets.decode.shots import CutList, ShotDetector

Image = NDArray[np.uint8]
SIZE = (320, 180)


class Picture(AnalysisPicture):
    """A picture made of a BGR image."""

    def __init__(self, image: Image) -> None:
        super().__init__()
        self._image = image

    @cached_property
    def bgr(self) -> Image:
        factor = max(self._image.shape[:2]) / 256
        size = [max(1, round(side / factor)) for side in self._image.shape[1::-1]]
        return cv2.resize(self._image, size, interpolation=cv2.INTER_LINEAR) if factor > 1 else self._image

    @cached_property
    def tiny_rgb(self) -> Image:
        return np.ascontiguousarray(cv2.resize(self._image, (48, 27), interpolation=cv2.INTER_AREA)[..., ::-1])


def shot(seed: int, length: int) -> list[Image]:
    """A texture of coarse and fine blobs that moves steadily: uint8 (180, 320, 3) each."""
    rng = np.random.default_rng(seed)
    layers = (rng.integers(0, 256, (cells, 2 * cells, 3), np.uint8) for cells in (6, 50))
    coarse, fine = (cv2.resize(layer, (720, 400), interpolation=cv2.INTER_CUBIC) for layer in layers)
    texture = cv2.addWeighted(coarse, 0.5, fine, 0.5, 0)
    dx, dy = rng.uniform(-1, 1, 2)
    return [texture[int(100 + dy * k) :, int(200 + dx * k) :][: SIZE[1], : SIZE[0]] for k in range(length)]


def dissolve(a: Sequence[Image], b: Sequence[Image], length: int) -> list[Image]:
    """Shot `a` turning into `b` over `length` frames that both give."""
    shares = [(k + 1) / (length + 1) for k in range(length)]
    blends = [cv2.addWeighted(x, 1 - s, y, s, 0) for x, y, s in zip(a[-length:], b, shares, strict=False)]
    return [*a[:-length], *blends, *b[length:]]


def fade_through_black(a: Sequence[Image], b: Sequence[Image], ramp: int, black: int) -> list[Image]:
    """Shot `a` darkening over its last frames, black, and `b` brightening over its first."""
    down = [cv2.convertScaleAbs(x, alpha=1 - (k + 1) / (ramp + 1)) for k, x in enumerate(a[-ramp:])]
    up = [cv2.convertScaleAbs(x, alpha=(k + 1) / (ramp + 1)) for k, x in enumerate(b[:ramp])]
    return [*a[:-ramp], *down, *([np.zeros_like(a[0])] * black), *up, *b[ramp:]]


def detect(detector: ShotDetector, images: Sequence[Image], times_ms: Sequence[int] | None = None) -> CutList:
    """Pushes all images, 40 ms apart unless told, and finishes."""
    for index, image in enumerate(images):
        detector.push(index, 40 * index if times_ms is None else times_ms[index], Picture(image))
    return detector.finish()


def frames_of(path: Path) -> Iterator[tuple[int, int, Image]]:
    """(index, milliseconds from the stream's start, BGR image) of a video."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        for index, frame in enumerate(container.decode(stream)):
            assert frame.pts is not None
            seconds = (frame.pts - (stream.start_time or 0)) * Fraction(frame.time_base)
            yield index, round(1000 * seconds), frame.to_ndarray(format="bgr24")


def write_video(path: Path, images: Sequence[Image], fps: Fraction, times: Sequence[int] | None = None) -> None:
    """Encodes images at a constant rate, or at the given times in ticks of 1/1000 s."""
    with av.open(path, "w") as output:
        stream = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
