"""Opening videos, and what the file says of how they are to be shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import av
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from resources.probe import video_stream

Source = str | os.PathLike[str] | BinaryIO

MAX_ERRORS = 1000
"""Packets that may fail to decode before a video is given up; damaged streams often recover at the next key frame."""
HDR_TRANSFERS = frozenset({16, 18})
"""AVColorTransferCharacteristic: SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG)."""


class MediaError(ValueError):
    """A video that cannot be decoded; the message is one sentence that says why."""


@dataclass(frozen=True)
class Display:
    """How the decoded picture is to be shown.

    Attributes:
        width, height: pixels of the decoded picture.
        rotation: clockwise degrees by which it is turned for display: 0, 90, 180 or 270.
        aspect: width over height of one stored pixel.
        hdr: whether the transfer function is PQ or HLG.
    """

    width: int
    height: int
    rotation: int = 0
    aspect: Fraction = Fraction(1)
    hdr: bool = False

    @staticmethod
    def of(frame: VideoFrame, stream: VideoStream) -> Display:
        """From the first decoded frame; rotations are rounded to quarter turns, an unknown pixel aspect is square."""
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
        if not Fraction(1, 16) <= aspect <= 16:
            aspect = Fraction(1)
        rotation = round(-frame.rotation / 90) * 90 % 360
        return Display(frame.width, frame.height, rotation, aspect, frame.color_trc in HDR_TRANSFERS)

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height in square pixels before rotation; the aspect is corrected by changing the width."""
        return max(1, round(self.width * self.aspect)), self.height

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as displayed: pixel aspect and rotation applied."""
        width, height = self.upright
        return (height, width) if self.rotation in (90, 270) else (width, height)

    def fit(self, *, long_side: int | None = None, short_side: int | None = None) -> tuple[int, int]:
        """Width and height, before rotation, of the upright picture made no larger than asked; never enlarged."""
        width, height = self.upright
        scale = 1.0
        if long_side is not None:
            scale = min(scale, long_side / max(width, height))
        if short_side is not None:
            scale = min(scale, short_side / min(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))


class OpenVideo:
    """An open container and the video stream that a player would show.

    Raises:
        MediaError: it cannot be opened as media, or has no video stream but cover art.
    """

    def __init__(self, source: Source) -> None:
        file = os.fspath(source) if isinstance(source, str | os.PathLike) else source
        if not isinstance(file, str):
            file.seek(0)
        elif not Path(file).is_file():
            raise MediaError(f"{file} is not there")
        try:
            self.container: InputContainer = av.open(file, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, MemoryError):
                raise MemoryError(reason(error)) from error
            raise MediaError(f"cannot be opened as media: {reason(error)}") from error
        try:
            self.stream = self._choose()
            self.context.thread_count = 1
        except BaseException:
            self.container.close()
            raise
        self.time_base: Fraction = self.stream.time_base or Fraction(1, 1000)
        self.errors = 0
        self.error: str | None = None

    def _choose(self) -> VideoStream:
        stream: VideoStream | None = video_stream(self.container)
        if stream is None:
            audio = " (it has sound only)" if self.container.streams.audio else ""
            raise MediaError(f"has no video stream{audio}")
        if stream.codec_context is None:
            raise MediaError("its video has a codec that is unknown to FFmpeg")
        return stream

    @property
    def context(self) -> VideoCodecContext:
        return self.stream.codec_context

    @property
    def start_ticks(self) -> int:
        """The container's start in ticks of the stream if it is positive, else 0: the zero of times (see `timeline`)."""
        start = self.container.start_time
        return 0 if start is None or start <= 0 else round(Fraction(start, av.time_base) / self.time_base)

    @property
    def rate(self) -> Fraction:
        """The frame rate that the file states, or 25 if it states none that can be."""
        for rate in (self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate):
            if rate and 0 < rate <= 100_000:
                return rate
        return Fraction(25)

    def packets(self) -> Iterator[av.Packet]:
        """The packets of the stream in the file's order, ending where the file ends or can be read no further."""
        try:
            for packet in self.container.demux(self.stream):
                if packet.size:
                    yield packet
        except (av.FFmpegError, OSError) as error:
            self.note(error)

    def decode(self, packet: av.Packet | None, context: VideoCodecContext | None = None) -> list[VideoFrame]:
        """The frames that `packet` completes; None drains the decoder. A damaged packet gives none and is counted.

        Raises:
            MediaError: there were more than `MAX_ERRORS` of them.
        """
        try:
            return (context or self.context).decode(packet)
        except av.error.EOFError:
            return []
        except (av.FFmpegError, ValueError) as error:
            self.note(error)
            if self.errors > MAX_ERRORS:
                raise MediaError(f"more than {MAX_ERRORS} damaged packets: {self.error}") from error
            return []

    def note(self, error: Exception) -> None:
        """Counts a damaged packet.

        Raises:
            MemoryError: it is the machine's fault, not the packet's.
        """
        if isinstance(error, MemoryError):
            raise MemoryError(reason(error)) from error
        self.errors += 1
        self.error = self.error or reason(error)

    def close(self) -> None:
        self.container.close()

    def __enter__(self) -> OpenVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def reason(error: BaseException) -> str:
    """What went wrong, without the address of the file and the name of the failing call."""
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
