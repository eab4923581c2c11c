"""A picture and a sound that lie in two files -> one file, both as they are."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation_resources.download_errors import DownloadError

IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
"""Codecs of sound that players find in MP4; other sound, and pictures of other containers than MP4, go into Matroska."""


def join_sound(video: Path, sound: Path, target: Path) -> None:
    """Writes `target` with the first picture of `video` and the first sound of `sound`, both copied, from the same zero.

    Raises:
        DownloadError: corrupt, where the sound cannot be read.
    """
    import av

    from curation_resources.probe import open_container

    with open(video, "rb") as pictures, open(sound, "rb") as sounds:
        try:
            with open_container(pictures) as shown, open_container(sounds) as heard:
                if not heard.streams.audio:
                    raise DownloadError("corrupt", "the file of sound beside the video has no sound")
                stream = heard.streams.audio[0]
                fits = "mp4" in shown.format.name and stream.codec_context.name in IN_MP4
                with av.open(str(target), "w", format="mp4" if fits else "matroska") as out:
                    picture = out.add_stream_from_template(shown.streams.video[0], opaque=True)
                    audio = out.add_stream_from_template(stream, opaque=True)
                    both = (_packets(shown, 0, "video"), _packets(heard, 1, "audio"))
                    for _, place, packet in heapq.merge(*both, key=lambda item: item[:2]):
                        packet.stream = audio if place else picture
                        out.mux(packet)
        except av.FFmpegError as error:
            raise DownloadError("corrupt", f"the sound beside the video cannot be joined to it: {error}") from error


def _packets(container: Any, place: int, kind: str) -> Iterator[tuple[float, int, Any]]:
    """(seconds, place, packet) of the first stream of a kind; a packet without a time has that of the one before."""
    at = 0.0
    for packet in container.demux(**{kind: 0}):
        if packet.size:
            at = float(packet.dts * packet.time_base) if packet.dts is not None else at
            yield at, place, packet
