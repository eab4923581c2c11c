"""The frames of a clip, decoded from the source video it was never cut out of.

A kept clip of a long video costs its own length: the reader seeks to the key frame before it and stops at its end. Frames come with
their exact presentation times, either all of them or those on screen at regular moments, which is exact for variable frame rates.

What belongs here: seeking, timing, orientation. What does not: what is done with the frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from curation_assets.stages.decode.timeline import milliseconds

Image = NDArray[np.uint8]

ROUNDING_MS = 1
"""Two roundings of one presentation time differ by at most this; a frame belongs to the clip that begins within it."""
EARLIER_MS = (0, 2_000, 10_000)
"""How much before a clip the reader seeks, one after the other, until a frame at or before its start comes out; then from zero."""


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
    frame: av.VideoFrame


class ClipReader:
    """Reads clips of one video. A context manager; clips are best read in order of time.

    Args:
        source: a seekable binary stream (`Storage.open_media`) or a path. A stream is not closed.
        threads: decoder threads.

    Raises:
        ClipUnreadable: not a video that can be opened.
    """

    def __init__(self, source: BinaryIO | str, *, threads: int = 1) -> None:
        try:
            self._container = av.open(source, metadata_errors="replace")
            self._stream = self._container.streams.video[0]
        except (av.error.FFmpegError, IndexError) as error:
            raise ClipUnreadable(f"the video cannot be opened ({_reason(error)})") from error
        self._stream.codec_context.thread_count = threads
        self._stream.codec_context.thread_type = "FRAME" if threads > 1 else "NONE"
        self._origin = Fraction(max(0, self._container.start_time or 0), av.time_base)
        self._scaler = av.video.reformatter.VideoReformatter()
        self._moved = False
        self.frames_decoded = 0

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._container.close()

    def frames(self, start_ms: int, end_ms: int, fps: float | None = None) -> Iterator[ClipFrame]:
        """The frames of the clip [start_ms, end_ms).

        Args:
            fps: None gives every frame. Otherwise the frames on screen at start, start + 1/fps, start + 2/fps, ... are given, each
                once, with their own times; where the video has fewer frames per second, each of its frames.

        Raises:
            ClipUnreadable: not one frame could be decoded.
        """
        frames = self._between(start_ms, end_ms)
        return frames if fps is None else _on_screen(frames, start_ms, end_ms, 1000 / fps)

    def rgb(self, frame: ClipFrame, size: tuple[int, int] | None = None) -> Image:
        """uint8 (h, w, 3): red, green, blue, as displayed: turned, and stretched by the sample aspect ratio.

        Args:
            size: displayed width and height; None is the video's own.
        """
        turns = round(frame.frame.rotation / 90) % 4
        if size is None:
            aspect = self._stream.sample_aspect_ratio or Fraction(1)
            width, height = max(1, round(frame.frame.width * aspect)), frame.frame.height
        else:
            width, height = size[::-1] if turns % 2 else size
        picture = self._scaler.reformat(frame.frame, width, height, "rgb24", interpolation="AREA").to_ndarray()
        return np.ascontiguousarray(np.rot90(picture, turns))

    def _between(self, start_ms: int, end_ms: int) -> Iterator[ClipFrame]:
        first, last = start_ms - ROUNDING_MS, end_ms - ROUNDING_MS
        found = False
        for frame in self._from(first):
            if frame.time_ms >= last:
                break
            if frame.time_ms >= first:
                found = True
                yield frame
        if not found:
            raise ClipUnreadable(f"no frame can be decoded between {start_ms} and {end_ms} ms; the file may be damaged or shorter")

    def _from(self, time_ms: int) -> Iterator[ClipFrame]:
        """Frames from the last key frame at or before `time_ms` on."""
        if not self._moved and time_ms <= 0:
            yield from self._decode()
            return
        for earlier in EARLIER_MS:
            if time_ms - earlier <= 0:
                break
            try:
                self._seek(time_ms - earlier)
            except av.error.FFmpegError:
                break
            frames = self._decode()
            head = next(frames, None)
            if head is not None and head.time_ms <= time_ms:
                yield head
                yield from frames
                return
        self._seek(0)
        yield from self._decode()

    def _seek(self, time_ms: int) -> None:
        seconds = Fraction(time_ms, 1000) + self._origin if time_ms else Fraction(0)
        base = self._stream.time_base
        self._container.seek(int(seconds / base), stream=self._stream, backward=True, any_frame=False)
        self._moved = True

    def _decode(self) -> Iterator[ClipFrame]:
        """Frames in display order; undecodable packets are passed over, and a broken end ends the video."""
        packets = self._container.demux(self._stream)
        self._moved = True
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                return
            if packet is None:
                return
            try:
                decoded: list[Any] = packet.decode()
            except av.error.FFmpegError:
                continue
            for frame in decoded:
                ticks = frame.pts if frame.pts is not None else frame.dts
                if ticks is None:
                    continue
                self.frames_decoded += 1
                base = Fraction(frame.time_base or self._stream.time_base)
                yield ClipFrame(milliseconds_since(ticks, base, self._origin), frame)


def milliseconds_since(ticks: int, base: Fraction, origin: Fraction) -> int:
    """`ticks` of `base` seconds in milliseconds after `origin` seconds, rounded half up."""
    return milliseconds(1, ticks * base - origin)


def _on_screen(frames: Iterator[ClipFrame], start_ms: int, end_ms: int, step_ms: float) -> Iterator[ClipFrame]:
    """Those of `frames` that are shown at start_ms + k * step_ms; needs one frame ahead, because a frame lasts until the next."""
    showing: ClipFrame | None = None
    step = 0
    for frame in frames:
        until = frame.time_ms - ROUNDING_MS
        if showing is not None and start_ms + step * step_ms < until:
            yield showing
            step = max(step + 1, int(np.ceil((until - start_ms) / step_ms)))
        showing = frame
    if showing is not None and start_ms + step * step_ms < end_ms:
        yield showing


def _reason(error: BaseException) -> str:
    return "no video stream" if isinstance(error, IndexError) else str(error).split(":")[0][:200]
