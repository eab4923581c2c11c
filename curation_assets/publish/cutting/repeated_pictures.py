"""Pictures of H.264 that repeat the one before: a slice in which every macroblock is skipped, in a few bytes and without an encoder.

In screencasts and slides most pictures are the one before, sample by sample. What belongs here: telling that, writing such pictures, and giving the
encoder's pictures about them their places. What does not: encoding (`seam_encoding.py`). Clauses are those of ITU-T H.264.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from curation_assets.publish.cutting.coded_units import CODINGS, H264, Bits, escaped, unescaped

ORDER_OF_DECODING = 2
"""Type of picture order that says no more than that pictures are shown in the order of decoding (8.2.1.3)."""
SLICE, IDR, PICTURE_SET = 0x41, 5, 0x68
"""Headers of a slice and a picture parameter set that others lean on, and the type of a slice of an IDR picture (7.3.1)."""
SPARSE = 8
"""One row of so many is compared before all are: most pictures that differ are known for it then."""


def samples_of(frame: VideoFrame) -> list[NDArray[np.uint8] | NDArray[np.uint64]]:
    """The planes without what lies beside their rows: eight bytes at a time, and what is left of a row."""
    made: list[NDArray[np.uint8] | NDArray[np.uint64]] = []
    for plane in frame.planes:
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height]  # type: ignore[call-overload]
        size = plane.width * (2 if frame.format.components[0].bits > 8 else 1)
        whole = size // 8 * 8
        made.append(rows[:, :whole].view(np.uint64))
        if whole < size:
            made.append(rows[:, whole:size])
    return made


def repeats(frame: VideoFrame, before: VideoFrame) -> bool:
    """Whether a picture is the one before, sample by sample."""
    if (frame.width, frame.height, frame.format.name) != (before.width, before.height, before.format.name):
        return False
    planes = list(zip(samples_of(frame), samples_of(before), strict=True))
    return all((a[::step] == b[::step]).all() for step in (SPARSE, 1) for a, b in planes)


class _Writing:
    """Bits that are being written, high ones first."""

    def __init__(self) -> None:
        self._value, self._count = 0, 0

    def u(self, value: int, count: int) -> _Writing:
        self._value, self._count = self._value << count | value, self._count + count
        return self

    def ue(self, *values: int) -> _Writing:
        """Exp-Golomb numbers (9.1)."""
        for value in values:
            self.u(value + 1, 2 * (value + 1).bit_length() - 1)
        return self

    def unit(self, head: int) -> bytes:
        """A unit of all bits and the trailing one (7.3.2.11)."""
        self.u(1, 1).u(0, -self._count % 8)
        return escaped(bytes([head]) + self._value.to_bytes(self._count // 8, "big"))


@dataclass(frozen=True)
class Repeating:
    """Writes pictures that repeat the one before into what an encoder gave.

    Attributes:
        sps: the encoder's sequence parameter set.
        number: of a picture parameter set that nobody else has.
    """

    sps: bytes
    number: int

    @staticmethod
    def of(sets: Sequence[bytes], taken: Sequence[int]) -> Repeating | None:
        """For an encoder's parameter sets; None if its pictures have other places than those of their order, or there is no number left.

        Args:
            taken: numbers of picture parameter sets that there are.
        """
        coding = CODINGS["h264"]
        assert isinstance(coding, H264)
        sps = next(s for s in sets if coding.kind(s) == coding.sets[0])
        own = {coding.set_key(s)[1] for s in sets if coding.kind(s) == coding.sets[1]}
        number = next((n for n in range(32) if n not in own and n not in taken), None)
        said = coding.sequence(sps)
        if number is None or said.order != ORDER_OF_DECODING or said.references != 1 or not said.whole_frames:
            return None
        return Repeating(sps, number)

    @property
    def picture_set(self) -> bytes:
        """The parameter set of these pictures (7.3.2.2): variable-length codes, one reference, no weights, filters that slices may turn off."""
        sequence = H264().set_key(self.sps)[1]
        bits = _Writing().ue(self.number, sequence).u(0, 2).ue(0, 0, 0).u(0, 3).ue(0, 0, 0).u(0b100, 3)
        return bits.unit(PICTURE_SET)

    def picture(self, place: int) -> bytes:
        """The slice of a picture (7.3.3), the `place`th after an IDR picture."""
        said = H264().sequence(self.sps)
        bits = _Writing().ue(0, 5, self.number).u(place % (1 << said.frame_number_bits), said.frame_number_bits)
        bits.u(0, 3)  # as many references as the set says, in their order, none of them marked
        bits.ue(0, 1, said.macroblocks)  # the set's quantiser, no deblocking, all macroblocks skipped
        return bits.unit(SLICE)

    def placed(self, unit: bytes, place: int) -> bytes:
        """A slice of the encoder's with its frame number set to that of its new place after an IDR picture."""
        coding, width = H264(), H264().sequence(self.sps).frame_number_bits
        if not coding.is_picture(coding.kind(unit)) or coding.kind(unit) == IDR:
            return unit
        raw = unescaped(unit)
        bits = Bits(raw[1:])
        for _ in range(3):  # first macroblock, type, parameter set
            bits.ue()
        total = 8 * len(raw)
        below = total - 8 - bits.read - width
        mask = ((1 << width) - 1) << below
        value = int.from_bytes(raw, "big") & ~mask | (place % (1 << width)) << below
        return escaped(value.to_bytes(len(raw), "big"))

    def among(
        self, pictures: Sequence[Sequence[bytes]], restarts: Sequence[bool], repeated: Sequence[bool]
    ) -> list[tuple[bytes, ...]]:
        """All pictures in their order.

        Args:
            pictures: the encoder's.
            restarts: which of them are IDR pictures.
            repeated: of all, whether each repeats the one before and is none of the encoder's.
        """
        made: list[tuple[bytes, ...]] = []
        given, place = iter(zip(pictures, restarts, strict=True)), 0
        for again in repeated:
            if again:
                place += 1
                made.append((self.picture(place),))
                continue
            units, restart = next(given)
            place = 0 if restart else place + 1
            made.append(tuple(self.placed(u, place) for u in units))
        return made
