"""Opens media that others made and says what they are, or why they are no video.

`open_container` is the only way in this project to open media with ffmpeg: a list of demuxers keeps a file that is really a playlist, a
script of file names or a picture from being read as video, and from making ffmpeg open other files or the network.
"""

from __future__ import annotations

import errno
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from curation_resources.download_errors import DownloadError
from curation_resources.orientation import Orientation
from curation_resources.signatures import no_media

DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,mpegts,mpeg,mpegvideo,asf,ogg,mxf,nut,ivf,rm,dv,wtv,"
    "mp3,wav,flac,aac,ac3,aiff,w64"
)
"""Demuxers for containers of video, and of audio so that such files are called by their name."""

OPEN_TIMEOUT_S = 60.0
READ_TIMEOUT_S = 60.0
TAIL_S = 5.0
"""How much of the end is looked at when a file is not read through."""
DURATION_SCAN_BYTES = 256_000_000
"""Media in storage up to this size are read through when their header gives no duration."""
FIRST_FRAME_PACKETS = 500
"""So many packets may go by before the first picture."""
THUMBNAIL = (160, 90)
BLACK_MEAN, BLACK_SPREAD = 28.0, 6.0
"""Mean luma (of 16 to 235) and standard deviation up to which a picture counts as black."""

INDEXED = ("mov", "avi")
"""Containers whose header has the duration of what is shown; that of others is FFmpeg's estimate, or includes what lies before the start."""
VERSION = "2"
"""Raised when media are read that were refused before. 2: clocks that do not begin at zero, FLV without an index."""

ANIMATIONS = ("avif", "avis")
"""Brands of animated AVIF, whose transparency is a track of its own. FFmpeg gives the pictures without it."""

_MP4_NAMES = "mov,mp4,m4a,3gp,3g2,mj2"
_EXTENSIONS = {
    "avi": "avi",
    "flv": "flv",
    "live_flv": "flv",
    "mpegts": "ts",
    "mpeg": "mpg",
    "mpegvideo": "mpg",
    "asf": "wmv",
    "ogg": "ogv",
}


@dataclass(frozen=True)
class Probe:
    """Facts of a video file.

    Attributes:
        container: format as ffmpeg names it.
        extension: file name extension that fits the container.
        video_codec, audio_codec: codec of the first stream of the kind; `audio_codec` is None without audio.
        width, height: stored pixels, before rotation and aspect correction.
        rotation: clockwise degrees to turn the picture for display: 0, 90, 180 or 270; a mirrored one is mirrored before that.
        fps: average frame rate; None if unknown.
        duration_ms: duration; None if unknown.
        thumbnail: small JPEG of the first picture that is not black; empty unless asked for.
    """

    container: str
    extension: str
    video_codec: str
    audio_codec: str | None
    width: int
    height: int
    rotation: int
    fps: float | None
    duration_ms: int | None
    thumbnail: bytes = b""


@contextmanager
def open_container(source: str | Path | BinaryIO) -> Iterator[Any]:
    """An `av` input container on a local file or a seekable stream, limited to `DEMUXERS`.

    Raises:
        av.FFmpegError: it cannot be opened.
    """
    import av

    with av.open(
        str(source) if isinstance(source, str | Path) else source,
        options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
        metadata_errors="replace",
        timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S),
    ) as container:
        yield container


def mp4_defect(stream: BinaryIO, size: int) -> str | None:
    """What is wrong with an MP4 or QuickTime file, from its top-level boxes (ISO/IEC 14496-12, 4.2); None if it is complete or no MP4."""
    stream.seek(0)
    if stream.read(8)[4:] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return None
    at, seen = 0, set()
    while at + 8 <= size:
        stream.seek(at)
        header = stream.read(16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if not all(32 <= c < 127 or c == 0xA9 for c in kind) or (length < 8 and length != 0):
            break
        seen.add(kind)
        if length and at + length > size:
            return f"it is truncated: its last part ends at byte {at + length}, the file at {size}"
        at = at + length if length else size
    if not seen & {b"moov", b"moof"}:
        if b"meta" in seen:
            return "the file is a picture (AVIF, HEIF), not a video"
        return "it is truncated: the index (moov) is missing"
    return None


def probe(source: str | Path | BinaryIO, *, thorough: bool = True, thumbnail: bool = False) -> Probe:
    """Opens a medium, decodes its first picture and checks that its end is there.

    Args:
        source: local file or seekable stream.
        thorough: whether the packets are read through to the end; otherwise only the last seconds are.
        thumbnail: whether a small picture is made.

    Raises:
        DownloadError: corrupt or no_video, with the reason.
    """
    import av

    stream = open(source, "rb") if isinstance(source, str | Path) else source
    try:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        if plain := no_media(stream.read(1024)):
            raise DownloadError("corrupt", f"the file is {plain}")
        if defect := mp4_defect(stream, size):
            raise DownloadError("corrupt", defect)
        stream.seek(0)
        try:
            with open_container(stream) as container:
                return _probe(container, stream, size, thorough, thumbnail)
        except av.FFmpegError as error:
            why = "it is none of the containers of video that are opened here" if error.errno == errno.EINVAL else None
            raise DownloadError(
                "corrupt", f"ffmpeg cannot read the file: {why or error.strerror or type(error).__name__}"
            ) from error
    finally:
        if stream is not source:
            stream.close()


def video_stream(container: Any) -> Any:
    """The video stream of an open PyAV container that a player would show; None if it has none, or only cover art.

    Of several, the one that FFmpeg ranks first (`av_find_best_stream`: default before special, then more frames and a higher bit rate).
    """
    import av

    videos = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
    known = [s for s in videos if s.codec_context is not None]
    best = container.streams.best("video")
    return best if best in known else next(iter(known or videos), None)


def _probe(container: Any, stream: BinaryIO, size: int, thorough: bool, thumbnail: bool) -> Probe:
    video = video_stream(container)
    if video is None:
        kinds = sorted({"cover art" if s.type == "video" else s.type for s in container.streams})
        raise DownloadError("no_video", f"the file has no video stream, only {' and '.join(kinds) or 'nothing'}")
    if container.metadata.get("major_brand") in ANIMATIONS and sum(s.frames > 1 for s in container.streams.video) > 1:
        raise DownloadError(
            "unsupported",
            "the file is an animated picture (AVIF) with transparency, not a video; convert it to one to have it read",
        )
    ends: dict[int, int] = {}
    frame = _first_frame(container, video, ends)
    picture = _thumbnail(container, video, frame, ends) if thumbnail else b""
    start_s = (container.start_time or 0) / 1e6
    duration_s = container.duration / 1e6 if container.duration and container.duration > 0 else None
    if duration_s is None and video.duration:
        duration_s = float(video.duration * video.time_base)
    if thorough or duration_s is not None or size <= DURATION_SCAN_BYTES:
        end_s = _end(container, None if thorough or duration_s is None else start_s + duration_s, size, ends)
        extent_s = end_s - start_s
        if duration_s is not None:
            # Matroska's duration is that of the clock, which need not begin at zero.
            of_clock = start_s > 0 and abs(duration_s - end_s) < abs(duration_s - extent_s)
            _complete(duration_s, end_s if of_clock else extent_s)
        if duration_s is None or not any(name in container.format.name for name in INDEXED):
            duration_s = extent_s
    rate = video.average_rate or video.guessed_rate
    audio = container.streams.audio[0] if container.streams.audio else None
    return Probe(
        container=container.format.name,
        extension=_extension(container.format.name, stream),
        video_codec=_codec_name(video) or "unknown",
        audio_codec=_codec_name(audio) if audio is not None else None,
        width=frame.width,
        height=frame.height,
        rotation=Orientation.of(frame).rotation,
        fps=float(rate) if rate else None,
        duration_ms=round(duration_s * 1000) if duration_s is not None and math.isfinite(duration_s) else None,
        thumbnail=picture,
    )


def _codec_name(stream: Any) -> str | None:
    context = stream.codec_context
    return str(context.codec.canonical_name) if context is not None else None


def _complete(declared_s: float, found_s: float) -> None:
    if declared_s - found_s > max(1.0, 0.05 * declared_s):
        raise DownloadError("corrupt", f"the file is truncated: it ends after {found_s:.1f} of {declared_s:.1f} s")


def _first_frame(container: Any, video: Any, ends: dict[int, int]) -> Any:
    """The first picture that can be decoded; `ends` is filled with where the packets on the way end."""
    import av

    if video.codec_context is None:
        raise DownloadError("corrupt", "the video's codec is unknown to ffmpeg")
    video.codec_context.flags |= av.codec.context.Flags.unaligned  # cut off what the stream cuts off on the left
    problem = "there is none"
    for number, packet in enumerate(container.demux(video)):
        _note_end(packet, ends)
        try:
            for frame in packet.decode():
                return frame
        except av.FFmpegError as error:
            problem = str(error.strerror)
        if number >= FIRST_FRAME_PACKETS:
            break
    raise DownloadError("corrupt", f"no picture can be decoded: {problem}")


def _decoded(container: Any, video: Any, ends: dict[int, int]) -> Iterator[Any]:
    """The pictures from here on; `ends` as in `_first_frame`."""
    for packet in container.demux(video):
        _note_end(packet, ends)
        yield from packet.decode()


def _note_end(packet: Any, ends: dict[int, int]) -> None:
    """Keeps in `ends` where the packets of each stream end, in the stream's own unit: fractions for every packet are slow."""
    stamp = packet.pts if packet.pts is not None else packet.dts
    if stamp is None or packet.size == 0 or packet.is_corrupt:
        return
    end = stamp + (packet.duration or 0)
    if end > ends.get(packet.stream_index, end - 1):
        ends[packet.stream_index] = end


def _end(container: Any, declared_s: float | None, size: int, ends: dict[int, int]) -> float:
    """When the last packet ends, seconds on the container's clock.

    Args:
        declared_s: where the file says it ends, of which only the last seconds are read; None reads on from here.
        size: of the file; one that is larger than `DURATION_SCAN_BYTES` and cannot be moved in is believed.
        ends: of the packets that were read before, in units of their streams.
    """
    import av

    if declared_s is not None:
        try:
            container.seek(int(max(0.0, declared_s - TAIL_S) * 1e6), backward=True, any_frame=False)
        except av.FFmpegError:  # FLV without an index
            if size > DURATION_SCAN_BYTES:
                return declared_s
    try:
        for packet in container.demux():
            _note_end(packet, ends)
    except av.FFmpegError:
        pass  # what was read before the damage is all there is
    start_s = (container.start_time or 0) / 1e6
    return max((float(end * container.streams[n].time_base) for n, end in ends.items()), default=start_s)


def _is_black(frame: Any) -> bool:
    luma = frame.reformat(width=64, height=36, format="gray").to_ndarray()
    return bool(luma.mean() <= BLACK_MEAN and luma.std() <= BLACK_SPREAD)


def _thumbnail(container: Any, video: Any, first: Any, ends: dict[int, int]) -> bytes:
    """A JPEG of at most THUMBNAIL pixels, upright, of the first picture that is not black among the first key frames."""
    import av
    from PIL import Image

    from curation_resources.transparency import Opaque

    chosen = first
    if _is_black(first):
        video.codec_context.skip_frame = "NONKEY"
        try:
            for number, frame in enumerate(_decoded(container, video, ends)):
                if not _is_black(frame):
                    chosen = frame
                    break
                if number >= 5:
                    break
        except av.FFmpegError:
            chosen = first
    scale = min(max(THUMBNAIL) / max(chosen.width, chosen.height), 1.0)
    width, height = max(2, round(chosen.width * scale)), max(2, round(chosen.height * scale))
    orientation, chosen = Orientation.of(chosen), Opaque()(chosen)
    picture = chosen.reformat(width=width, height=height, format="rgb24").to_ndarray()
    image = Image.fromarray(orientation.turn(picture))
    image.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def _extension(container: str, stream: BinaryIO) -> str:
    """File name extension for ffmpeg's name of a container; the bytes tell MP4 from QuickTime and WebM from Matroska."""
    stream.seek(0)
    head = stream.read(256)
    if container == _MP4_NAMES:
        return "mov" if head[4:12] in (b"ftypqt  ",) or head[4:8] in (b"moov", b"wide", b"mdat") else "mp4"
    if container == "matroska,webm":
        return "webm" if b"webm" in head else "mkv"
    return _EXTENSIONS.get(container, container.split(",")[0])
