"""Looks at a clip that was put together of copied and encoded pictures before anybody else does.

What proves that a copied picture decodes to what it decodes to in the video, without decoding all of them: its bits are those of the video, and so are
its parameter sets; decoding begins, of the copied pictures, with one before which no decoder looks; and none is left out from there on. So the
packets of the file are compared bit by bit with the video's, and decoded are only the pictures about the seams, where a decoder passes from one
part to the next: those of the file must be those that the video gives, and those that the encoder's part gives alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from curation_assets.decode.reading.media import OpenVideo
from curation_assets.publish.cutting.unit_packing import Packing

WINDOW = 8
"""So many copied pictures are compared at either side of a seam, in the order of decoding, and so many of those that were encoded there: they begin
with a key frame under their own parameter sets, which are right for all or for none."""


class SeamFault(ValueError):
    """A clip that is not what it was to be; the message says where."""


@dataclass(frozen=True)
class Looked:
    """A stretch of the clip that is decoded.

    Attributes:
        packets: places of those that are fed to a decoder, in the order of decoding.
        pictures: time of display in the clip, seconds -> digest of a picture that must come out.
        whole: whether each of the packets must give its picture.
    """

    packets: Sequence[int]
    pictures: Mapping[Fraction, bytes]
    whole: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a clip must be.

    Attributes:
        units: of each packet, in the order of decoding.
        times: when each packet's picture is shown in the clip, seconds.
        sets: parameter sets that must stand outside of the packets.
        looks: what must come out where it is decoded.
    """

    units: Sequence[tuple[bytes, ...]]
    times: Sequence[Fraction]
    sets: frozenset[bytes]
    looks: Sequence[Looked]


def digest(frame: VideoFrame) -> bytes:
    """A checksum of a picture's samples, size and format: CRC-32 and a sum of 64 bits, at a tenth of the price of a cryptographic hash. Nobody picks
    pictures here that look alike to it."""
    samples = frame.to_ndarray().reshape(-1).view(np.uint8)
    whole = len(samples) // 8 * 8
    total = int(samples[:whole].view(np.uint64).sum(dtype=np.uint64))
    begun = zlib.crc32(f"{frame.width}x{frame.height} {frame.format.name}".encode())
    return zlib.crc32(samples.data, begun).to_bytes(4, "big") + total.to_bytes(8, "big")


def check_seams(path: Path, codec: str, wanted: Wanted) -> None:
    """Reads a clip back.

    Raises:
        SeamFault: it is not as wanted.
    """
    fed = {n for look in wanted.looks for n in look.packets}
    held: dict[int, av.Packet] = {}
    with OpenVideo(path, deinterlace=False) as clip:
        packing = Packing.of(codec, clip.context.extradata)
        if clip.stream.start_time != 0:
            raise SeamFault("it does not begin at 0")
        if not wanted.sets <= set(packing.sets):
            raise SeamFault("its parameter sets are not those that were given")
        base = clip.time_base
        ticks = [time / base for time in wanted.times]
        last: int | None = None
        count = 0
        for count, packet in enumerate(clip.packets(), 1):
            if count > len(ticks) or packet.pts != ticks[count - 1]:
                raise SeamFault("its pictures are not shown at their times")
            if packet.dts is None or (last is not None and packet.dts <= last):
                raise SeamFault("its packets are not in the order of decoding")
            if tuple(packing.units(bytes(packet))) != wanted.units[count - 1]:
                raise SeamFault("a packet is not the one that was given")
            last = packet.dts
            if count - 1 in fed:
                held[count - 1] = packet
        if count != len(wanted.times):
            raise SeamFault("it lacks pictures")
        for look in wanted.looks:
            seen = _look(clip, [held[n] for n in look.packets], look.pictures)
            if look.whole and seen != {wanted.times[n] for n in look.packets}:
                raise SeamFault("a decoder leaves out pictures at a seam")


def _look(clip: OpenVideo, packets: Iterable[av.Packet], pictures: Mapping[Fraction, bytes]) -> set[Fraction]:
    """When the pictures are shown that a decoder makes of the packets, which must be as wanted."""
    found: dict[Fraction, bytes] = {}
    seen: set[Fraction] = set()
    for packet in [*packets, None]:
        for frame in clip.decode(packet):
            time_s = Fraction(frame.pts or 0) * clip.time_base
            if time_s in seen or frame.is_corrupt:
                raise SeamFault(f"the picture at {float(time_s):.3f} s is damaged")
            seen.add(time_s)
            if time_s in pictures:
                found[time_s] = digest(frame)
    clip.context.flush_buffers()
    if clip.errors:
        raise SeamFault(f"it cannot be decoded: {clip.error}")
    for time_s, wanted in pictures.items():
        if found.get(time_s) != wanted:
            raise SeamFault(f"the picture at {float(time_s):.3f} s is another than the video's")
    return seen
