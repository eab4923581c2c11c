"""The sound of one video: the samples or the packets of a span, placed to the sample where a player plays them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import BinaryIO, TypeVar, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from curation_assets.decode.reading.clip_frames import ClipReader

T = TypeVar("T")

WARM_UP_S = Fraction(1, 5)
"""Sound that is decoded before a clip, so that codecs that lean on earlier packets are right when it begins."""
EARLIER_S = (Fraction(0), Fraction(10))
JITTER_S = Fraction(1, 50)
"""Sound whose time is off by less follows the sound before without a gap: containers round times, some to milliseconds."""


class ClipSound:
    """The sound of one video. A context manager.

    Args:
        source: a seekable stream of its own, not shared with the reader of the pictures.
        zero_s: container time at which the video's times begin.
    """

    def __init__(self, source: BinaryIO | str, zero_s: Fraction) -> None:
        self._source, self._zero_s = source, zero_s
        self._open()

    def _open(self) -> None:
        if not isinstance(self._source, str):
            self._source.seek(0)
        self._container = av.open(self._source, metadata_errors="replace")
        self._at_start = True
        best = self._container.streams.best("audio")
        self.stream = best if isinstance(best, AudioStream) and best.codec_context is not None else None

    @classmethod
    def of(cls, source: BinaryIO) -> ClipSound:
        """The sound of a video whose pictures nobody else is reading.

        Raises:
            ClipUnreadable: not a video that can be opened.
        """
        with ClipReader(source) as reader:
            zero_s = reader.zero_ticks * reader.time_base
        source.seek(0)
        return cls(source, zero_s)

    @property
    def channels(self) -> int:
        """Channels that `frames` gives unless told otherwise: those of the track, at most two."""
        return min(2, self.stream.codec_context.channels) if self.stream is not None else 0

    @property
    def layout(self) -> str:
        """The track's channels as FFmpeg names them; six or eight unnamed ones are taken to be 5.1 or 7.1 in the order of WAVE files."""
        assert self.stream is not None
        name = self.stream.codec_context.layout.name
        return {"6 channels": "5.1", "8 channels": "7.1"}.get(name, name)

    def __enter__(self) -> ClipSound:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frames(
        self, start_ms: int, end_ms: int, channels: int | None = None, from_start: bool = False
    ) -> Iterator[AudioFrame]:
        """The samples within [start_ms, end_ms) as planar float frames of one or two channels, whose `pts` counts samples from `start_ms`.

        Gaps in the sound are silence. Sound that cannot be decoded ends where it breaks off.

        Args:
            from_start: whether what lies before sound that begins within the span is silence too, for files that have no times.
        """
        layout = "mono" if (channels or self.channels) == 1 else "stereo"
        assert self.stream is not None
        rate = self.stream.codec_context.sample_rate
        begun = not from_start
        for samples, place in self._placed(start_ms, end_ms, layout):
            if not begun:
                begun = True
                yield from (_sound(*silent, layout, rate) for silent in _silence(0, place, len(samples), rate))
            yield _sound(samples, place, layout, rate)

    def samples(self, start_ms: int, end_ms: int) -> Iterator[NDArray[np.float32]]:
        """The samples of all channels, in the order of `layout`, one piece after the other: float32 (channels, n)."""
        for samples, _ in self._placed(start_ms, end_ms, self.layout):
            yield samples

    def _placed(self, start_ms: int, end_ms: int, layout: str) -> Iterator[tuple[NDArray[np.float32], int]]:
        """Samples (channels, n) in `layout` and the place of the first, counted from `start_ms`."""
        assert self.stream is not None
        rate = self.stream.codec_context.sample_rate
        start, length = Fraction(start_ms, 1000), round(Fraction(end_ms - start_ms, 1000) * rate)
        channels = av.AudioLayout(layout).nb_channels
        at: int | None = None
        resampler: AudioResampler | None = None
        shape: tuple[str, int, str] | None = None
        for time_s, frame in self._from(start, self._decode):
            if frame.sample_rate != rate:
                continue
            if shape != (frame.format.name, frame.sample_rate, frame.layout.name):
                shape = (frame.format.name, frame.sample_rate, frame.layout.name)
                unnamed = frame.layout.name.endswith(" channels") and frame.layout.nb_channels == channels > 2
                resampler = AudioResampler("flt", frame.layout if unnamed else layout, rate)
            frame.pts = None
            assert resampler is not None
            # PyAV cannot read eight planes or more; samples of all channels in one plane it can.
            samples = np.concatenate(
                [f.to_ndarray().reshape(-1, channels).T for f in resampler.resample(frame)], axis=1
            )
            place = round((time_s - start) * rate)
            if at is not None:
                if abs(place - at) <= JITTER_S * rate:
                    place = at
                elif place > at:
                    yield from _silence(at, min(place, length), channels, rate)
            skipped = max(0, (at if at is not None else 0) - place)
            samples, place = samples[:, skipped:], place + skipped
            samples = samples[:, : max(0, length - place)]
            if samples.shape[1]:
                yield samples, place
                at = place + samples.shape[1]
            if place >= length or (at is not None and at >= length):
                return

    def packets(self, start_s: Fraction, end_s: Fraction) -> Iterator[tuple[Fraction, av.Packet]]:
        """The packets that begin within [start_s, end_s), with their times."""
        for time_s, packet in self._from(start_s, self._demux):
            if time_s >= end_s:
                return
            if time_s >= start_s:
                yield time_s, packet

    def _from(self, start: Fraction, read: Callable[[], Iterator[tuple[Fraction, T]]]) -> Iterator[tuple[Fraction, T]]:
        """What `read` gives, with its times, from a little before `start` on."""
        for earlier in EARLIER_S:
            target = start - WARM_UP_S - earlier
            if target <= 0:
                break
            try:
                self._seek(target)
            except av.FFmpegError:
                break
            found = read()
            head = next(found, None)
            if head is not None and head[0] <= start:
                yield head
                yield from found
                return
        if not self._at_start:
            self._container.close()
            self._open()
        yield from read()

    def _seek(self, time_s: Fraction) -> None:
        assert self.stream is not None
        self._at_start = False
        base = self.stream.time_base or Fraction(1, 1000)
        self._container.seek(int((time_s + self._zero_s) / base), stream=self.stream, backward=True)

    def _demux(self) -> Iterator[tuple[Fraction, av.Packet]]:
        self._at_start = False
        assert self.stream is not None
        base = self.stream.time_base or Fraction(1, 1000)
        per_tick, parts = base.numerator * self._zero_s.denominator, base.denominator * self._zero_s.denominator
        zero = self._zero_s.numerator * base.denominator
        try:
            for packet in self._container.demux(self.stream):
                if packet.size and packet.pts is not None:
                    yield Fraction(packet.pts * per_tick - zero, parts), packet
        except (av.FFmpegError, OSError):
            return

    def _decode(self) -> Iterator[tuple[Fraction, AudioFrame]]:
        self._at_start = False
        try:
            for packet in self._container.demux(self.stream):
                try:
                    frames = cast("list[AudioFrame]", packet.decode())
                except av.error.InvalidDataError:
                    continue
                for frame in frames:
                    if frame.pts is not None and frame.time_base:
                        yield Fraction(frame.pts) * frame.time_base - self._zero_s, frame
        except (av.FFmpegError, OSError):
            return


def _sound(samples: NDArray[np.float32], place: int, layout: str, rate: int) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, place, Fraction(1, rate)
    return frame


def _silence(at: int, until: int, channels: int, rate: int) -> Iterator[tuple[NDArray[np.float32], int]]:
    for place in range(at, until, rate):
        yield np.zeros((channels, min(rate, until - place)), np.float32), place
