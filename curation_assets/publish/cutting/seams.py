"""Where a clip can be cut between pictures: which are copied as they are coded, and which few before and after them are encoded.

Decoding can begin at an IDR picture of H.264, and at an IRAP picture of H.265. Those pictures of the clip that are shown before the first such one
are encoded (the head), and so are those at its end that lean on one that is shown later (the tail). All others are copied: what they lean on is
copied too, so that every decoder makes of them what it made of the video. What belongs here: that choice, and what rules it out. What does not:
encoding and writing (`smart_clip.py`), looking at what came of it (`seam_check.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import av

from curation_assets.decode.reading.clip_frames import ROUNDING_MS, constant_rate
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.timeline import milliseconds
from curation_assets.publish.cutting.clip_copy import pictures_of, shown_until
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.clip_timing import Timing
from curation_assets.publish.cutting.coded_units import CODINGS, Coding, NotUnderstood, SetKey, has_user_data
from curation_assets.publish.cutting.seam_check import WINDOW, WITHOUT_SEAM
from curation_assets.publish.cutting.unit_packing import Packing, ParameterSets, has_beside

CONTAINERS = frozenset({"mov", "matroska", "mpegts"})
"""As FFmpeg names them; elsewhere times are made up."""
FORMATS = frozenset({"yuv420p", "yuvj420p", "yuv420p10le"})
MOST_BYTES = 128 << 20
"""So much of a clip is held in memory, some three times over; a minute has it at 18 Mbit/s."""
LEAST_FILLED = 0.9
"""Share of the periods that begin with a picture where pictures come at a constant rate."""
LEAST_COPIED = 8
"""Fewer pictures are not worth two seams."""


class NotCopied(ValueError):
    """The clip is to be encoded whole; the message says why."""


@dataclass(frozen=True)
class Coded:
    """A picture as it is coded.

    Attributes:
        shown: ticks at which it is shown.
        packet: as the file gives it.
        units: its units without parameter sets and user data.
        kind: type of its first slice.
        needed: whether others may lean on it.
    """

    shown: int
    packet: av.Packet
    units: tuple[bytes, ...]
    kind: int
    needed: bool


@dataclass(frozen=True)
class Seams:
    """How a clip is put together. Pictures stand in the order of decoding, times are ticks of the video's time base.

    Attributes:
        coding: of the stream.
        video: pictures from the key frame on from which the first of the clip can be decoded, until all of the clip have come.
        copied: the pictures that are copied.
        head, tail: when those are shown that are encoded, in order of display.
        sets: the parameter sets that the copied ones use.
        timing: when the clip's pictures are shown.
    """

    coding: Coding
    video: tuple[Coded, ...]
    copied: tuple[Coded, ...]
    head: tuple[int, ...]
    tail: tuple[int, ...]
    sets: dict[SetKey, bytes]
    timing: Timing

    @property
    def last_restart(self) -> int:
        """The place among the copied pictures of the last one at which decoding may begin."""
        return max(n for n, c in enumerate(self.copied) if c.kind in self.coding.restarts)

    @property
    def opening(self) -> int:
        """How many of the first copied pictures are compared with the video's."""
        return min(WINDOW if self.head else WITHOUT_SEAM, len(self.copied))

    def before_tail(self, most: int) -> list[int]:
        """The places of the last copied pictures, at most so many, as far as they can be decoded from `last_restart` on."""
        begin = self.last_restart
        last = range(max(begin, len(self.copied) - most), len(self.copied))
        return [n for n in last if self.copied[n].shown >= self.copied[begin].shown]

    @property
    def shown(self) -> list[int]:
        """When the pictures of the clip are shown, in that order."""
        return [*self.head, *sorted(c.shown for c in self.copied), *self.tail]


def seams_of(video: OpenVideo, cut: ClipToCut) -> Seams:
    """How a clip can be put together without encoding all of it.

    Raises:
        NotCopied: it cannot, or it is not sure; the message says why.
    """
    coding = _coding(video)
    if cut.start_frame is None or cut.end_frame is None:
        raise NotCopied("only its times are known")
    base, zero = video.time_base, video.zero_ticks
    try:
        span = cut.start_ms, cut.end_ms
        packets = pictures_of(video, zero, *span, hidden_too=True, most_bytes=MOST_BYTES)
    except ValueError as error:
        raise NotCopied(str(error)) from error
    inside, end = _inside(packets, cut, base, zero)
    if len(inside) != cut.end_frame - cut.start_frame:
        raise NotCopied("its frames are not one packet each")
    try:
        coded, sets = _coded(video, coding, packets, inside)
        copied = _copied(coded, coding, inside, end)
        used = _used(coding, sets, copied)
    except NotUnderstood as error:
        raise NotCopied(str(error)) from error
    except IndexError as error:
        raise NotCopied("its headers cannot be read") from error
    begin, last = copied[0].shown, max(c.shown for c in copied)
    head, tail = (tuple(sorted(t for t in inside if t < begin)), tuple(sorted(t for t in inside if t > last)))
    if len(head) + len(copied) + len(tail) != len(inside):
        raise NotCopied("its pictures are not in one order")
    timing = _timing(video, sorted(inside))
    if not timing.constant and any(a.shown > b.shown for a, b in pairwise(copied)):
        # FFmpeg 5 and 6 would show each for one duration that fits none: `clip_timing.Timing`.
        raise NotCopied("its pictures come at a varying rate and are reordered")
    return Seams(coding, tuple(coded), tuple(copied), head, tail, used, timing)


def _coding(video: OpenVideo) -> Coding:
    name, context = video.context.name, video.context
    coding = CODINGS.get(name)
    if coding is None:
        raise NotCopied(f"its codec is {name}")
    if not CONTAINERS & set(video.container.format.name.split(",")) or video.reordered:
        raise NotCopied(f"its container is {video.container.format.name}")
    if context.pix_fmt not in FORMATS:
        raise NotCopied(f"its pixels are {context.pix_fmt}")
    return coding


def _inside(packets: Sequence[av.Packet], cut: ClipToCut, base: Fraction, zero: int) -> tuple[set[int], int]:
    """When the clip's pictures are shown, and when the first after them is: as `ClipReader.frames` decides it."""
    first, last = cut.start_ms - ROUNDING_MS, cut.end_ms - ROUNDING_MS
    times = {p.pts: milliseconds(p.pts - zero, base) for p in packets if p.pts is not None}
    inside = [p.pts for p in packets if p.pts is not None and not p.is_discard and first <= times[p.pts] < last]
    if len(set(inside)) != len(inside):
        raise NotCopied("two of its pictures are shown at one time")
    after = [t for t, ms in times.items() if ms >= last]
    return set(inside), min(after, default=max(times, default=0) + 1)


def _coded(
    video: OpenVideo, coding: Coding, packets: Sequence[av.Packet], inside: set[int]
) -> tuple[list[Coded], dict[int, ParameterSets]]:
    """The pictures of the packets, and by their time the parameter sets with which those of the clip go in."""
    name = video.context.name
    packing = Packing.of(name, video.context.extradata)
    sets = ParameterSets(coding)
    sets.take(packing.sets)
    coded, held = [], {}
    holding = ParameterSets(coding)
    for packet in packets:
        if has_beside(packet, "new_extradata"):
            raise NotCopied("the file has several descriptions of its pictures")
        units = [u for u in sets.take(packing.units(bytes(packet))) if not has_user_data(coding, u)]
        slices = [u for u in units if coding.is_picture(coding.kind(u))]
        if not slices:
            raise NotCopied("a packet has no picture")
        shown = packet.pts or 0
        needed = any(coding.needed(s) for s in slices)
        coded.append(Coded(shown, packet, tuple(units), coding.kind(slices[0]), needed))
        if shown in inside:
            if holding.known != sets.known:
                holding = ParameterSets(coding, dict(sets.known))
            held[shown] = holding
    return coded, held


def _copied(coded: Sequence[Coded], coding: Coding, inside: set[int], end: int) -> list[Coded]:
    """The pictures that can be copied, from the first of the clip on at which decoding may begin."""
    at = next((n for n, c in enumerate(coded) if c.shown in inside and c.kind in coding.restarts), None)
    if at is None:
        raise NotCopied("decoding can begin at none of its pictures")
    # Those that are shown before it may lean on others before it, and none of those after it leans on them.
    rest = [c for c in coded[at:] if c.shown >= coded[at].shown]
    kept, _ = shown_until([c.packet for c in rest], end)
    copied = rest[: len(kept)]
    if len(copied) < LEAST_COPIED:
        raise NotCopied("too few of its pictures can be copied")
    return copied


def _used(coding: Coding, held: dict[int, ParameterSets], copied: Sequence[Coded]) -> dict[SetKey, bytes]:
    """The parameter sets that the copied pictures use, which must be the same for all of them."""
    sets: dict[SetKey, bytes] = {}
    followed: set[tuple[int, SetKey | None]] = set()
    for picture in copied:
        holding = held[picture.shown]
        for part in picture.units:
            if not coding.is_picture(coding.kind(part)):
                continue
            named = id(holding), coding.parent(part)
            if named in followed:
                continue
            followed.add(named)
            for key in holding.used([part]):
                if sets.setdefault(key, holding.known[key]) != holding.known[key]:
                    raise NotCopied("its parameter sets change")
    sequences = [s for (kind, _), s in sets.items() if kind == coding.sets[-2]]
    if len(sequences) != 1:
        raise NotCopied("its parameter sets change")
    if coding.interlaced(sequences[0]):
        raise NotCopied("it may be interlaced")
    if coding.cut_off_left(sequences[0]):
        raise NotCopied("its pictures are cut off on the left, which many readers show")
    return sets


def _timing(video: OpenVideo, shown: Sequence[int]) -> Timing:
    """As those of an encoded clip (`ClipEncoder`): at exact multiples of the period where the source comes at a constant rate to its rounding. Unlike
    there, a few periods may lack a picture: the one before is shown on, and of a copied one FFmpeg 5 and 6 say one period all the same."""
    base, rate = video.time_base, video.stream.base_rate
    if rate:
        timing = Timing(base, rate, True)
        numbers = [timing.number(t - shown[0]) for t in shown]
        per_tick, per_period = base.numerator * rate.numerator, rate.denominator * base.denominator
        parts = max(abs((t - shown[0]) * per_tick - n * per_period) for n, t in zip(numbers, shown, strict=True))
        away = Fraction(parts, base.denominator * rate.numerator)
        filled = len(shown) >= LEAST_FILLED * (numbers[-1] + 1) and all(a < b for a, b in pairwise(numbers))
        if filled and away <= base and 2 * away * rate < 1:
            return timing
    return Timing(base, constant_rate(video.stream) or video.rate, False)
