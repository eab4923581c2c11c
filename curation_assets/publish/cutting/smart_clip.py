"""A clip put together of its video's own pictures and a few encoded ones: the same frames as an exact cut, nearly at the price of a copy.

What belongs here: decoding what is to be encoded, and writing the file. What does not: which pictures are copied (`seams.py`), encoding
(`seam_encoding.py`), proof that it came out right (`seam_check.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.frame import VideoFrame

from curation_assets.decode.reading.clip_sound import ClipSound
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_container import MP4, retimed, without_picture_edits
from curation_assets.publish.cutting.clip_pictures import ClipPictures
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_assets.publish.cutting.clip_timing import Timing
from curation_assets.publish.cutting.coded_units import H265, NotUnderstood
from curation_assets.publish.cutting.seam_check import (
    WINDOW,
    WITHOUT_SEAM,
    Looked,
    SeamFault,
    Wanted,
    check_seams,
    digest,
)
from curation_assets.publish.cutting.seam_encoding import SEAM_ENCODERS, Encoded, encode
from curation_assets.publish.cutting.seams import Coded, NotCopied, Seams, seams_of
from curation_assets.publish.cutting.sound_copy import CopiedSound, copied_sound
from curation_assets.publish.cutting.sound_track import SoundTrack
from curation_assets.publish.cutting.unit_packing import Packing, stream_of
from curation_assets.publish.cutting.video_task import CutClip
from curation_resources.orientation import UPRIGHT


def smart_clip(video: OpenVideo, sound: ClipSound | None, cut: ClipToCut, params: ClipExport, path: Path) -> CutClip:
    """Writes a clip and looks at it.

    Args:
        video: read from anywhere, its pictures as they are.
        sound: of the same video; None for none.
        cut: the clip.
        params: that leave pictures as they are, but for crops and sizes.
        path: local file that is written; it is there only if the clip is right.

    Raises:
        NotCopied: it must be encoded whole; the message says why.
    """
    seams = seams_of(video, cut)
    source = _Source(video, seams, cut, params)
    try:
        head, tail = source.head(), source.tail()
        parts = _parts(seams, head, tail)
        sets = _sets(video, seams, [e for e in (head, tail) if e is not None])
        heard = _Heard.of(sound, cut, params)
        _write(path, video, _Pictures(parts, seams.timing, _span(video, cut)), sets, heard)
        wanted = _wanted(seams, parts, sets, source, (head, tail))
        check_seams(path, video.context.name, wanted, None if heard.copied is None else heard.copied.hear)
    except (NotUnderstood, SeamFault, av.FFmpegError, NotCopied) as error:
        path.unlink(missing_ok=True)
        raise NotCopied(str(error)) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    frames, encoded = len(parts), len(seams.head) + len(seams.tail)
    fps = round(1000 * frames / max(1, cut.end_ms - cut.start_ms), 6)
    facts = (cut.start_ms, cut.end_ms, frames, *source.size, fps)
    encoder = SEAM_ENCODERS[video.context.name] if encoded else None
    return CutClip(cut.key, None, str(path), *facts, cut="smart", encoded_frames=encoded, encoder=encoder)


@dataclass
class _Source:
    """Decodes the pictures of the video that are encoded, and those that are compared.

    Attributes:
        digests: of the pictures about the seams, by their ticks.
        size: width and height of a picture.
    """

    video: OpenVideo
    seams: Seams
    cut: ClipToCut
    params: ClipExport
    digests: dict[int, bytes] = field(default_factory=dict)
    size: tuple[int, int] = (0, 0)

    def head(self) -> Encoded | None:
        """The pictures before the copied ones, encoded; None if there are none. Digests of the first copied ones are taken."""
        seams = self.seams
        looked = {c.shown for c in seams.copied[: seams.opening]}
        until = max(n for n, c in enumerate(seams.video) if c.shown in looked) + 1
        first = seams.head[0] if seams.head else seams.copied[0].shown
        begun = 0 if seams.head else seams.video.index(seams.copied[0])
        feed = [c for c in seams.video[begun:until] if c.needed or c.shown >= first]
        if not seams.head:
            feed = [c for c in feed if c.shown >= first]
        return self._part(feed, seams.head, looked)

    def tail(self) -> Encoded | None:
        """The pictures after the copied ones, likewise. Digests of the last copied ones are taken if there are any after them."""
        seams = self.seams
        if not seams.tail:
            return None
        last = max(n for n, c in enumerate(seams.video) if c.shown in seams.tail)
        looked = {seams.copied[n].shown for n in seams.before_tail(WINDOW)}
        at = seams.video.index(seams.copied[seams.last_restart])
        feed = [c for c in seams.video[at : last + 1] if c.needed or c.shown in looked or c.shown in seams.tail]
        return self._part(feed, seams.tail, looked)

    def _part(self, feed: Sequence[Coded], encoded: Sequence[int], looked: Collection[int]) -> Encoded | None:
        found: list[int] = []

        def wanted() -> Iterator[VideoFrame]:
            for frame in self._frames(feed):
                shown = frame.pts
                if shown is None:
                    continue
                if shown in looked or shown in encoded:
                    self._regard(frame)
                if shown in looked:
                    self.digests[shown] = digest(frame)
                if shown in encoded:
                    found.append(shown)
                    yield frame

        frames, errors = wanted(), self.video.errors
        first = next(frames, None)
        made = None
        if first is not None:
            taken = self.seams.sets.keys()
            made = encode(_chained(first, frames), self.video.context.name, self.params, self.seams.timing, taken)
        if found != list(encoded) or not set(looked) <= self.digests.keys() or self.video.errors > errors:
            raise NotCopied("pictures beside a seam cannot be decoded")
        if made is not None and len(made.pictures) != len(encoded):
            raise NotCopied("the encoder gave another number of pictures")
        return made

    def _frames(self, feed: Sequence[Coded]) -> Iterator[VideoFrame]:
        self.video.context.flush_buffers()
        for coded in feed:
            yield from self.video.decode(coded.packet)
        yield from self.video.decode(None)
        self.video.context.flush_buffers()

    def _regard(self, frame: VideoFrame) -> None:
        """Looks whether pictures are to be shown as they are stored."""
        size = frame.width, frame.height
        if frame.interlaced_frame:
            raise NotCopied("it is interlaced")
        if self.size not in ((0, 0), size):
            raise NotCopied("its pictures change their size")
        if self.size == size:
            return
        self.size, display = size, self.video.display(frame)
        if display.orientation != UPRIGHT or display.aspect != 1 or self.video.cropped:
            raise NotCopied("its pictures are not shown as they are stored")
        if ClipPictures(frame, self.video.display, self.params, self.cut.crop, rgb=False).size != size:
            raise NotCopied("its pictures are cropped or scaled")


def _chained(first: VideoFrame, rest: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
    yield first
    yield from rest


@dataclass(frozen=True)
class _Joined:
    """A picture of the clip: its units, when it is shown in the video, and whether decoding may begin there."""

    units: tuple[bytes, ...]
    shown: int
    restart: bool


def _parts(seams: Seams, head: Encoded | None, tail: Encoded | None) -> list[_Joined]:
    """The pictures of the clip in the order of decoding."""
    parts = [_Joined(c.units, c.shown, c.kind in seams.coding.restarts) for c in seams.copied]
    if head is not None and isinstance(seams.coding, H265):
        parts[0] = _Joined(seams.coding.alone(parts[0].units), parts[0].shown, True)
    for encoded, times, at in ((head, seams.head, 0), (tail, seams.tail, None)):
        if encoded is not None:
            made = [
                _Joined(u, t, n in encoded.restarts)
                for n, (u, t) in enumerate(zip(encoded.pictures, times, strict=True))
            ]
            parts = [*made, *parts] if at == 0 else [*parts, *made]
    return parts


def _sets(video: OpenVideo, seams: Seams, encoded: Sequence[Encoded]) -> list[bytes]:
    """All parameter sets, those that others refer to first. That of the highest profile is the first of its kind: `avcC` repeats what it says."""
    own = dict.fromkeys(s for e in encoded for s in e.sets)
    sets = sorted([*seams.sets.values(), *own], key=lambda u: (seams.coding.kind(u), -u[1]))
    if not seams.timing.constant:
        return sets
    packing = Packing.of(video.context.name, video.context.extradata)
    return retimed(video.stream, packing, sets, seams.timing.rate)


def _span(video: OpenVideo, cut: ClipToCut) -> int:
    """Length of the clip in ticks of the video."""
    return round(Fraction(cut.end_ms - cut.start_ms, 1000) / video.time_base)


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a clip and when they are shown.

    Attributes:
        parts: in the order of decoding.
        timing: of their ticks.
        span: length of the clip in the video's ticks.
    """

    parts: Sequence[_Joined]
    timing: Timing
    span: int

    @property
    def base(self) -> Fraction:
        """Seconds per tick of `places`."""
        return 1 / self.timing.rate if self.timing.constant else self.timing.time_base

    def places(self) -> list[int]:
        """When each picture is shown in the clip, in ticks."""
        first = min(p.shown for p in self.parts)
        return [self._place(p.shown - first) for p in self.parts]

    def _place(self, ticks: int) -> int:
        return self.timing.number(ticks) if self.timing.constant else ticks

    def packets(self) -> Iterator[av.Packet]:
        """The packets of the pictures, in the order of decoding."""
        places = self.places()
        ordered = sorted(places)
        ahead = max(t - p for t, p in zip(ordered, places, strict=True))
        end = ordered[-1] + 1
        if not self.timing.constant or end > len(ordered):  # else the last one lasts a period, as an encoded clip's
            end = max(self._place(self.span), end)
        lasts = {a: b - a for a, b in pairwise([*ordered, end])}
        base = self.base
        for part, place, dts in zip(self.parts, places, ordered, strict=True):
            packet = av.Packet(stream_of(part.units))
            packet.pts, packet.dts, packet.duration = place, dts - ahead, lasts[place]
            packet.is_keyframe, packet.time_base = part.restart, base
            yield packet


@dataclass(frozen=True)
class _Heard:
    """The sound of a clip: packets that are copied, else what is encoded.

    Attributes:
        sound: of the video; None for none.
        cut, params: as `smart_clip` has them.
        copied: None for none.
    """

    sound: ClipSound | None
    cut: ClipToCut
    params: ClipExport
    copied: CopiedSound | None

    @staticmethod
    def of(sound: ClipSound | None, cut: ClipToCut, params: ClipExport) -> _Heard:
        """Decides what becomes of it."""
        return _Heard(sound, cut, params, None if sound is None else copied_sound(sound, cut, params))

    def track(self, out: OutputContainer) -> SoundTrack | None:
        """The track for a file whose header is not written yet, with all of the sound."""
        if self.sound is None:
            return None
        if self.copied is not None:
            return SoundTrack.copied(out, self.sound, self.copied)
        track = SoundTrack.of(out, self.params, self.sound)
        if track is not None:
            track.encode(self.sound.frames(self.cut.start_ms, self.cut.end_ms, track.channels))
        return track


def _write(
    path: Path,
    video: OpenVideo,
    pictures: _Pictures,
    sets: Sequence[bytes],
    heard: _Heard,
) -> None:
    with av.open(str(path), "w", format="mp4", options=MP4) as out:
        stream = out.add_stream_from_template(video.stream, opaque=True)
        stream.codec_context.extradata = stream_of(sets)
        if video.context.name == "hevc":
            stream.codec_context.codec_tag = "hvc1"  # all sets stand outside of the packets; QuickTime plays no others
        base = stream.time_base = pictures.base
        track = heard.track(out)
        for packet in pictures.packets():
            if track is not None and packet.dts is not None:
                track.write((packet.dts, base))
            packet.stream = stream
            out.mux(packet)
        if track is not None:
            track.write()
    without_picture_edits(path)


def _wanted(
    seams: Seams,
    parts: Sequence[_Joined],
    sets: Sequence[bytes],
    source: _Source,
    encoded: tuple[Encoded | None, Encoded | None],
) -> Wanted:
    """What the file must be."""
    pictures = _Pictures(parts, seams.timing, 0)
    places = pictures.places()
    at = {part.shown: place for part, place in zip(parts, places, strict=True)}
    digests = {at[shown]: found for shown, found in source.digests.items()}
    codec, heads, tails = source.video.context.name, len(seams.head), len(seams.tail)
    head, tail = encoded
    # The first encoded pictures and then the first copied ones: these begin anew, so that those between are not decoded for them.
    begun = range(heads, heads + seams.opening)
    looked = 0 if head is None else max(WITHOUT_SEAM, (head.first_repeated or 0) + 3)
    opening = [*range(min(heads, looked)), *begun]
    first = {places[n]: digests[places[n]] for n in begun}
    if head is not None:
        first |= dict(zip(places, map(digest, head.decoded(codec, looked)), strict=False))
    looks = [Looked(opening, first, whole=True)]
    if tail is not None:
        about, copied = seams.before_tail(WINDOW), len(seams.copied)
        fed = [heads + n for n in range(seams.last_restart, copied) if seams.copied[n].needed or n in about]
        last = {places[heads + n]: digests[places[heads + n]] for n in about}
        last |= dict(zip(places[heads + copied :], map(digest, tail.decoded(codec, WINDOW)), strict=False))
        looks.append(Looked([*fed, *range(heads + copied, heads + copied + tails)], last))
    return Wanted([p.units for p in parts], places, pictures.base, frozenset(sets), looks)
