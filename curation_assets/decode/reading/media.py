"""Opening videos, and what the file says of how they are to be shown."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from curation_assets.decode.reading.avi_index import AviIndex
from curation_assets.decode.reading.beginning import Beginning
from curation_assets.decode.reading.fields import Deinterlacer
from curation_resources.container_crop import ContainerCrop, Cropper, container_crops
from curation_resources.orientation import UPRIGHT, Orientation
from curation_resources.probe import video_stream
from curation_resources.transparency import Opaque, alpha_decoder

Source = str | os.PathLike[str] | BinaryIO

MAX_ERRORS = 1000
"""Packets that may fail to decode before a video is given up; damaged streams often recover at the next key frame."""
HDR_TRANSFERS = frozenset({16, 18})
"""AVColorTransferCharacteristic: SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG)."""


CODED_ORDER = frozenset({"avi", "asf"})
"""Containers, as FFmpeg names them, whose packets have no times but those of their places, which are in the order of decoding."""


class MediaError(ValueError):
    """A video that cannot be decoded; the message is one sentence that says why."""


@dataclass(frozen=True)
class Display:
    """How the decoded picture is to be shown.

    Attributes:
        width, height: pixels of the decoded picture.
        orientation: how it is mirrored and turned for display.
        aspect: width over height of one stored pixel.
        hdr: whether the transfer function is PQ or HLG.
    """

    width: int
    height: int
    orientation: Orientation = UPRIGHT
    aspect: Fraction = Fraction(1)
    hdr: bool = False

    @staticmethod
    def of(frame: VideoFrame, aspect: Fraction | None) -> Display:
        """From a decoded frame and the pixel aspect that holds for it; one that is unknown or cannot be is square."""
        if not aspect or not Fraction(1, 16) <= aspect <= 16:
            aspect = Fraction(1)
        hdr = frame.color_trc in HDR_TRANSFERS
        return Display(frame.width, frame.height, Orientation.of(frame), Fraction(aspect), hdr)

    @cached_property
    def upright(self) -> tuple[int, int]:
        """Width and height in square pixels before rotation; the aspect is corrected by changing the width."""
        return max(1, round(self.width * self.aspect)), self.height

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as displayed: pixel aspect and rotation applied."""
        width, height = self.upright
        return (height, width) if self.orientation.sideways else (width, height)

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

    Args:
        source: path or seekable binary stream; a stream is not closed.
        deinterlace: whether interlaced frames are made into whole pictures.

    Raises:
        MediaError: it cannot be opened as media, or has no video stream but cover art.
    """

    def __init__(self, source: Source, *, deinterlace: bool = True) -> None:
        self._file = os.fspath(source) if isinstance(source, str | os.PathLike) else source
        if isinstance(self._file, str) and not Path(self._file).is_file():
            raise MediaError(f"{self._file} is not there")
        self.errors = 0
        self.error: str | None = None
        self.deinterlacer = Deinterlacer() if deinterlace else None
        self._cropper: Cropper | None = None
        self._beginning = Beginning(deque())
        self._index: AviIndex | None = None
        self._delay = 0
        self._first: int | None = None
        self._sent: deque[int] = deque()
        self._shape: tuple[int, int, Fraction | None] | None = None
        self._display: Display
        self._open()
        self._opaque = Opaque(idle=self.container.format.name == "avi")
        if crop := self._container_crop():
            self._cropper = Cropper(crop)
        self.time_base: Fraction = self.stream.time_base or Fraction(1, 1000)
        self._stated = self.context.sample_aspect_ratio
        if self.container.format.name == "avi":
            self._index = AviIndex(self.stream)
        if "matroska" in self.container.format.name:
            self._beginning = Beginning.of(self.packets(), max(1, round(1 / self.rate / self.time_base)))
            self._first = self._beginning.first
        if self.container.format.name in CODED_ORDER and self.context.has_b_frames:
            self._delay = self._late_packets()
            self.rewind()

    def _open(self) -> None:
        if not isinstance(self._file, str):
            self._file.seek(0)
        try:
            self.container: InputContainer = av.open(self._file, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            if isinstance(error, MemoryError):
                raise MemoryError(reason(error)) from error
            raise MediaError(f"cannot be opened as media: {reason(error)}") from error
        try:
            self.stream = self._choose()
            self._alpha = alpha_decoder(self.stream)
            self.context.thread_count = 1
            # Otherwise the decoder shows columns that a stream cuts off on the left, as far as memory is aligned.
            self.context.flags |= Flags.unaligned
        except BaseException:
            self.container.close()
            raise

    def _container_crop(self) -> ContainerCrop | None:
        """What the container shows of the stream's pictures."""
        if isinstance(self._file, str):
            with open(self._file, "rb") as file:
                crops = container_crops(file)
        else:
            at = self._file.tell()
            crops = container_crops(self._file)
            self._file.seek(at)
        place = self.container.streams.video.index(self.stream)
        return crops[place] if place < len(crops) else None

    def _late_packets(self) -> int:
        """How many packets after its own went in the first frame leaves the decoder.

        What FFmpeg makes up for their times puts frames in the wrong places.
        """
        for late, packet in enumerate(self.packets()):
            self._first = packet.dts if self._first is None else self._first
            if self.decode(packet):
                return late
        return 0

    @property
    def reordered(self) -> bool:
        """Whether the packets' presentation times are made up, as for AVI and ASF with B-frames; those of decoded frames hold."""
        return self._delay > 0

    @property
    def cropped(self) -> bool:
        """Whether the container shows only part of the stream's pictures."""
        return self._cropper is not None

    @property
    def listed(self) -> Iterable[int]:
        """Decoding ticks of all packets that the file's index lists, where it is needed to know that some are missing."""
        return () if self._index is None else self._index.listed

    @property
    def interlaced(self) -> bool:
        """Whether frames are being deinterlaced, each with the help of its neighbours."""
        return self.deinterlacer is not None and self.deinterlacer.active

    def seek(self, ticks: int) -> None:
        """Goes to a key frame at or before `ticks`, as well as the container can.

        Raises:
            FFmpegError: the container cannot be moved in.
        """
        self.container.seek(ticks, stream=self.stream, backward=True, any_frame=False)
        self._forget(at_start=False)

    def rewind(self) -> None:
        """Goes to the very first packet. Seeking to the start fails in FLV without an index and passes over packets in MPEG-TS."""
        options = self.context.options
        threads = self.context.thread_count, self.context.thread_type
        self.container.close()
        self._open()
        self.context.options = options
        self.context.thread_count, self.context.thread_type = threads
        self._forget(at_start=True)

    def _forget(self, *, at_start: bool) -> None:
        self._beginning.restart(at_start=at_start)
        self._sent.clear()
        self.context.flush_buffers()
        if self.deinterlacer is not None:
            self.deinterlacer.reset()

    def display(self, frame: VideoFrame) -> Display:
        """How a frame that was just decoded is shown; one object as long as nothing changes."""
        if self._shape is not None and not frame.key_frame and (frame.width, frame.height) == self._shape[:2]:
            return self._display
        aspect = self.context.sample_aspect_ratio
        shape = (frame.width, frame.height, aspect)
        if shape != self._shape:
            self._shape = shape
            # What the container says holds for all of it; what the pictures say may change from one to the next.
            stated = (self.stream.sample_aspect_ratio or aspect) if aspect == self._stated else aspect
            self._display = Display.of(frame, stated)
        return self._display

    def was_interlaced(self, frame: VideoFrame) -> bool:
        """Whether a frame that was just decoded is, or was before it was deinterlaced, interlaced. To be asked once."""
        if self.deinterlacer is None or not self.deinterlacer.active:
            return frame.interlaced_frame
        known = frame.pts in self.deinterlacer.fields
        self.deinterlacer.fields.discard(frame.pts)
        return known

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
        return self._alpha or self.stream.codec_context

    @property
    def alpha_beside(self) -> bool:
        """Whether frames were decoded whose alpha channel lies beside the pictures, as in WebM, so that copied packets lack it."""
        return self._alpha is not None and self._opaque.changed

    @property
    def start_ticks(self) -> int:
        """The container's start in ticks of the stream if it is positive, else 0: the zero of times (see `timeline`).

        That of MPEG-TS may be negative: its clock wraps every 26.5 hours, and FFmpeg counts back from there.
        """
        start = self.container.start_time
        if start is None or (start <= 0 and self.container.format.name != "mpegts"):
            return 0
        return round(Fraction(start, av.time_base) / self.time_base)

    @property
    def zero_ticks(self) -> int:
        """Ticks of the stream at time 0: its start as above, or the first frame if that is earlier."""
        if self.reordered and self.container.start_time is None and self._first is not None:
            return self._first
        first = self.stream.start_time if self._first is None else self._first
        return self.start_ticks if first is None else min(self.start_ticks, first)

    @property
    def end_ticks(self) -> int | None:
        """Where the index of an MP4 or QuickTime file says that the pictures end, edit lists applied; None for other containers.

        Its packets have durations too, but in the order of decoding, so that the last of them need not be that of the last frame shown.
        """
        if "mov" not in self.container.format.name or not self.stream.duration or self.stream.duration <= 0:
            return None
        return (self.stream.start_time or 0) + self.stream.duration

    @property
    def rate(self) -> Fraction:
        """The frame rate that the file states, or 25 if it states none that can be."""
        for rate in (self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate):
            if rate and 0 < rate <= 100_000:
                return rate
        return Fraction(25)

    def packets(self) -> Iterator[av.Packet]:
        """The packets of the stream in the file's order, ending where the file ends or can be read no further."""
        while self._beginning.packets:
            yield self._beginning.packets.popleft()
        # Without B-frames AVI's pictures are shown in their order; FFmpeg may count H.264's from the second on.
        as_coded = self._index is not None and not self.context.has_b_frames
        try:
            for packet in self.container.demux(self.stream):
                if packet.size:
                    if self._index is not None:
                        self._index.time(packet)
                    if as_coded and packet.dts is not None:
                        packet.pts = packet.dts
                    yield packet
        except (av.FFmpegError, OSError) as error:
            self.note(error)

    def decode(self, packet: av.Packet | None, context: VideoCodecContext | None = None) -> list[VideoFrame]:
        """The frames that `packet` completes, without transparency; None drains the decoder. A damaged packet gives none and is counted.

        Frames of another `context` are given as they come, in its order and with its fields.

        Raises:
            MediaError: there were more than `MAX_ERRORS` of them.
        """
        try:
            frames = (context or self.context).decode(packet)
        except av.error.EOFError:
            frames = []
        except (av.FFmpegError, ValueError) as error:
            self.note(error)
            if self.errors > MAX_ERRORS:
                raise MediaError(f"more than {MAX_ERRORS} damaged packets: {self.error}") from error
            frames = []
        frames = [self._opaque(frame) for frame in frames]
        if self._cropper is not None:
            frames = [self._cropper(frame) for frame in frames]
        if context is not None:
            return frames
        if self._delay:
            self._time_by_order(packet, frames)
        elif self._beginning.untimed:
            self._beginning.time(frames)
        if self.deinterlacer is None:
            return frames
        return self.deinterlacer(frames, last=packet is None)

    def _time_by_order(self, packet: av.Packet | None, frames: list[VideoFrame]) -> None:
        """Gives frames the times of the packets in whose place they are shown: of the packet so many before the one that brought them."""
        if packet is not None and packet.dts is not None:
            self._sent.append(packet.dts)
            while len(self._sent) > self._delay + 1:
                self._sent.popleft()
        for frame in frames:
            frame.duration = 0
            frame.pts = self._sent.popleft() if self._sent else None

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
