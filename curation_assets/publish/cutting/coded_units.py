"""What cutting between the packets of H.264 and H.265 needs to know of their bits: units, parameter sets, and where decoding may begin.

Clauses named are those of ITU-T H.264 and ITU-T H.265. What belongs here: reading and renumbering units. What does not: how they lie in packets
(`unit_packing.py`), which pictures a clip copies (`seams.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

SetKey = tuple[int, int]
"""Type of a parameter set's unit, and its number."""
RENUMBERED = range(15, 31)
"""Numbers whose Exp-Golomb code is one byte longer than that of 0, so that what follows in a unit keeps its place within a byte."""


BLA_N_LP = 18
"""Type of a picture of H.265 at which streams are joined, and which no leading pictures follow."""


USER_DATA = frozenset({4, 5})
"""Messages beside the pictures in which anybody may say anything: closed captions, places, times, settings (D.1 of H.264, D.2 of H.265)."""


class NotUnderstood(ValueError):
    """Bits that this does not know how to cut between; the message says what they are."""


class Bits:
    """Reads bits, high ones first. Beyond the end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)
        self._count = self._left

    @property
    def read(self) -> int:
        """How many bits were read."""
        return self._count - self._left

    def u(self, count: int) -> int:
        """An unsigned number of `count` bits."""
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else self._value << -self._left) & ((1 << count) - 1)

    def ue(self) -> int:
        """An Exp-Golomb number (H.264 9.1).

        Raises:
            NotUnderstood: there is none.
        """
        rest = self._value & (1 << max(0, self._left)) - 1
        zeros = self._left - rest.bit_length()
        if not rest or zeros > 32:
            raise NotUnderstood("its headers cannot be read")
        self._left -= zeros + 1
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        """A signed Exp-Golomb number."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class Coding(Protocol):
    """What differs between H.264 and H.265."""

    sets: tuple[int, ...]
    """Types of parameter sets, those that others refer to first."""
    restarts: frozenset[int]
    """Types of pictures at which decoding may begin: no picture shown later leans on what came before."""
    refused: frozenset[int]
    """Types of further layers and the like."""
    beside: frozenset[int]
    """Types of messages about pictures (SEI)."""
    header: int
    """Bytes before what a unit holds."""

    def kind(self, unit: bytes) -> int:
        """Type of a unit."""

    def is_picture(self, kind: int) -> bool:
        """Whether units of that type are slices."""

    def needed(self, unit: bytes) -> bool:
        """Whether other pictures may lean on that of a slice."""

    def set_key(self, unit: bytes) -> SetKey:
        """Of a parameter set."""

    def parent(self, unit: bytes) -> SetKey | None:
        """Which set a parameter set, or which picture parameter set a slice refers to."""

    def interlaced(self, sps: bytes) -> bool:
        """Whether a sequence may have fields."""

    def cut_off_left(self, sps: bytes) -> bool:
        """Whether columns on the left of its pictures are not shown: FFmpeg's decoders show them still, as far as memory is aligned, unless
        they are told not to, and so do readers built on them."""


def unescaped(unit: bytes, most: int | None = None) -> bytes:
    """The first `most` bytes of a unit without emulation prevention (7.3.1)."""
    return unit[:most].replace(b"\x00\x00\x03", b"\x00\x00")


def has_user_data(coding: Coding, unit: bytes) -> bool:
    """Whether a unit has messages that are no business of a decoder (`USER_DATA`)."""
    if coding.kind(unit) not in coding.beside:
        return False
    rest = unescaped(unit)[coding.header :]
    while len(rest) > 2:
        numbers = []
        for _ in range(2):  # type and size of a message, in bytes of 255 and a last one (7.3.2.3.1)
            full = len(rest) - len(rest.lstrip(b"\xff"))
            numbers.append(255 * full + (rest[full] if full < len(rest) else 0))
            rest = rest[full + 1 :]
        if numbers[0] in USER_DATA:
            return True
        rest = rest[numbers[1] :]
    return False


def escaped(raw: bytes) -> bytes:
    """A unit with emulation prevention."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", raw)


@dataclass(frozen=True)
class Sequence264:
    """What a sequence parameter set of H.264 says (7.4.2.1.1).

    Attributes:
        frame_number_bits: of a picture's number.
        order: type of picture order.
        references: how many pictures are kept for others to lean on.
        macroblocks: of a picture, or of a field where there may be fields.
        whole_frames: whether there are no fields.
        cut_left: columns that are not shown on the left, in units of the chroma's columns.
    """

    frame_number_bits: int
    order: int
    references: int
    macroblocks: int
    whole_frames: bool
    cut_left: int


class H264:
    """ITU-T H.264."""

    sets: tuple[int, ...] = (7, 8)
    restarts: frozenset[int] = frozenset({5})
    refused: frozenset[int] = frozenset({2, 3, 4, 13, 14, 15, 19, 20, 21})
    """Data partitions, auxiliary pictures (alpha), and the layers of annexes F to I."""
    beside: frozenset[int] = frozenset({6})
    header = 1
    _HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
    """Profiles whose sets say more of samples (7.3.2.1.1)."""

    def kind(self, unit: bytes) -> int:
        return unit[0] & 31

    def is_picture(self, kind: int) -> bool:
        return kind in (1, 5)

    def needed(self, unit: bytes) -> bool:
        return unit[0] & 0x60 != 0

    def set_key(self, unit: bytes) -> SetKey:
        kind = self.kind(unit)
        return kind, Bits(unescaped(unit, 32)[4 if kind == self.sets[0] else 1 :]).ue()

    def parent(self, unit: bytes) -> SetKey | None:
        kind, bits = self.kind(unit), Bits(unescaped(unit, 32)[1:])
        if kind == self.sets[0]:
            return None
        if kind == self.sets[1]:
            bits.ue()
            return self.sets[0], bits.ue()
        bits.ue()
        bits.ue()
        return self.sets[1], bits.ue()

    def interlaced(self, sps: bytes) -> bool:
        return not self.sequence(sps).whole_frames

    def cut_off_left(self, sps: bytes) -> bool:
        return self.sequence(sps).cut_left > 0

    def sequence(self, sps: bytes) -> Sequence264:
        """Reads a sequence parameter set (7.3.2.1.1)."""
        raw = unescaped(sps, 4096)
        bits = Bits(raw[4:])
        bits.ue()
        if raw[1] in self._HIGH:
            chroma = bits.ue()
            if chroma == 3:
                bits.u(1)
            bits.ue()
            bits.ue()
            bits.u(1)
            if bits.u(1):
                self._scaling(bits, 12 if chroma == 3 else 8)
        frame_number_bits = bits.ue() + 4
        order = bits.ue()
        if order == 0:
            bits.ue()
        elif order == 1:
            bits.u(1)
            bits.se()
            bits.se()
            for _ in range(min(bits.ue(), 255)):
                bits.se()
        references = bits.ue()
        bits.u(1)
        macroblocks = (bits.ue() + 1) * (bits.ue() + 1)
        whole_frames = bool(bits.u(1))
        if not whole_frames:
            bits.u(1)
        bits.u(1)
        cut_left = bits.ue() if bits.u(1) else 0
        return Sequence264(frame_number_bits, order, references, macroblocks, whole_frames, cut_left)

    def _scaling(self, bits: Bits, lists: int) -> None:
        """Passes over scaling lists (7.3.2.1.1.1)."""
        for number in range(lists):
            if bits.u(1):
                last = following = 8
                for _ in range(16 if number < 6 else 64):
                    if following:
                        following = (last + bits.se()) % 256
                    last = following or last


class H265:
    """ITU-T H.265."""

    sets: tuple[int, ...] = (32, 33, 34)
    restarts: frozenset[int] = frozenset(range(16, 22))
    refused: frozenset[int] = frozenset({62, 63})
    """Metadata of Dolby Vision, by which its players change pictures."""
    beside: frozenset[int] = frozenset({39, 40})
    header = 2

    def kind(self, unit: bytes) -> int:
        if (unit[0] & 1) << 5 | unit[1] >> 3:
            raise NotUnderstood("it has several layers")
        return unit[0] >> 1 & 63

    def is_picture(self, kind: int) -> bool:
        return kind < 32

    def needed(self, unit: bytes) -> bool:
        # Odd types below 16 are of pictures that those of the same sub-layer lean on; higher ones are not looked at.
        kind = self.kind(unit)
        return kind > 14 or kind % 2 == 1 or unit[1] & 7 > 1

    def set_key(self, unit: bytes) -> SetKey:
        kind, raw = self.kind(unit), unescaped(unit, 128)[2:]
        if kind == self.sets[0]:
            return kind, raw[0] >> 4
        bits = Bits(raw)
        if kind == self.sets[1]:
            bits.u(sequence_number_at(raw))
        return kind, bits.ue()

    def parent(self, unit: bytes) -> SetKey | None:
        kind, raw = self.kind(unit), unescaped(unit, 32)[2:]
        if kind == self.sets[0]:
            return None
        if kind == self.sets[1]:
            return self.sets[0], raw[0] >> 4
        bits = Bits(raw)
        if kind == self.sets[2]:
            bits.ue()
            return self.sets[1], bits.ue()
        bits.u(2 if 16 <= kind <= 23 else 1)
        return self.sets[2], bits.ue()

    def alone(self, units: Iterable[bytes]) -> tuple[bytes, ...]:
        """The units of a picture, made a BLA_N_LP picture if it is a CRA or BLA one: it stands for itself whatever was decoded before, and
        no picture that is shown before it follows (7.4.2.2). Only the type in the units' headers is another."""
        joined = frozenset({16, 17, 18, 21})
        return tuple(bytes([u[0] & 0x81 | BLA_N_LP << 1]) + u[1:] if self.kind(u) in joined else u for u in units)

    def interlaced(self, sps: bytes) -> bool:
        # general_interlaced_source_flag (7.3.3), after the four, three and one bits before the profile and the profile's 40.
        return bool(Bits(unescaped(sps, 32)[2:]).u(50) & 1)

    def cut_off_left(self, sps: bytes) -> bool:
        raw = unescaped(sps, 128)[2:]
        bits = Bits(raw)
        bits.u(sequence_number_at(raw))
        bits.ue()
        if bits.ue() == 3:
            bits.u(1)
        bits.ue()
        bits.ue()
        return bool(bits.u(1)) and bits.ue() > 0


CODINGS: Mapping[str, Coding] = {"h264": H264(), "hevc": H265()}
"""By FFmpeg's name of the codec."""


def sequence_number_at(raw: bytes) -> int:
    """The bit of an H.265 sequence parameter set, without its two bytes of header, at which its number begins (7.3.2.2.1, 7.3.3)."""
    sub_layers = raw[0] >> 1 & 7
    bits = Bits(raw[1 + 12 :])
    if not sub_layers:
        return 8 + 96
    flags = [bits.u(2) for _ in range(8)][:sub_layers]
    return 8 + 96 + 16 + sum(88 * (f >> 1) + 8 * (f & 1) for f in flags)


def renumbered(unit: bytes, picture_set: int, coding: H265) -> bytes:
    """A unit of an H.265 stream whose sets all have number 0, with 15 in place of that of the others and `picture_set` of `RENUMBERED` in
    place of the picture parameter set's.

    Raises:
        NotUnderstood: the numbers are others.
    """
    kind, raw = coding.kind(unit), unescaped(unit)
    head, body = raw[:2], bytearray(raw[2:])
    if kind in coding.sets[:2]:
        body[0] = body[0] & 15 | 15 << 4
    if kind == coding.sets[1]:
        body = _longer(body, sequence_number_at(bytes(body)), RENUMBERED[0])
    elif kind == coding.sets[2]:
        body = _longer(_longer(body, 0, picture_set), 9, RENUMBERED[0])
    elif coding.is_picture(kind):
        body = _longer(body, 2 if 16 <= kind <= 23 else 1, picture_set)
    return escaped(head + bytes(body))


def _longer(body: bytearray, bit: int, number: int) -> bytearray:
    """`body` with the Exp-Golomb code of `number`, nine bits, in place of that of 0, a single one, at `bit`."""
    at, within = divmod(bit, 8)
    if not body[at] >> 7 - within & 1:
        raise NotUnderstood("the encoder numbers its parameter sets")
    before, after = body[at] >> 8 - within, body[at] & (1 << 7 - within) - 1
    value = before << 16 - within | number + 1 << 7 - within | after
    return body[:at] + value.to_bytes(2, "big") + body[at + 1 :]
