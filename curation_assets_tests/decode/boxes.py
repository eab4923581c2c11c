"""Puts what a container says of the shown part of the picture into files that lack it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path


def with_clean_aperture(path: Path, size: tuple[int, int], offset: tuple[int, int]) -> Path:
    """Adds a `clap` box to an mp4 file whose index lies behind its media: what is shown, and its centre's way from that of the picture."""
    data = bytearray(path.read_bytes())
    at = data.index(b"moov") - 4
    assert data.index(b"mdat") < at
    box = struct.pack(">I4sIIIIiIiI", 40, b"clap", size[0], 1, size[1], 1, offset[0], 1, offset[1], 1)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"):
        at = data.index(name, at) - 4
        _grow(data, at, len(box))
        at += 8
    entry = at + 8
    (length,) = struct.unpack_from(">I", data, entry)
    _grow(data, entry, len(box))
    data[entry + length : entry + length] = box
    path.write_bytes(data)
    return path


def _grow(data: bytearray, at: int, by: int) -> None:
    struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + by)


def with_pixel_crop(path: Path, left: int, top: int, right: int, bottom: int) -> Path:
    """Adds PixelCrop elements to a Matroska file, whose void behind the seek head makes room for them."""
    data = bytearray(path.read_bytes())
    sides = ((0x54CC, left), (0x54BB, top), (0x54DD, right), (0x54AA, bottom))
    added = b"".join(struct.pack(">HBH", element, 0x82, pixels) for element, pixels in sides)
    segment = _first(data, 0, len(data), b"\x18\x53\x80\x67")
    tracks = _first(data, *segment[2:], b"\x16\x54\xae\x6b")
    entry = _first(data, *tracks[2:], b"\xae")
    video = _first(data, *entry[2:], b"\xe0")
    void = _first(data, *segment[2:], b"\xec")
    assert void[1] < tracks[1]
    for at, begin, end in (part[1:] for part in (tracks, entry, video)):
        _resize(data, at, begin, end - begin + len(added))
    data[video[2] : video[2]] = added
    _, at, begin, end = void
    _resize(data, at, begin, end - begin - len(added))
    del data[begin : begin + len(added)]
    path.write_bytes(data)
    return path


def _elements(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Id, place of the size, begin and end of the content."""
    while at < end:
        size_at = at + 9 - data[at].bit_length()
        length = 9 - data[size_at].bit_length()
        size = int.from_bytes(data[size_at : size_at + length], "big") & ((1 << 7 * length) - 1)
        begin = size_at + length
        yield bytes(data[at:size_at]), size_at, begin, min(begin + size, len(data))
        at = begin + size


def _first(data: bytes, at: int, end: int, element: bytes) -> tuple[bytes, int, int, int]:
    return next(e for e in _elements(data, at, end) if e[0] == element)


def _resize(data: bytearray, at: int, begin: int, size: int) -> None:
    length = begin - at
    assert size < (1 << 7 * length) - 1
    data[at:begin] = (1 << 7 * length | size).to_bytes(length, "big")
