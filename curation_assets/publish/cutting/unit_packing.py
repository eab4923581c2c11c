"""How the units of H.264 and H.265 lie in a file: in packets with their lengths or as a byte stream, and the parameter sets outside of the packets.

What belongs here: packing and unpacking. What does not: what the bits of a unit say (`coded_units.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import av

from curation_assets.publish.cutting.coded_units import Coding, NotUnderstood, SetKey

START = b"\x00\x00\x00\x01"
"""Begins a unit in a byte stream (Annex B of both)."""


def has_beside(packet: av.Packet, kind: Literal["new_extradata", "skip_samples"]) -> bool:
    """Whether a packet has something of that kind beside its bytes. Most have nothing at all, which is known sooner than of one kind."""
    return next(packet.iter_sidedata(), None) is not None and packet.has_sidedata(kind)


def stream_of(units: Iterable[bytes]) -> bytes:
    """Units as a byte stream."""
    return b"".join(START + u for u in units)


def split_stream(data: bytes) -> Iterator[bytes]:
    """The units of a byte stream (Annex B)."""
    at = data.find(b"\x00\x00\x01")
    while at >= 0:
        following = data.find(b"\x00\x00\x01", at + 3)
        yield data[at + 3 : following if following >= 0 else None].rstrip(b"\x00")
        at = following


@dataclass(frozen=True)
class Packing:
    """How the units of a stream lie in its packets.

    Attributes:
        length: bytes of the length before each; 0 for a byte stream.
        sets: the parameter sets that stand outside of the packets.
    """

    length: int
    sets: tuple[bytes, ...]

    @staticmethod
    def of(codec: str, extradata: bytes | None) -> Packing:
        """From what the container says of the stream: `avcC` or `hvcC` (ISO/IEC 14496-15 5.3.3 and 8.3.3), or a byte stream.

        Raises:
            NotUnderstood: it is neither.
        """
        data = extradata or b""
        if not data or data[:3] == START[1:] or data[:4] == START:
            return Packing(0, tuple(u for u in split_stream(data) if u))
        try:
            if codec == "h264":
                return Packing((data[4] & 3) + 1, tuple(_listed(data, 5, ((1, 31), (1, 255)))))
            return Packing((data[21] & 3) + 1, tuple(_listed(data, 23, ((3, 255),) * data[22])))
        except IndexError as error:
            raise NotUnderstood("its parameter sets cannot be read") from error

    def packed(self, units: Iterable[bytes]) -> bytes:
        """Units as they lie in a packet."""
        if not self.length:
            return stream_of(units)
        return b"".join(len(u).to_bytes(self.length, "big") + u for u in units)

    def units(self, data: bytes) -> list[bytes]:
        """The units of a packet.

        Raises:
            NotUnderstood: they do not fill it.
        """
        if not self.length:
            return [u for u in split_stream(data) if u]
        units, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at : at + self.length], "big")
            at += self.length
            if at + size > len(data):
                raise NotUnderstood("a packet is damaged")
            # A start code, which some muxers leave within a unit, ends it for decoders.
            unit = data[at : at + size].partition(START[1:])[0].rstrip(b"\0")
            if unit:
                units.append(unit)
            at += size
        return units


def _listed(data: bytes, at: int, lists: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """Sets with their lengths in two bytes, in lists that begin with a head, whose last bytes, masked, count them."""
    for head, mask in lists:
        count = int.from_bytes(data[at + max(0, head - 2) : at + head], "big") & (mask if head == 1 else 0xFFFF)
        at += head
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            if not size or at + 2 + size > len(data):
                raise IndexError
            yield data[at + 2 : at + 2 + size]
            at += 2 + size


@dataclass
class ParameterSets:
    """The parameter sets of a stream, as they hold at a packet.

    Attributes:
        coding: of the stream.
        known: those that hold.
    """

    coding: Coding
    known: dict[SetKey, bytes] = field(default_factory=dict)

    def take(self, units: Iterable[bytes]) -> list[bytes]:
        """Notes parameter sets; gives the other units.

        Raises:
            NotUnderstood: there are units of further layers.
        """
        others = []
        for unit in units:
            kind = self.coding.kind(unit)
            if kind in self.coding.refused:
                raise NotUnderstood("it has more than plain pictures")
            if kind in self.coding.sets:
                self.known[self.coding.set_key(unit)] = unit
            else:
                others.append(unit)
        return others

    def used(self, slices: Iterable[bytes]) -> list[SetKey]:
        """Which sets the slices refer to, and these in turn.

        Raises:
            NotUnderstood: one that is not there.
        """
        waiting, found = [self.coding.parent(s) for s in slices], set[SetKey]()
        while waiting:
            key = waiting.pop()
            if key is None or key in found:
                continue
            if key not in self.known:
                raise NotUnderstood("its parameter sets are not all there")
            found.add(key)
            waiting.append(self.coding.parent(self.known[key]))
        return sorted(found)
