"""Sound that is copied into a clip: packets of AAC with the one before them, and proof that they arrived.

A packet of AAC-LC gives 1024 samples and leans on the one before it and on no other (ISO/IEC 14496-3 4.6.11: windows overlap by half). So a clip gets the packets
that have samples of its span, and the one before them; what lies before the span is hidden by the edit list that hides an encoder's first samples
elsewhere. What belongs here: which packets, and what rules copying out. What does not: writing them (`sound_track.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from curation_assets.decode.reading.clip_sound import JITTER_S, ClipSound
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.coded_units import Bits
from curation_assets.publish.cutting.seam_check import SeamFault

SAMPLES = 1024
"""Of a packet."""
OPENING = 3
"""Packets that are decoded to see how the sound begins: one that is hidden, one of which a part is, and one that is not."""
LC = 2
"""Audio object type of AAC-LC (ISO/IEC 14496-3 1.5.1.1)."""
RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
"""Samples per second by index (ISO/IEC 14496-3 1.6.3.4)."""
SPECTRAL_EXTENSION = 0x2B7
"""Announces that the sound has twice the rate for those who understand it (ISO/IEC 14496-3 1.6.5.1)."""


@dataclass(frozen=True)
class CopiedSound:
    """The packets of a clip's sound.

    Attributes:
        packets: bytes of each.
        first: place of the first one's first sample, counted from the clip's start; 0 or less.
        length: samples of the clip.
        rate: samples per second.
    """

    packets: Sequence[bytes]
    first: int
    length: int
    rate: int

    def written(self) -> list[av.Packet]:
        """The packets for a muxer, in samples from the clip's start. The last one ends with the clip."""
        made = []
        for number, data in enumerate(self.packets):
            packet = av.Packet(data)
            place = self.first + SAMPLES * number
            packet.pts = packet.dts = place
            packet.duration, packet.time_base = min(SAMPLES, self.length - place), Fraction(1, self.rate)
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
            found = [p for p in media.demux(stream) if p.size]
            places = [self.first + SAMPLES * n for n in range(len(self.packets))]
            if stream.time_base != Fraction(1, self.rate) or [p.pts for p in found] != places:
                raise SeamFault("its sound is not heard at its times")
            if any(bytes(p) != given for p, given in zip(found, self.packets, strict=True)):
                raise SeamFault("a packet of its sound is not the one that was given")
            heard: list[AudioFrame] = []
            for packet in found[:OPENING]:
                heard += cast("list[AudioFrame]", packet.decode())
        hidden = -self.first if self.first < 0 else 0
        samples = min(OPENING, len(found)) * SAMPLES - hidden
        shapes = {(f.sample_rate, f.layout.nb_channels) for f in heard}
        if sum(f.samples for f in heard) != samples or (heard and heard[0].pts != 0):
            raise SeamFault("its sound does not begin at 0")
        if shapes != {(self.rate, stream.codec_context.channels)}:
            raise SeamFault("its sound is not what the file says")


def copied_sound(sound: ClipSound, cut: ClipToCut, params: ClipExport) -> CopiedSound | None:
    """The packets of a clip's sound if they can be copied; None if it must be encoded: other codecs, rates and channels than the clip is to have,
    and sound with gaps, with hidden samples, that begins after the clip, or that is damaged: a reader would stumble over it."""
    stream = sound.stream
    if stream is None or not _plain(stream, params):
        return None
    rate = stream.codec_context.sample_rate
    start, length = Fraction(cut.start_ms, 1000), round(Fraction(cut.end_ms - cut.start_ms, 1000) * rate)
    earlier: tuple[int, av.Packet] | None = None
    packets: list[bytes] = []
    first = at = 0
    for time_s, packet in sound.packets(start - Fraction(4 * SAMPLES, rate), Fraction(cut.end_ms, 1000)):
        place = round((time_s - start) * rate)
        if not packets and place + SAMPLES <= 0:
            earlier = place, packet
            continue
        if not packets:
            first = at = place
            if earlier is not None:
                if abs(earlier[0] + SAMPLES - place) > JITTER_S * rate or earlier[1].is_corrupt:
                    return None
                first, packets = place - SAMPLES, [bytes(earlier[1])]
            if place > 0:
                return None
        if abs(place - at) > JITTER_S * rate or _odd(packet):
            return None
        if at >= length:
            break
        packets.append(bytes(packet))
        at += SAMPLES
    whole = len(packets) > OPENING and _decodes(stream, packets)
    return CopiedSound(packets, first, length, rate) if whole else None


def _decodes(stream: AudioStream, packets: Sequence[bytes]) -> bool:
    """Whether every packet gives the samples of one, at the rate and of the channels that the file says: also what it says no word of may double them."""
    own = stream.codec_context
    context = cast(AudioCodecContext, av.CodecContext.create("aac", "r"))
    context.extradata = own.extradata
    for data in packets:
        try:
            frames = context.decode(av.Packet(data))
        except av.FFmpegError:
            return False
        shapes = [(f.samples, f.sample_rate, f.layout.nb_channels) for f in frames]
        if shapes != [(SAMPLES, own.sample_rate, own.channels)]:
            return False
    return True


def _odd(packet: av.Packet) -> bool:
    return packet.is_discard or packet.is_corrupt or any(map(packet.has_sidedata, ("skip_samples", "new_extradata")))


def _plain(stream: AudioStream, params: ClipExport) -> bool:
    """Whether the track is AAC-LC of one or two channels at the rate that the clip is to have, and nothing more."""
    context = stream.codec_context
    if context.name != "aac" or context.profile != "LC" or context.channels not in (1, 2):
        return False
    data = context.extradata or b""
    if len(data) < 2 or (params.audio_rate or context.sample_rate) != context.sample_rate:
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
