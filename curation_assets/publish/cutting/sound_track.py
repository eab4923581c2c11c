"""The sound of an exported clip: encoded as AAC or copied, and written between its pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer

from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.sound_copy import CopiedSound

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_BITS_PER_CHANNEL = 64_000


def nearest_rate(wanted: int, rates: Sequence[int]) -> int:
    """Of the sample rates that a codec has the one next to `wanted`, Hz."""
    return min(rates, key=lambda r: (abs(r - wanted), r))


class SoundTrack:
    """The sound track of a file that is being written.

    Args:
        out: the file, before its header is written.
        stream: of the file.
    """

    def __init__(self, out: OutputContainer, stream: AudioStream) -> None:
        self._out, self._stream = out, stream
        self._waiting: deque[av.Packet] = deque()
        self._next_s: tuple[int, int] | None = None
        """When the first of them is decoded, numerator and denominator of seconds, once somebody has asked."""

    @classmethod
    def of(cls, out: OutputContainer, params: ClipExport, sound: ClipSound | None) -> SoundTrack | None:
        """A track that the sound of a video is encoded for; None if it has none that can be decoded."""
        stream = None if sound is None else sound.stream
        if stream is None or not stream.codec_context.sample_rate:
            return None
        wanted = params.audio_rate or stream.codec_context.sample_rate
        channels = 1 if stream.codec_context.channels == 1 else 2
        aac = nearest_rate(wanted, AAC_RATES)
        made = out.add_stream("aac", rate=aac, layout="mono" if channels == 1 else "stereo")
        made.codec_context.flags |= Flags.bitexact
        made.codec_context.bit_rate = AAC_BITS_PER_CHANNEL * channels
        return cls(out, made)

    @classmethod
    def copied(cls, out: OutputContainer, sound: ClipSound, copied: CopiedSound) -> SoundTrack:
        """A track with packets of the video's own."""
        assert sound.stream is not None
        track = cls(out, out.add_stream_from_template(sound.stream, opaque=True))
        track._stream.time_base = Fraction(1, copied.rate)
        for packet in copied.written():
            packet.stream = track._stream
            track._waiting.append(packet)
        return track

    @property
    def channels(self) -> int:
        """One or two."""
        return self._stream.codec_context.channels

    def encode(self, frames: Iterable[AudioFrame]) -> None:
        """Encodes all of the sound; it is kept until it is written."""
        for frame in frames:
            self._waiting.extend(self._stream.encode(frame))
        self._waiting.extend(self._stream.encode(None))

    def write(self, until: tuple[int, Fraction] | None = None) -> None:
        """Writes what is decoded at a time or before.

        Args:
            until: the time, ticks and seconds per tick; None for all that is left.
        """
        while self._waiting:
            if until is not None:
                ticks, base = until
                if self._next_s is None:
                    self._next_s = _time(self._waiting[0])
                if self._next_s[0] * base.denominator > ticks * base.numerator * self._next_s[1]:
                    return
            self._next_s = None
            self._out.mux(self._waiting.popleft())


def _time(packet: av.Packet) -> tuple[int, int]:
    ticks = packet.dts if packet.dts is not None else packet.pts or 0
    base = packet.time_base or Fraction(1, 1000)
    return ticks * base.numerator, base.denominator
