"""The sound of an exported clip: encoded as AAC, and written between its pictures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.codec.context import Flags
from av.container import OutputContainer

from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.publish.clip_dataset import ClipExport

AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_BITS_PER_CHANNEL = 64_000


class SoundTrack:
    """The sound track of a file that is being written.

    Args:
        out: the file, before its header is written.
        params: sample rate.
        rate: samples per second of the sound that will come.
        channels: one or two.
    """

    def __init__(self, out: OutputContainer, params: ClipExport, rate: int, channels: int) -> None:
        wanted = params.audio_rate or rate
        aac = min(AAC_RATES, key=lambda r: (abs(r - wanted), r))
        layout = "mono" if channels == 1 else "stereo"
        self._out, self._stream = out, out.add_stream("aac", rate=aac, layout=layout)
        self._stream.codec_context.flags |= Flags.bitexact
        self._stream.codec_context.bit_rate = AAC_BITS_PER_CHANNEL * channels
        self.channels = channels
        self._waiting: deque[av.Packet] = deque()

    @classmethod
    def of(cls, out: OutputContainer, params: ClipExport, sound: ClipSound | None) -> SoundTrack | None:
        """The track for the sound of a video; None if it has none that can be decoded."""
        stream = None if sound is None else sound.stream
        if stream is None or not stream.codec_context.sample_rate:
            return None
        context = stream.codec_context
        return cls(out, params, context.sample_rate, 1 if context.channels == 1 else 2)

    def encode(self, frames: Iterable[AudioFrame]) -> None:
        """Encodes all of the sound; it is kept until it is written."""
        for frame in frames:
            self._waiting.extend(self._stream.encode(frame))
        self._waiting.extend(self._stream.encode(None))

    def write(self, until_s: Fraction | None = None) -> None:
        """Writes what is decoded at `until_s` seconds or before; all that is left if it is None."""
        while self._waiting and (until_s is None or _time(self._waiting[0]) <= until_s):
            self._out.mux(self._waiting.popleft())


def _time(packet: av.Packet) -> Fraction:
    ticks = packet.dts if packet.dts is not None else packet.pts or 0
    return ticks * (packet.time_base or Fraction(1, 1000))
