"""The part of the stored picture that a container says is to be shown: `clap` of MP4 and QuickTime, PixelCrop of Matroska.

Codecs crop too (H.264, HEVC, AV1); decoders do that. What the container cuts off is left to the player: ffmpeg does it from release 7.1 on, by
default. PyAV gives no access to what FFmpeg read, hence this reading of the few boxes and elements that matter (ISO/IEC 14496-12, 12.1.4; RFC 9559, 5.1.4.1.28).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import av
import av.filter
from av.video.frame import VideoFrame

from curation_resources.mp4_boxes import boxes

LARGEST = 64_000_000
"""Bytes of an EBML element that is walked through; a segment of unknown size counts as larger."""
_SEGMENT, _TRACKS, _ENTRY, _TYPE, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0xE0
_CLUSTER = 0x1F43B675
_WIDTH, _HEIGHT, _BOTTOM, _TOP, _LEFT, _RIGHT = 0xB0, 0xBA, 0x54AA, 0x54BB, 0x54CC, 0x54DD


@dataclass(frozen=True)
class ContainerCrop:
    """The rectangle that is shown, in stored pixels."""

    x: int
    y: int
    width: int
    height: int


def container_crops(file: BinaryIO) -> list[ContainerCrop | None]:
    """What is shown of each video track of a file, in the order of the tracks; None is all of it. The file's position is not kept.

    Damaged files, other containers and rectangles that do not lie within the picture have no crop.
    """
    try:
        file.seek(0)
        head = file.read(12)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return [_pixel_crop(video) for video in _matroska_tracks(file)]
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
            size = file.seek(0, 2)
            return [_clean_aperture(file, *entry) for entry in _sample_entries(file, size)]
    except (struct.error, ZeroDivisionError, IndexError):
        pass
    return []


class Cropper:
    """Cuts frames down to what the container shows of them. Frames of another size than the container says are left whole."""

    def __init__(self, crop: ContainerCrop) -> None:
        self._crop = crop
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        crop = self._crop
        if crop.x + crop.width > frame.width or crop.y + crop.height > frame.height:
            return frame
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = self._build(frame), shape
        times = frame.pts, frame.dts, frame.duration
        frame.pts = 0 if frame.pts is None else frame.pts
        self._graph.vpush(frame)
        cut = self._graph.vpull()
        assert isinstance(cut, VideoFrame)
        cut.pts, cut.dts, cut.duration = times
        return cut

    def _build(self, frame: VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:pixel_aspect=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
        )
        where = f"{self._crop.width}:{self._crop.height}:{self._crop.x}:{self._crop.y}:exact=1"
        graph.link_nodes(graph.add("buffer", source), graph.add("crop", where), graph.add("buffersink")).configure()
        return graph


# ---- MP4 and QuickTime


def _within(file: BinaryIO, at: int, end: int, path: tuple[bytes, ...]) -> tuple[int, int] | None:
    """The content of the first box at `path`."""
    for kind, begin, stop in boxes(file, at, end):
        if kind == path[0]:
            return (begin, stop) if len(path) == 1 else _within(file, begin, stop, path[1:])
    return None


def _sample_entries(file: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Content of the first sample entry of each video track."""
    moov = _within(file, 0, size, (b"moov",))
    for kind, begin, stop in boxes(file, *moov) if moov else ():
        media = _within(file, begin, stop, (b"mdia",)) if kind == b"trak" else None
        if media is None:
            continue
        handler = _within(file, *media, (b"hdlr",))
        described = _within(file, *media, (b"minf", b"stbl", b"stsd"))
        if handler is None or described is None:
            continue
        file.seek(handler[0] + 8)
        if file.read(4) != b"vide":
            continue
        entry = next(boxes(file, described[0] + 8, described[1]), None)
        yield entry[1:] if entry else (0, 0)


def _clean_aperture(file: BinaryIO, at: int, end: int) -> ContainerCrop | None:
    file.seek(at + 24)
    width, height = struct.unpack(">HH", file.read(4))
    found = _within(file, at + 78, end, (b"clap",))
    if found is None:
        return None
    file.seek(found[0])
    numbers = struct.unpack(">IIIIiIiI", file.read(32))
    wide, high, right, down = (Fraction(numbers[n], numbers[n + 1]) for n in (0, 2, 4, 6))
    left, top = (width - wide) / 2 + right, (height - high) / 2 + down
    # The pixels that lie within it as a whole, as ffmpeg counts them.
    x, y = math.ceil(left), math.ceil(top)
    return _rectangle(x, y, math.floor(left + wide) - x, math.floor(top + high) - y, width, height)


def _rectangle(x: int, y: int, w: int, h: int, width: int, height: int) -> ContainerCrop | None:
    """None if it is all of the picture, or not within it."""
    if (w, h) == (width, height) or min(x, y) < 0 or min(w, h) < 1 or x + w > width or y + h > height:
        return None
    return ContainerCrop(x, y, w, h)


# ---- Matroska


def _elements(file: BinaryIO, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Id, first byte of the content and end of the elements in [at, end)."""
    while at < end:
        file.seek(at)
        head = file.read(12)
        id_length = _length(head[0])
        element = int.from_bytes(head[:id_length], "big")
        size_length = _length(head[id_length])
        size = int.from_bytes(head[id_length : id_length + size_length], "big") & ((1 << 7 * size_length) - 1)
        begin = at + id_length + size_length
        unknown = size == (1 << 7 * size_length) - 1
        yield element, begin, end if unknown else min(begin + size, end)
        if unknown:
            return
        at = begin + size


def _length(first: int) -> int:
    """Bytes of a variable-size integer, by its first."""
    return 9 - first.bit_length()


def _matroska_tracks(file: BinaryIO) -> Iterator[dict[int, int]]:
    """The numbers in the `Video` element of each video track, by id."""
    end = file.seek(0, 2)
    segment = next((e for e in _elements(file, 0, end) if e[0] == _SEGMENT), None)
    for element, begin, stop in _elements(file, *segment[1:]) if segment else ():
        if element == _CLUSTER:
            return
        if element != _TRACKS or stop - begin > LARGEST:
            continue
        for entry, first, last in _elements(file, begin, stop):
            parts = {e: (a, b) for e, a, b in _elements(file, first, last)} if entry == _ENTRY else {}
            if _VIDEO in parts and _number(file, *parts.get(_TYPE, (0, 0))) == 1:
                yield {e: _number(file, a, b) for e, a, b in _elements(file, *parts[_VIDEO]) if b - a <= 8}
        return


def _number(file: BinaryIO, at: int, end: int) -> int:
    file.seek(at)
    return int.from_bytes(file.read(end - at), "big")


def _pixel_crop(video: dict[int, int]) -> ContainerCrop | None:
    width, height = video.get(_WIDTH, 0), video.get(_HEIGHT, 0)
    left, right, top, bottom = (video.get(e, 0) for e in (_LEFT, _RIGHT, _TOP, _BOTTOM))
    return _rectangle(left, top, width - left - right, height - top - bottom, width, height)
