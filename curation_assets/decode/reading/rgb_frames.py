"""RGB frames of clips from one of several decoders: which one decodes changes nothing of which frames there are, and when they are shown.

What belongs here: the contract, and who may decode what. What does not: PyAV's reader (`clip_frames.py`), torchcodec's (`torchcodec_frames.py`).

The contract is that of `ClipReader`: frames in order of display, times in whole milliseconds from the moment at which a player shows the start of the
file, edit lists applied, pictures turned and stretched as they are displayed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, Literal, Protocol

from curation_assets.decode.reading.clip_frames import ClipReader, Image
from curation_resources.extras import require

Decoder = Literal["pyav", "torchcodec", "nvdec"]
"""PyAV with its own FFmpeg; torchcodec on the CPU with the system's; torchcodec on a GPU."""


class NoDevice(RuntimeError):
    """A decoder that needs a GPU where there is none; the message says what is missing."""


class RgbFrames(Protocol):
    """Reads clips of one video; they are best read in order of time."""

    def frames(
        self, start_ms: int, end_ms: int, fps: float | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, Image]]:
        """Time and picture of the frames of the clip [start_ms, end_ms).

        Args:
            fps: as of `ClipReader.frames`.
            size: displayed width and height of the pictures, uint8 (h, w, 3); None is that of the video's first.

        Raises:
            ClipUnreadable: not one frame could be decoded.
            MediaError: the decoder gives the video up.
        """
        ...


def check_decoder(decoder: Decoder) -> None:
    """Makes sure that a decoder can work on this machine.

    Raises:
        MissingExtra: its package is not installed.
        NoDevice: its GPU or its libraries are not there.
    """
    if decoder == "pyav":
        return
    require(f"decoder {decoder}", "torchcodec")
    from curation_assets.decode.reading.torchcodec_frames import load

    load(decoder)


def open_rgb(source: BinaryIO, decoder: Decoder = "pyav") -> AbstractContextManager[RgbFrames]:
    """The frames of a video. What torchcodec does not read as players show it is read by PyAV whichever decoder is asked for (`torchcodec_frames.DecodingFacts.unfit`).

    Args:
        source: seekable; it is not closed.

    Raises:
        ClipUnreadable: not a video that can be opened.
        NoDevice: as of `check_decoder`.
    """
    return _pyav(source) if decoder == "pyav" else _torchcodec(source, decoder)


@contextmanager
def _pyav(source: BinaryIO) -> Iterator[RgbFrames]:
    with ClipReader(source) as reader:
        yield _PyavFrames(reader)


@contextmanager
def _torchcodec(source: BinaryIO, decoder: Decoder) -> Iterator[RgbFrames]:
    check_decoder(decoder)
    from curation_assets.decode.reading.torchcodec_frames import TorchcodecFrames, facts_of

    facts = facts_of(source)
    source.seek(0)
    if facts.unfit is None:
        yield TorchcodecFrames(source, facts, decoder)
    else:
        with _pyav(source) as frames:
            yield frames


class _PyavFrames:
    def __init__(self, reader: ClipReader) -> None:
        self._reader = reader

    def frames(
        self, start_ms: int, end_ms: int, fps: float | None = None, size: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, Image]]:
        for frame in self._reader.frames(start_ms, end_ms, fps):
            yield frame.time_ms, self._reader.rgb(frame, size)
