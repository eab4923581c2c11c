"""The sound of an exported clip as a file of its own, beside its pictures: m4a, mp3, wav, flac or opus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags

from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.publish.cutting.sound_track import AAC_BITS_PER_CHANNEL, AAC_RATES, nearest_rate


@dataclass(frozen=True)
class SoundFormat:
    """How a kind of file is made.

    Attributes:
        container, codec: as FFmpeg names them.
        rates: sample rates that the codec has, Hz; none are all.
        bits_per_channel: a second; None for codecs that lose nothing.
    """

    container: str
    codec: str
    rates: tuple[int, ...] = ()
    bits_per_channel: int | None = None


FORMATS: Mapping[str, SoundFormat] = {
    "m4a": SoundFormat("ipod", "aac", AAC_RATES, AAC_BITS_PER_CHANNEL),
    "mp3": SoundFormat("mp3", "libmp3lame", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), 64_000),
    "wav": SoundFormat("wav", "pcm_s16le"),
    "flac": SoundFormat("flac", "flac"),
    "opus": SoundFormat("opus", "libopus", (8000, 12000, 16000, 24000, 48000), 64_000),
}
"""By the ending of the file."""


def write_sound(sound: ClipSound, span: tuple[int, int], path: Path, rate: int | None = None) -> bool:
    """Writes the sound of [start_ms, end_ms), mono or stereo, to the sample: silence where it begins later or pauses. It ends where the video's sound does.

    Args:
        sound: of the video.
        span: start and end, milliseconds of the video.
        path: local file; its ending says the format.
        rate: sample rate, Hz; None is the source's. Of those that the codec has, the nearest is taken.

    Returns:
        Whether there is any; if not, no file is left.
    """
    if sound.stream is None or not sound.stream.codec_context.sample_rate:
        return False
    kind = FORMATS[path.suffix[1:]]
    own = rate or sound.stream.codec_context.sample_rate
    heard = _Counted(sound.frames(*span, from_start=True))
    with av.open(str(path), "w", format=kind.container, options={"fflags": "+bitexact"}) as out:
        wanted = nearest_rate(own, kind.rates) if kind.rates else own
        stream = out.add_stream(kind.codec, rate=wanted, layout="mono" if sound.channels == 1 else "stereo")
        assert isinstance(stream, AudioStream)
        stream.codec_context.flags |= Flags.bitexact
        if kind.bits_per_channel is not None:
            stream.codec_context.bit_rate = kind.bits_per_channel * sound.channels
        for frame in heard:
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    if not heard.samples:
        path.unlink(missing_ok=True)  # most containers write nothing before their first packet
    return heard.samples > 0


class _Counted:
    """Frames as they come, and how many samples they had."""

    def __init__(self, frames: Iterable[AudioFrame]) -> None:
        self.samples, self._frames = 0, frames

    def __iter__(self) -> Iterator[AudioFrame]:
        for frame in self._frames:
            self.samples += frame.samples
            yield frame
