"""Looks at a clip that was put together of copied and encoded pictures before anybody else does.

What proves that a copied picture decodes to what it decodes to in the video, without decoding all of them: its bits are those of the video, and so are
its parameter sets; decoding begins, of the copied pictures, with one before which no decoder looks; and none is left out from there on. So the
packets of the file are compared bit by bit with the video's, and decoded are only the pictures about the seams, where a decoder passes from one
part to the next: those of the file must be those that the video gives, and those that the encoder's part gives alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame

from curation_assets.decode.reading.media import OpenVideo
from curation_assets.publish.cutting.repeated_pictures import samples_of
from curation_assets.publish.cutting.unit_packing import Packing

WINDOW = 8
"""So many copied pictures are compared at either side of a seam, in the order of decoding, and so many of those that were encoded after one."""
WITHOUT_SEAM = 4
"""So many of those that a clip begins with, before which its decoder has seen nothing: of copied ones, of which it sees what it sees in the video, and of
encoded ones, which begin with a key frame under their own parameter sets, right for all or for none."""


class SeamFault(ValueError):
    """A clip that is not what it was to be; the message says where."""


@dataclass(frozen=True)
class Looked:
    """A stretch of the clip that is decoded.

    Attributes:
        packets: places of those that are fed to a decoder, in the order of decoding.
        pictures: place of display in the clip, as `Wanted.places` has them -> digest of a picture that must come out.
        whole: whether each of the packets must give its picture.
    """

    packets: Sequence[int]
    pictures: Mapping[int, bytes]
    whole: bool = False


@dataclass(frozen=True)
class Wanted:
    """What a clip must be.

    Attributes:
        units: of each packet, in the order of decoding.
        places: when each packet's picture is shown in the clip, in ticks.
        base: seconds per tick of `places`.
        sets: parameter sets that must stand outside of the packets.
        looks: what must come out where it is decoded.
    """

    units: Sequence[tuple[bytes, ...]]
    places: Sequence[int]
    base: Fraction
    sets: frozenset[bytes]
    looks: Sequence[Looked]


def digest(frame: VideoFrame) -> bytes:
    """A checksum of a picture's samples, size and format: a hash of the sums of every row and of every column, eight samples of which are taken as one
    number of 64 bits. A sample that differs is in one of each, and reading the samples twice costs a fifth of hashing all of them."""
    said = hashlib.blake2b(f"{frame.width}x{frame.height} {frame.format.name}".encode(), digest_size=16)
    for plane in samples_of(frame):
        for axis in (0, 1):
            said.update(plane.sum(axis=axis, dtype=np.uint64))
    return said.digest()


Hearing = Callable[[AudioStream, list[av.Packet]], None]
"""Looks at the sound of a clip: its track and all packets of it."""


def check_seams(path: Path, codec: str, wanted: Wanted, hear: Hearing | None = None) -> None:
    """Reads a clip back.

    Args:
        hear: called with its sound, before the file is closed; None if that is not looked at.

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
        per_place = wanted.base / clip.time_base
        if per_place.denominator != 1:
            raise SeamFault("its pictures are not shown at their times")
        per_tick = per_place.numerator
        last: int | None = None
        count = 0
        heard: list[av.Packet] = []
        for count, packet in enumerate(_pictures(clip, heard), 1):
            if count > len(wanted.places) or packet.pts != wanted.places[count - 1] * per_tick:
                raise SeamFault("its pictures are not shown at their times")
            if packet.dts is None or (last is not None and packet.dts <= last):
                raise SeamFault("its packets are not in the order of decoding")
            data, given = bytes(packet), wanted.units[count - 1]
            if data != packing.packed(given) and tuple(packing.units(data)) != given:
                raise SeamFault("a packet is not the one that was given")
            last = packet.dts
            if count - 1 in fed:
                held[count - 1] = packet
        if count != len(wanted.places):
            raise SeamFault("it lacks pictures")
        for look in wanted.looks:
            seen = _look(clip, [held[n] for n in look.packets], look.pictures, per_tick)
            if look.whole and seen != {wanted.places[n] * per_tick for n in look.packets}:
                raise SeamFault("a decoder leaves out pictures at a seam")
        if hear is not None and clip.container.streams.audio:
            hear(clip.container.streams.audio[0], heard)


def _pictures(clip: OpenVideo, heard: list[av.Packet]) -> Iterator[av.Packet]:
    """The packets of the pictures; those of the sound are added to `heard` on the way, so that the file is read once."""
    try:
        for packet in clip.container.demux(clip.stream, *clip.container.streams.audio[:1]):
            if packet.size and packet.stream is clip.stream:
                yield packet
            elif packet.size:
                heard.append(packet)
    except (av.FFmpegError, OSError) as error:
        raise SeamFault(f"it cannot be read: {error}") from error


def _look(clip: OpenVideo, packets: Iterable[av.Packet], pictures: Mapping[int, bytes], per_tick: int) -> set[int]:
    """The ticks of the file at which the pictures are shown that a decoder makes of the packets, which must be as wanted."""
    found: dict[int, bytes] = {}
    seen: set[int] = set()

    def at(ticks: int) -> str:
        return f"the picture at {float(ticks * clip.time_base):.3f} s"

    for packet in [*packets, None]:
        for frame in clip.decode(packet):
            ticks = frame.pts or 0
            if ticks in seen or frame.is_corrupt:
                raise SeamFault(f"{at(ticks)} is damaged")
            seen.add(ticks)
            place, rest = divmod(ticks, per_tick)
            if not rest and place in pictures:
                found[place] = digest(frame)
    clip.context.flush_buffers()
    if clip.errors:
        raise SeamFault(f"it cannot be decoded: {clip.error}")
    for place, wanted in pictures.items():
        if found.get(place) != wanted:
            raise SeamFault(f"{at(place * per_tick)} is another than the video's")
    return seen
