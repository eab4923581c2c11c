"""Which of the formats that an extractor offers is fetched.

The cost of curating is the cost of decoding, so the smallest picture that is large enough is taken; among equals the one that is
cheapest to fetch and decode and plays everywhere: MP4, then H.264, then one plain file with its audio, then the lowest bit rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from curation_resources.download_errors import DownloadError

Format = Mapping[str, Any]
"""A format as yt-dlp describes it: format_id, ext, protocol, vcodec, acodec, height, tbr, ..."""

PROTOCOLS = {"https": 0, "http": 0, "http_dash_segments": 1, "m3u8_native": 1, "m3u8": 1}
"""Protocols that stay within http(s), cheapest first."""


@dataclass(frozen=True)
class Choice:
    """The formats to fetch (one, or a video and an audio to merge) and the extension of the merged file."""

    formats: tuple[Format, ...]
    ext: str


def _has(f: Format, codec: str) -> bool:
    """Whether `f` has the stream; extractors leave the codec out where they do not know, and such files mostly have both."""
    return bool(f.get(codec) != "none")


def _is_mp4(f: Format) -> bool:
    return f.get("ext") in ("mp4", "m4v", "m4a")


def choose_formats(formats: Sequence[Format], height: int | None, audio: bool) -> Choice:
    """The smallest format that reaches `height`, else the largest below it, with its audio.

    Args:
        formats: what the extractor offers, in its order (worst first).
        height: wanted height in pixels; None takes the largest.
        audio: whether audio is wanted; formats to which no audio can be had then come last.

    Raises:
        DownloadError: no_video if there are only audio formats, unsupported if all are protected or need another protocol.
    """
    usable = [f for f in formats if not f.get("has_drm") and f.get("protocol", "https") in PROTOCOLS]
    videos = [f for f in usable if _has(f, "vcodec") and f.get("ext") != "mhtml"]
    audios = [f for f in usable if not _has(f, "vcodec") and _has(f, "acodec")]
    if not videos:
        if audios:
            raise DownloadError("no_video", "there are only audio formats")
        if any(f.get("has_drm") for f in formats):
            raise DownloadError("unsupported", "all formats are protected (DRM)")
        if formats and not usable:
            raise DownloadError("unsupported", "no format can be fetched over http(s)")
        raise DownloadError("no_video", "there are no video formats")

    def size(f: Format) -> tuple[int, int]:
        pixels = f.get("height")
        if not pixels:
            return 2, 0
        return (0, pixels) if height is not None and pixels >= height else (1, -pixels)

    def rank(indexed: tuple[int, Format]) -> tuple[Any, ...]:
        index, f = indexed
        muxed = _has(f, "acodec")
        return (
            audio and not muxed and not audios,
            size(f),
            -(f.get("language_preference") or 0) if muxed else 0,
            not _is_mp4(f),
            not str(f.get("vcodec") or "avc1").startswith(("avc1", "h264")),
            PROTOCOLS[f.get("protocol", "https")],
            muxed is not audio,
            f.get("tbr") or f.get("vbr") or float("inf"),
            -index,
        )

    video = min(enumerate(videos), key=rank)[1]
    if _has(video, "acodec") or not audio or not audios:
        return Choice((video,), str(video.get("ext") or "mp4"))
    sound = max(
        enumerate(audios),
        key=lambda i: (
            i[1].get("language_preference") or 0,
            _is_mp4(i[1]) == _is_mp4(video),
            -PROTOCOLS[i[1].get("protocol", "https")],
            i[1].get("abr") or i[1].get("tbr") or 0,
            i[0],
        ),
    )[1]
    if _is_mp4(video) and _is_mp4(sound):
        ext = "mp4"
    else:
        ext = "webm" if video.get("ext") == "webm" and sound.get("ext") in ("webm", "opus", "ogg") else "mkv"
    return Choice((video, sound), ext)
