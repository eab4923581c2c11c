"""What cutting between packets of MP3 needs to know of their bits: their header, and how far each reaches back for its data.

Clauses named are those of ISO/IEC 11172-3 (and of 13818-3 for the lower rates). What belongs here: reading packets, and making one silent that
keeps its data for those that follow. What does not: which packets a clip has (`sound_copy.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADER = 4
"""Bytes of the header."""
RESERVOIR = {True: 511, False: 255}
"""So many bytes a packet can reach back: nine bits of MPEG-1, eight of the lower rates (2.4.1.7, main_data_begin)."""


LEAST_MPEG1_RATE = 32000
"""Samples per second that packets of two granules have at least (2.4.2.3); at the lower rates they have one."""


def samples_of(rate: int) -> int:
    """Samples of each channel that a packet gives, by their number per second."""
    return 1152 if rate >= LEAST_MPEG1_RATE else 576


@dataclass(frozen=True)
class Mp3Packet:
    """A packet of layer III.

    Attributes:
        data: its bytes.
        first: whether it is of MPEG-1, with two granules, and not of the lower rates, with one.
        mono: whether it has one channel.
    """

    data: bytes
    first: bool
    mono: bool

    @staticmethod
    def of(data: bytes) -> Mp3Packet | None:
        """From its header (2.4.1.3); None if it is none of layer III or has a checksum, over which nothing could be changed."""
        if len(data) < HEADER + 32 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
            return None
        version, layer, unprotected = data[1] >> 3 & 3, data[1] >> 1 & 3, data[1] & 1
        if layer != 1 or version == 1 or not unprotected:
            return None
        return Mp3Packet(data, version == 3, data[3] >> 6 == 3)

    @property
    def side(self) -> int:
        """Bytes of its side information (2.4.1.7)."""
        return (17 if self.mono else 32) if self.first else (9 if self.mono else 17)

    @property
    def back(self) -> int:
        """How many bytes before its own data its data begin (main_data_begin)."""
        if not self.first:
            return self.data[HEADER]
        return self.data[HEADER] << 1 | self.data[HEADER + 1] >> 7

    @property
    def kept(self) -> int:
        """Bytes of its own data, which following ones may use."""
        return len(self.data) - HEADER - self.side

    def silent(self, before: int) -> bytes:
        """The packet with all its parts of no length, so that it is silent and leans on nothing, and its data left for those that follow.

        Args:
            before: bytes of data that packets before it left, which are passed on too.
        """
        back = min(before, RESERVOIR[self.first])
        side = (back << 8 * self.side - (9 if self.first else 8)).to_bytes(self.side, "big")
        return self.data[:HEADER] + side + self.data[HEADER + self.side :]


def opening(earlier: Sequence[bytes]) -> list[bytes] | None:
    """The packets that go before a clip's first one, so that it gives what it gives in the whole: those that decide the overlap of its windows and the
    state of its filters (2.4.3.4: 512 samples, each granule of 576 overlapping with the one before), and so many before that as hold their data,
    made silent.

    Args:
        earlier: packets before the clip's first one without a gap, the last of them last; where the file begins there may be fewer than are needed.

    Returns:
        None if there is no telling, or not enough of them.
    """
    read = [Mp3Packet.of(data) for data in earlier]
    packets = [p for p in read if p is not None and p.first == (read[-1] is not None and read[-1].first)]
    if len(packets) < len(earlier):
        return None
    whole = 1 if packets[-1].first else 2
    needed, since = 0, 0
    for packet in packets[-whole:]:
        needed = max(needed, packet.back - since)
        since += packet.kept
    holding: list[Mp3Packet] = []
    for packet in reversed(packets[:-whole]):
        if needed <= 0:
            break
        holding.insert(0, packet)
        needed -= packet.kept
    if needed > 0:
        return None
    made, before = list[bytes](), 0
    for packet in holding:
        made.append(packet.silent(before))
        before += packet.kept
    return [*made, *(p.data for p in packets[-whole:])]


def begun(first: bytes) -> list[bytes] | None:
    """What goes before a file's first packet where a clip begins with it: a silent one, as from a decoder that has heard nothing. Without it part of the
    first packet would be hidden and nothing before it, of which Chromium hides as much again.

    Returns:
        None if its data begin in a packet that the file lacks.
    """
    packet = Mp3Packet.of(first)
    return [packet.silent(0)] if packet is not None and packet.back == 0 else None
