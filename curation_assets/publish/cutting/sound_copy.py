"""Sound that is copied into a clip: packets of AAC or MP3 with those before that they lean on, and proof that they arrived.

A packet of AAC-LC gives 1024 samples and leans on the one before it and on no other (ISO/IEC 14496-3 4.6.11: windows overlap by half). One of MP3 gives
1152 or 576, leans on the one before it in the same way, and its data may begin in earlier ones (`mp3_packets.py`). So a clip gets the packets
that have samples of its span, and those before them; what lies before the span is hidden by the edit list that hides an encoder's first samples
elsewhere. What belongs here: which packets, and what rules copying out. What does not: writing them (`sound_track.py`).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from curation_assets.decode.reading.clip_sound import JITTER_S, ClipSound
from curation_assets.decode.reading.timeline import nearest
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.coded_units import Bits
from curation_assets.publish.cutting.mp3_packets import begun, opening, samples_of
from curation_assets.publish.cutting.seam_check import SeamFault
from curation_assets.publish.cutting.unit_packing import has_beside

OPENING = 3
"""Packets that are decoded to see how the sound begins, beside those that are wholly hidden: one of which a part is, and two that are not."""
COMPARED = 4
"""Packets of the span whose samples are compared with the source's."""
MP3 = frozenset({"mp3float", "mp3"})
"""As FFmpeg names its decoders."""
LEAST_MP3_RATE = 16000
"""Lower ones are none that mp4 has by its standard (ISO/IEC 14496-3 of MPEG-2 has no others)."""
MOST_BEFORE = 6
"""Packets of MP3 before a span, 0.16 s at 44.1 kHz: one, and those that hold its data."""
LC = 2
"""Audio object type of AAC-LC (ISO/IEC 14496-3 1.5.1.1)."""
RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Samples per second by index (ISO/IEC 14496-3 1.6.3.4)."""
SPECTRAL_EXTENSION = 0x2B7
"""Announces that the sound has twice the rate for those who understand it (ISO/IEC 14496-3 1.6.5.1)."""


@dataclass(frozen=True)
class _Kind:
    """A codec whose packets can be copied.

    Attributes:
        samples: of a packet.
        most_before: packets before the span that may be needed.
        opening: those of the packets before the span that are, as they are written; None if there is no telling.
        begun: what goes before the file's first packet; None if that leans on what the file lacks.
    """

    samples: int
    most_before: int
    opening: Callable[[Sequence[bytes]], list[bytes] | None]
    begun: Callable[[bytes], list[bytes] | None]


@dataclass(frozen=True)
class CopiedSound:
    """The packets of a clip's sound.

    Attributes:
        packets: bytes of each.
        first: place of the first one's first sample, counted from the clip's start; 0 or less.
        length: samples of the clip.
        rate: samples per second.
        samples: of a packet.
    """

    packets: Sequence[bytes]
    first: int
    length: int
    rate: int
    samples: int

    def written(self) -> list[av.Packet]:
        """The packets for a muxer, in samples from the clip's start. The last one ends with the clip."""
        made, base = [], Fraction(1, self.rate)
        for number, data in enumerate(self.packets):
            packet = av.Packet(data)
            place = self.first + self.samples * number
            packet.pts = packet.dts = place
            packet.duration, packet.time_base = min(self.samples, self.length - place), base
            packet.is_keyframe = True
            made.append(packet)
        return made

    def check(self, path: Path) -> None:
        """Reads the sound of a file back.

        Raises:
            SeamFault: it is another.
        """
        with av.open(str(path)) as media:
            stream = media.streams.audio[0]
            self.hear(stream, [p for p in media.demux(stream) if p.size])

    def hear(self, stream: AudioStream, found: Sequence[av.Packet]) -> None:
        """Looks at the sound of a file: its track, which nobody decoded yet, and all packets of it.

        Raises:
            SeamFault: it is another.
        """
        places = [self.first + self.samples * n for n in range(len(self.packets))]
        if stream.time_base != Fraction(1, self.rate) or [p.pts for p in found] != places:
            raise SeamFault("its sound is not heard at its times")
        if any(bytes(p) != given for p, given in zip(found, self.packets, strict=True)):
            raise SeamFault("a packet of its sound is not the one that was given")
        hidden = -self.first if self.first < 0 else 0
        heard: list[AudioFrame] = []
        looked = found[: hidden // self.samples + OPENING]
        for packet in looked:
            heard += cast("list[AudioFrame]", packet.decode())
        samples = len(looked) * self.samples - hidden
        shapes = {(f.sample_rate, f.layout.nb_channels) for f in heard}
        if sum(f.samples for f in heard) != samples or (heard and heard[0].pts != 0):
            raise SeamFault("its sound does not begin at 0")
        if shapes != {(self.rate, stream.codec_context.channels)}:
            raise SeamFault("its sound is not what the file says")


def copied_sound(sound: ClipSound, cut: ClipToCut, params: ClipExport) -> CopiedSound | None:
    """The packets of a clip's sound if they can be copied; None if it must be encoded: other codecs, rates and channels than the clip is to have,
    and sound with gaps, with samples hidden within the clip, that begins after the clip, or that is damaged: a reader would stumble over it."""
    stream = sound.stream
    kind = None if stream is None else _kind(stream, params)
    if stream is None or kind is None:
        return None
    rate = stream.codec_context.sample_rate
    start, length = Fraction(cut.start_ms, 1000), round(Fraction(cut.end_ms - cut.start_ms, 1000) * rate)
    earlier: deque[tuple[int, av.Packet]] = deque(maxlen=kind.most_before)
    before: list[bytes] = []
    packets: list[bytes] = []
    first = at = 0
    jitter = JITTER_S * rate
    reach = (kind.most_before + 3) * kind.samples
    for time_s, packet in sound.packets(start - Fraction(reach, rate), Fraction(cut.end_ms, 1000)):
        away = time_s.numerator * start.denominator - start.numerator * time_s.denominator
        place = nearest(away * rate, time_s.denominator * start.denominator)
        if not packets and place + kind.samples <= 0:
            if earlier and abs(earlier[-1][0] + kind.samples - place) > jitter:
                earlier.clear()
            earlier.append((place, packet))
            continue
        if not packets:
            if place > 0:
                return None
            first = at = place
            if earlier:
                if abs(earlier[-1][0] + kind.samples - place) > jitter or any(p.is_corrupt for _, p in earlier):
                    return None
                before = [bytes(p) for _, p in earlier]
                opened = kind.opening(before)
            else:
                opened = kind.begun(bytes(packet))  # the decoder begins there in the source too
            if opened is None:
                return None
            first, packets = place - kind.samples * len(opened), [*opened]
        if abs(place - at) > jitter or _odd(packet, place):
            return None
        if at >= length:
            break
        packets.append(bytes(packet))
        at += kind.samples
    copied = CopiedSound(packets, first, length, rate, kind.samples)
    return copied if len(packets) > OPENING and _decodes(stream, copied, before) else None


def _decodes(stream: AudioStream, copied: CopiedSound, before: Sequence[bytes]) -> bool:
    """Whether every packet gives the samples of one, at the rate and of the channels that the file says: also what it says no word of may double them. And
    whether the first samples of MP3 are those that the source gives. (Noise of AAC is made up by the decoder, and is another wherever it begins.)"""
    own = stream.codec_context
    hidden = -copied.first // copied.samples
    given: list[AudioFrame] = []
    context = _decoder(stream)
    for number, data in enumerate(copied.packets):
        try:
            frames = context.decode(av.Packet(data))
        except av.FFmpegError:
            return False
        shapes = [(f.samples, f.sample_rate, f.layout.nb_channels) for f in frames]
        if shapes != [(copied.samples, own.sample_rate, own.channels)]:
            return False
        if number < hidden + COMPARED:
            given += frames
    if own.name == "aac":
        return True
    source: list[AudioFrame] = []
    context = _decoder(stream)
    try:
        for data in [*before, *copied.packets[hidden : hidden + COMPARED]]:
            source += context.decode(av.Packet(data))
    except av.FFmpegError:
        return False
    pairs = zip(given[hidden:], source[len(before) :], strict=True)
    return all(np.array_equal(a.to_ndarray(), b.to_ndarray()) for a, b in pairs)


def _decoder(stream: AudioStream) -> AudioCodecContext:
    context = cast(AudioCodecContext, av.CodecContext.create(stream.codec_context.name, "r"))
    context.extradata = stream.codec_context.extradata
    return context


def _odd(packet: av.Packet, place: int) -> bool:
    """Whether something is wrong with a packet at `place`, or samples of it are hidden that lie within the clip."""
    if packet.is_discard or packet.is_corrupt or has_beside(packet, "new_extradata"):
        return True
    if not has_beside(packet, "skip_samples"):
        return False
    # Samples to skip at the start and at the end, 32 bits each.
    first, last = struct.unpack_from("<II", bytes(packet.get_sidedata("skip_samples")))
    return bool(last) or first > max(0, -place)


def _kind(stream: AudioStream, params: ClipExport) -> _Kind | None:
    """How the packets of the track are copied; None if it is not AAC-LC or MP3 of one or two channels at the rate that the clip is to have."""
    context = stream.codec_context
    if context.channels not in (1, 2) or (params.audio_rate or context.sample_rate) != context.sample_rate:
        return None
    if context.name == "aac":
        return _Kind(1024, 1, lambda earlier: [earlier[-1]], lambda _: []) if _plain(stream) else None
    if context.name not in MP3 or context.sample_rate < LEAST_MP3_RATE:
        return None
    return _Kind(samples_of(context.sample_rate), MOST_BEFORE, opening, begun)


def _plain(stream: AudioStream) -> bool:
    """Whether the track is AAC-LC and nothing more."""
    context = stream.codec_context
    data = context.extradata or b""
    if context.profile != "LC" or len(data) < 2:
        return False
    bits = Bits(data)
    kind, index = bits.u(5), bits.u(4)
    channels, shorter_or_leaning = bits.u(4), bits.u(2)
    if kind != LC or index >= len(RATES) or shorter_or_leaning:
        return False
    if RATES[index] != context.sample_rate or channels != context.channels:
        return False
    bits.u(1)
    extended = bits.u(11) == SPECTRAL_EXTENSION and bits.u(5) > 0 and bits.u(1)
    return not extended
