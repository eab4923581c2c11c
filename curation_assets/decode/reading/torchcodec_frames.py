"""RGB frames that torchcodec decodes, on the CPU or by a GPU's NVDEC, at the times that PyAV finds for them.

torchcodec (BSD) loads FFmpeg 4 to 8 from the system's shared libraries. It turns pictures by their display matrix and leaves out what an edit list hides, but
knows nothing of pixels that are not square, of interlaced pictures and of what a container cuts off. So the times of all frames and how they are shown
come from PyAV, by reading packets without decoding them; each frame that torchcodec gives must be of the time that it was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, BinaryIO

import cv2
import numpy as np

from curation_assets.decode.reading.clip_frames import ROUNDING_MS, ClipUnreadable, Image, on_screen
from curation_assets.decode.reading.media import Display, MediaError, OpenVideo
from curation_assets.decode.reading.rgb_frames import Decoder, NoDevice
from curation_assets.decode.reading.timeline import milliseconds
from curation_resources.words import plural

CONTAINERS = frozenset({"mov", "matroska"})
"""As FFmpeg names them. In MPEG-TS torchcodec 0.13 counts frames that it cannot find again; elsewhere times are made up."""
BATCH = 16
"""Frames that are asked for at a time."""


@cache
def load(decoder: Decoder) -> Any:
    """torchcodec's decoder, once it can work here.

    Raises:
        NoDevice: there is no GPU, or no FFmpeg.
    """
    import torch

    if decoder == "nvdec" and not torch.cuda.is_available():
        raise NoDevice(
            f"decoder nvdec needs a GPU that torch can use, and torch {torch.__version__} finds none here; take decoder torchcodec or pyav"
        )
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:
        raise NoDevice(
            f"decoder {decoder} cannot load torchcodec beside torch {torch.__version__}; it needs FFmpeg 4 to 8 as shared libraries (apt-get install ffmpeg) and a "
            f"torch that its version is built for: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"
        ) from error
    return VideoDecoder


@dataclass(frozen=True)
class DecodingFacts:
    """What PyAV says of a video.

    Attributes:
        ticks: at which its frames are shown, in that order.
        time_base: seconds per tick.
        zero: ticks at time 0.
        stream: number of the stream that players show.
        display: of the first picture; None if there is none.
        unfit: why torchcodec does not read it as players show it; None if it does.
    """

    ticks: Sequence[int]
    time_base: Fraction
    zero: int
    stream: int
    display: Display | None
    unfit: str | None


@dataclass(frozen=True)
class _NumberedFrame:
    """A frame that is not decoded yet: its number in order of display, and its time."""

    time_ms: int
    number: int


def facts_of(source: BinaryIO) -> DecodingFacts:
    """Reads the packets of a video, and decodes its first picture.

    Raises:
        ClipUnreadable: not a video that can be opened.
    """
    try:
        with OpenVideo(source) as video:
            ticks: list[int] = []
            first = None
            untimed = False
            for packet in video.packets():
                untimed = untimed or packet.pts is None
                if packet.pts is not None and not packet.is_discard:
                    ticks.append(packet.pts)
                if first is None:
                    first = next(iter(video.decode(packet)), None)
            if first is None:
                first = next(iter(video.decode(None)), None)
            display = None if first is None else video.display(first)
            unfit = None
            if not CONTAINERS & set(video.container.format.name.split(",")) or video.reordered or untimed:
                unfit = f"its container is {video.container.format.name}"
            elif first is None or display is None:
                unfit = "its first picture cannot be decoded"
            elif video.interlaced:
                unfit = "it is interlaced"
            elif display.orientation.mirrored:
                unfit = "its pictures are mirrored"
            elif video.cropped:
                unfit = "its container cuts its pictures off"
            elif video.context is not video.stream.codec_context or any(c.is_alpha for c in first.format.components):
                unfit = "it may be transparent"
            elif len(set(ticks)) != len(ticks):
                unfit = "several of its pictures are shown at one time"
            return DecodingFacts(sorted(ticks), video.time_base, video.zero_ticks, video.stream.index, display, unfit)
    except MediaError as error:
        raise ClipUnreadable(f"the video {error}") from error


class TorchcodecFrames:
    """As `rgb_frames.RgbFrames`.

    Args:
        source: at its start.
        facts: of it; it is fit.
        decoder: `torchcodec` or `nvdec`.

    Raises:
        ClipUnreadable: torchcodec cannot open it, or finds other frames.
    """

    def __init__(self, source: BinaryIO, facts: DecodingFacts, decoder: Decoder) -> None:
        self._facts = facts
        self._times = [milliseconds(t - facts.zero, facts.time_base) for t in facts.ticks]
        device = "cuda" if decoder == "nvdec" else "cpu"
        try:
            self._decoder = load(decoder)(
                source, stream_index=facts.stream, dimension_order="NHWC", num_ffmpeg_threads=1, device=device
            )
        except (RuntimeError, ValueError) as error:
            raise ClipUnreadable(f"the video cannot be opened by torchcodec: {error}") from error
        if len(self._decoder) != len(facts.ticks):
            raise ClipUnreadable(
                f"torchcodec finds {plural(len(self._decoder), 'frame')} in the video where there are {len(facts.ticks)}; take decoder pyav"
            )

    def frames(
        self, start_ms: int, end_ms: int, fps: float | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, Image]]:
        """As `rgb_frames.RgbFrames.frames` has it."""
        first, end = (int(np.searchsorted(self._times, t - ROUNDING_MS, side="left")) for t in (start_ms, end_ms))
        if first >= end:
            raise ClipUnreadable(f"the video has no frame between {start_ms} and {end_ms} ms; it may be shorter")
        inside = (_NumberedFrame(self._times[n], n) for n in range(first, end))
        shown = list(inside if fps is None else on_screen(inside, start_ms, end_ms, 1000 / fps))
        for at in range(0, len(shown), BATCH):
            some = shown[at : at + BATCH]
            for frame, image in zip(some, self._pictures([f.number for f in some]), strict=True):
                yield frame.time_ms, self._as_displayed(image, size)

    def _pictures(self, numbers: Sequence[int]) -> Any:
        """uint8 (n, h, w, 3), turned, in the pixels that are stored."""
        try:
            batch = self._decoder.get_frames_at(list(numbers))
        except (RuntimeError, IndexError) as error:
            raise MediaError(f"cannot be decoded by torchcodec: {error}") from error
        base = self._facts.time_base
        found = [round(Fraction(s) / base) for s in batch.pts_seconds.tolist()]
        if found != [self._facts.ticks[n] for n in numbers]:
            raise MediaError("is given at other times by torchcodec; take decoder pyav")
        return batch.data.cpu().numpy()

    def _as_displayed(self, image: Image, size: tuple[int, int] | None) -> Image:
        assert self._facts.display is not None
        width, height = size or self._facts.display.size
        if image.shape[:2] == (height, width):
            return image
        smaller = width <= image.shape[1] and height <= image.shape[0]
        return np.asarray(
            cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8
        )
