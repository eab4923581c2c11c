"""Clips cut out of their video without decoding it: its packets from a key frame on, muxed anew.

What may not happen: that a picture is shown which the video does not show there. So a copy never begins with what an edit list hides, and it ends
before the first picture that belongs to what follows, even where pictures before the end lean on that one; those are left out too, a few at most.
The actual span is part of what is returned. What belongs here: which packets make a clip. What does not: which clips there are (`clip_plan.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av

from curation_assets.decode.reading.clip_frames import EARLIER_MS, ROUNDING_MS, constant_rate
from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.timeline import milliseconds
from curation_assets.publish.cutting.clip_container import MP4, Ticks, without_picture_edits

REORDERED = 32
"""Packets after the first one past the end among which there may be some that are shown before it, where decoding times are unknown."""


@dataclass(frozen=True)
class CopiedClip:
    """What was copied.

    Attributes:
        start_ms, end_ms: its actual span in the source.
        frames: number of pictures.
        width, height: as stored.
    """

    start_ms: int
    end_ms: int
    frames: int
    width: int
    height: int

    @property
    def fps(self) -> float:
        """Average frame rate."""
        return round(1000 * self.frames / max(1, self.end_ms - self.start_ms), 6)


def copy_clip(video: OpenVideo, sound: ClipSound | None, span: tuple[int, int], path: Path) -> CopiedClip:
    """Writes the clip [start_ms, end_ms) as mp4, from the last key frame at or before its start that is shown, else the first after it.

    Args:
        video: read from anywhere.
        sound: of the same video; None for none.
        path: local file that is written.

    Raises:
        ValueError: it cannot be cut without decoding; the message says why.
        FFmpegError: mp4 cannot hold the stream, or the file cannot be read.
    """
    if video.reordered:
        raise ValueError("the file does not say in which order its pictures are shown")
    base, zero = video.time_base, video.zero_ticks
    pictures = pictures_of(video, zero, *span)
    kept, until = shown_until(pictures, zero + _ticks(span[1] - ROUNDING_MS, base))
    start = pictures[0].pts or 0
    if until is None:
        until = max(zero + _ticks(span[1], base), max(p.pts or 0 for p in kept) + 1)
    if milliseconds(until - zero, base) <= span[0]:
        raise ValueError("its pictures lean on one that is shown after its end")
    width, height = _size(video, kept[0])
    if video.alpha_beside:
        raise ValueError("it is transparent in places, which mp4 cannot hold")
    _write(video, sound, kept, (start, until), zero, path)
    return CopiedClip(milliseconds(start - zero, base), milliseconds(until - zero, base), len(kept), width, height)


def _ticks(time_ms: int, base: Fraction) -> int:
    return round(Fraction(time_ms, 1000) / base)


def _from_key_frame(video: OpenVideo, zero: int, start_ms: int) -> Iterator[av.Packet]:
    """The packets of the pictures from a key frame at or before `start_ms` on, or from the file's first.

    MPEG-TS and others seek to any picture, or past a wrap of the clock to a wrong one: then further back.
    """
    base, latest = video.time_base, start_ms + ROUNDING_MS
    for earlier in EARLIER_MS:
        if latest <= earlier:
            break
        try:
            video.seek(zero + int(Fraction(latest - earlier, 1000) / base))
        except av.FFmpegError:
            break
        packets = (p for p in video.packets() if p.pts is not None)
        head = next((p for p in packets if p.is_keyframe), None)
        if head is not None and milliseconds((head.pts or 0) - zero, base) <= latest:
            return chain([head], packets)
    video.rewind()
    return (p for p in video.packets() if p.pts is not None)


def pictures_of(
    video: OpenVideo, zero: int, start_ms: int, end_ms: int, *, hidden_too: bool = False, most_bytes: int | None = None
) -> list[av.Packet]:
    """The packets in the order of decoding from the clip's key frame until all that are shown before `end_ms` have come.

    Args:
        hidden_too: whether there may be such that an edit list hides.
        most_bytes: that they may have together.

    Raises:
        ValueError: there is no such key frame, some are hidden that may not be, or they are too large.
    """
    base = video.time_base
    from_ticks, end = zero + _ticks(start_ms + ROUNDING_MS, base), zero + _ticks(end_ms - ROUNDING_MS, base)
    pictures: list[av.Packet] = []
    hidden, past, size = False, 0, 0
    for packet in _from_key_frame(video, zero, start_ms):
        shown = packet.pts or 0
        may_begin = packet.is_keyframe and (hidden_too or not packet.is_discard)
        if may_begin and (not pictures or shown <= from_ticks):
            pictures, hidden, size = [], False, 0
        elif not pictures:
            continue
        hidden = hidden or (packet.is_discard and shown < end)
        pictures.append(packet)
        size += packet.size
        if most_bytes is not None and size > most_bytes:
            raise ValueError(f"it has more than {most_bytes >> 20} MB of pictures")
        past += past > 0 or shown >= end
        if (packet.dts is not None and packet.dts >= end) or past > REORDERED:
            break
    if not pictures or (pictures[0].pts or 0) >= end:
        raise ValueError("there is no key frame that is shown before its end")
    if hidden and not hidden_too:
        raise ValueError("an edit list hides pictures within it")
    return pictures


def shown_until(pictures: Sequence[av.Packet], end: int) -> tuple[list[av.Packet], int | None]:
    """Those of the packets that are decoded before any that is shown at `end` or later, and that leave no gap among them; and when they end.

    The end is that of the first picture that is left out, None if none is.
    """
    start = pictures[0].pts or 0
    shown = [p.pts or 0 for p in pictures]
    limit, count = end, len(pictures)
    while True:
        count = next((n for n, pts in enumerate(shown[:count]) if pts >= limit), count)
        earliest = min((pts for pts in shown[count:] if pts >= start), default=None)
        if earliest is None or earliest >= limit:
            return [p for p in pictures[:count] if (p.pts or 0) >= start], earliest
        limit = earliest


def _size(video: OpenVideo, key: av.Packet) -> tuple[int, int]:
    """Stored width and height of a key frame, which may differ from what the file begins with."""
    frames = [*video.decode(key), *video.decode(None)]
    video.context.flush_buffers()
    if not frames:
        return video.context.width, video.context.height
    return frames[0].width, frames[0].height


def _write(
    video: OpenVideo,
    sound: ClipSound | None,
    pictures: Sequence[av.Packet],
    span: tuple[int, int],
    zero: int,
    path: Path,
) -> None:
    base, (start, until) = video.time_base, span
    with av.open(str(path), "w", format="mp4", options=MP4) as out:
        picture_out = out.add_stream_from_template(video.stream, opaque=True)
        mean = len(pictures) / ((until - start) * base)
        retimed = Ticks(video.context.name, picture_out, constant_rate(video.stream) or mean)
        heard = None if sound is None else sound.stream
        sound_out = out.add_stream_from_template(heard, opaque=True) if heard is not None else None
        items: list[tuple[Fraction, int, av.Packet]] = []
        shown = [(p.pts or 0) - start for p in pictures]
        ordered = [*sorted(shown), until - start]
        lasts = {a: b - a for a, b in pairwise(ordered)}
        # Matroska has no decoding times, and FFmpeg's guesses begin some packets after a seek.
        ahead = max(t - p for t, p in zip(ordered, shown, strict=False))
        for packet, pts, dts in zip(pictures, shown, ordered, strict=False):
            packet.pts, packet.dts, packet.duration = pts, dts - ahead, lasts[pts]
            for changed in retimed(packet):
                changed.time_base, changed.stream = base, picture_out
                items.append((dts * base, 0, changed))
        if sound is not None and sound_out is not None:
            for _, packet in sound.packets((start - zero) * base, (until - zero) * base):
                offset = round(start * base / packet.time_base)
                packet.pts = (packet.pts or 0) - offset
                packet.dts = packet.pts if packet.dts is None else packet.dts - offset
                packet.stream = sound_out
                items.append((packet.dts * packet.time_base, 1, packet))
        for _, _, packet in sorted(items, key=lambda i: (i[0], i[1])):
            out.mux(packet)
    without_picture_edits(path)
