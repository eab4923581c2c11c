"""What makes the mp4 file of an exported clip read alike by every reader: options of the muxer, edit lists, the tick of its pictures.

Readers disagree about edit lists: some count frames that the list hides, some shift what they find. A list is needed only where the
first picture in the file's order is not shown at time 0, which negative composition offsets (ISO/IEC 14496-12, `ctts` version 1) say
as well. FFmpeg 5 and 6 take the durations of reordered pictures from the tick of the coded stream (`clip_timing.Timing`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.bitstream import BitStreamFilterContext
from av.video.stream import VideoStream

from curation_assets.publish.cutting.unit_packing import Packing, split_stream
from curation_resources.mp4_boxes import boxes

MP4 = {"fflags": "+bitexact", "movflags": "+faststart+negative_cts_offsets"}
"""Options of FFmpeg's muxer."""
TICKS_PER_PICTURE = {"h264": 2, "hevc": 1}
"""Ticks of a progressive picture: ITU-T H.264 E.2.1 counts fields."""


def without_picture_edits(path: Path) -> None:
    """Takes the edit list off the pictures of an mp4 file, whose first is shown at 0 without it; that of the sound stays.

    The muxer writes a list of one entry, for the whole track, also where there is nothing to edit. Its box becomes free space.

    Raises:
        ValueError: the list hides or delays pictures.
    """
    with open(path, "r+b") as file:
        file.seek(0, 2)
        for kind, at, end in boxes(file, 0, file.tell()):
            if kind != b"moov":
                continue
            for track, begin, stop in boxes(file, at, end):
                if track == b"trak" and _handler(file, begin, stop) == b"vide":
                    _free_edits(file, begin, stop)


def _handler(file: BinaryIO, at: int, end: int) -> bytes:
    """What a track is: `vide`, `soun`, ..."""
    for kind, begin, stop in boxes(file, at, end):
        if kind == b"mdia":
            for inner, start, _ in boxes(file, begin, stop):
                if inner == b"hdlr":
                    file.seek(start + 8)
                    return file.read(4)
    return b""


def _free_edits(file: BinaryIO, at: int, end: int) -> None:
    for kind, begin, stop in boxes(file, at, end):
        if kind != b"edts":
            continue
        for _, start, _ in boxes(file, begin, stop):
            file.seek(start)
            version, entries = struct.unpack(">B3xI", file.read(8))
            first = struct.unpack(">Qq", file.read(16)) if version else struct.unpack(">Ii", file.read(8))
            if entries != 1 or first[1] != 0:
                raise ValueError("its pictures do not begin at 0 without an edit list")
        file.seek(begin - 4)
        file.write(b"free")


def _tick(codec: str, rate: Fraction) -> str:
    """The filter that sets the tick of pictures that come at `rate`."""
    tick_rate = (rate * TICKS_PER_PICTURE[codec]).limit_denominator(100_000)
    return f"{codec}_metadata=tick_rate={tick_rate.numerator}/{tick_rate.denominator}"


def retimed(stream: VideoStream, packing: Packing, sets: Sequence[bytes], rate: Fraction) -> list[bytes]:
    """Parameter sets with the tick in them set to the rate of the pictures.

    Args:
        stream: whose pictures they are of, H.264 or H.265.
        packing: of that stream.
        sets: those that others refer to first.
        rate: pictures per second.
    """
    changing = BitStreamFilterContext(_tick(stream.codec_context.name, rate), stream)
    changed = changing.filter(av.Packet(packing.packed(sets)))
    return [u for p in changed for u in split_stream(bytes(p))]


class Ticks:
    """Passes on the packets of pictures with the tick in their headers set to their rate, which the output's headers get too.

    Args:
        codec: what they are coded with.
        out: the stream that they go to, before the file's header is written. It says how they are packed too: the source's tag for the
            codec need not be one of mp4's.
        rate: pictures per second; the mean if it varies.
    """

    def __init__(self, codec: str, out: VideoStream, rate: Fraction) -> None:
        self._filter: BitStreamFilterContext | None = None
        if codec in TICKS_PER_PICTURE:
            self._filter = BitStreamFilterContext(_tick(codec, rate), out, out)

    def __call__(self, packet: av.Packet) -> list[av.Packet]:
        """The packet, changed; one that is too damaged for its headers to be read as it is."""
        if self._filter is None:
            return [packet]
        as_it_is = _copy(packet)  # the filter empties what it is given
        try:
            return self._filter.filter(packet)
        except av.error.InvalidDataError:
            return [as_it_is]


def _copy(packet: av.Packet) -> av.Packet:
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
    copy.is_keyframe = packet.is_keyframe
    return copy
