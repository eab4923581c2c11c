"""The frames of a clip, decoded from the source video it was never cut out of.

A kept clip of a long video costs its own length: the reader seeks to the key frame before it and stops at its end; what follows
closely is read on from there. Frames come with their exact presentation times, either all of them or those on screen at regular
moments, which is exact for variable frame rates.

What belongs here: seeking, timing, orientation. What does not: what is done with the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from types import TracebackType
from typing import BinaryIO, Protocol, TypeVar

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from curation_assets.decode.reading.media import Display, MediaError, OpenVideo
from curation_assets.decode.reading.timeline import milliseconds

Image = NDArray[np.uint8]

ROUNDING_MS = 1
"""Two roundings of one presentation time differ by at most this; a frame belongs to the clip that begins within it."""
EARLIER_MS = (0, 2_000, 10_000)
"""How much before a clip the reader seeks, one after the other, until a frame at or before its start comes out; then from zero."""
SAME_RATE = Fraction(1, 1000)
"""Share by which the mean rate that a file states may differ from the rate that fits the times of its first frames."""
JOIN_MS = 3_000
"""Clips that are no further apart are read in one go: about the distance of key frames, from which a seek would have to begin."""


class ClipUnreadable(RuntimeError):
    """A clip of which no frame can be decoded; the message says what was wanted and why it failed."""


@dataclass(frozen=True)
class ClipFrame:
    """A decoded frame.

    Attributes:
        time_ms: presentation time in the video, as in the tables `clips` and `frames`.
        frame: the frame as the decoder made it, not yet turned for display.
    """

    time_ms: int
    frame: VideoFrame


def constant_rate(stream: VideoStream) -> Fraction | None:
    """The rate at which the frames of a file seem to come, one after the other; None if their rate varies."""
    rate, mean = stream.base_rate, stream.average_rate
    return rate if rate and mean and abs(mean / rate - 1) < SAME_RATE else None


class ClipReader:
    """Reads clips of one video. A context manager; clips are best read in order of time.

    Args:
        source: a seekable binary stream (`Storage.open_media`) or a path. A stream is not closed.
        threads: decoder threads.
        deinterlace: whether interlaced frames are made into whole pictures.

    Raises:
        ClipUnreadable: not a video that can be opened.
    """

    def __init__(self, source: BinaryIO | str, *, threads: int = 1, deinterlace: bool = True) -> None:
        try:
            self._video = OpenVideo(source, deinterlace=deinterlace)
        except MediaError as error:
            raise ClipUnreadable(f"the video {error}") from error
        self._video.context.thread_count = threads
        self._video.context.thread_type = "FRAME" if threads > 1 else "NONE"
        self._zero = self._video.zero_ticks
        self._scaler = VideoReformatter()
        self._size: tuple[int, int] | None = None
        self._moved = False
        self._frames = self._decode()
        self._ahead: ClipFrame | None = None
        """The frame that ended the last clip: the first one at or after `_read_to`."""
        self._read_to = 0
        self.frames_decoded = 0

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._video.close()

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick of the frames' `pts`."""
        return self._video.time_base

    @property
    def zero_ticks(self) -> int:
        """Ticks of the stream at time 0."""
        return self._zero

    @property
    def rate(self) -> Fraction:
        """Frame rate that the file states, or 25."""
        return self._video.rate

    @property
    def constant_rate(self) -> Fraction | None:
        """The rate at which the file's frames seem to come, one after the other; None if their rate varies."""
        return constant_rate(self._video.stream)

    def display(self, frame: VideoFrame) -> Display:
        """How the frame that was given last is shown."""
        return self._video.display(frame)

    def frames(self, start_ms: int, end_ms: int, fps: float | None = None) -> Iterator[ClipFrame]:
        """The frames of the clip [start_ms, end_ms).

        Args:
            fps: None gives every frame. Otherwise the frames on screen at start, start + 1/fps, start + 2/fps, ... are given, each
                once, with their own times; where the video has fewer frames per second, each of its frames.

        Raises:
            ClipUnreadable: not one frame could be decoded.
            MediaError: too many damaged packets.
        """
        frames = self._between(start_ms, end_ms)
        return frames if fps is None else on_screen(frames, start_ms, end_ms, 1000 / fps)

    def rgb(self, frame: ClipFrame, size: tuple[int, int] | None = None) -> Image:
        """uint8 (h, w, 3): red, green, blue, as displayed: turned, and stretched by the sample aspect ratio.

        Args:
            frame: the one that was given last.
            size: displayed width and height; None is that of the first frame asked for.
        """
        display = self.display(frame.frame)
        self._size = self._size or display.size
        size = size or self._size
        width, height = size[::-1] if display.orientation.sideways else size
        picture = self._scaler.reformat(frame.frame, width, height, "rgb24", interpolation="AREA").to_ndarray()
        return np.ascontiguousarray(display.orientation.turn(picture))

    def _between(self, start_ms: int, end_ms: int) -> Iterator[ClipFrame]:
        first, last = start_ms - ROUNDING_MS, end_ms - ROUNDING_MS
        found = False
        for frame in self._from(first):
            if frame.time_ms >= last:
                self._ahead, self._read_to = frame, last
                break
            if frame.time_ms >= first:
                found = True
                yield frame
        if not found:
            raise ClipUnreadable(
                f"no frame can be decoded between {start_ms} and {end_ms} ms; the file may be damaged or shorter"
            )

    def _from(self, time_ms: int) -> Iterator[ClipFrame]:
        """Frames from `time_ms` on, and those before it that have to be decoded on the way."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and 0 <= time_ms - self._read_to <= JOIN_MS:
            return chain([ahead], self._frames)
        if not self._moved and time_ms <= 0:
            return self._frames
        for earlier in EARLIER_MS:
            if time_ms - earlier <= 0:
                break
            try:
                self._seek(time_ms - earlier)
            except av.FFmpegError:
                break
            head = next(self._frames, None)
            if head is not None and head.time_ms <= time_ms:
                return chain([head], self._frames)
        self._video.rewind()
        self._frames = self._decode()
        return self._frames

    def _seek(self, time_ms: int) -> None:
        self._video.seek(int(Fraction(time_ms, 1000) / self._video.time_base) + self._zero)
        self._frames = self._decode()

    def _decode(self) -> Iterator[ClipFrame]:
        """Frames in display order from where the reader stands to the end of the video."""
        self._moved = True
        for packet in chain(self._video.packets(), (None,)):
            for frame in self._video.decode(packet):
                ticks = frame.pts if frame.pts is not None else frame.dts
                if ticks is None:
                    continue
                self.frames_decoded += 1
                yield ClipFrame(milliseconds(ticks - self._zero, self._video.time_base), frame)


class Timed(Protocol):
    """What is shown at a time."""

    @property
    def time_ms(self) -> int: ...


T = TypeVar("T", bound=Timed)


def on_screen(frames: Iterator[T], start_ms: int, end_ms: int, step_ms: float) -> Iterator[T]:
    """Those of `frames` that are shown at start_ms + k * step_ms; needs one frame ahead, because a frame lasts until the next."""
    showing: T | None = None
    step = 0
    for frame in frames:
        until = frame.time_ms - ROUNDING_MS
        if showing is not None and start_ms + step * step_ms < until:
            yield showing
            step = max(step + 1, int(np.ceil((until - start_ms) / step_ms)))
        showing = frame
    if showing is not None and start_ms + step * step_ms < end_ms:
        yield showing
