"""Encoders of video that a recipe may name for the clips that it exports: what each is told for a quality and a speed, and whether it opens on this machine.

What belongs here: what is different about each. What does not: encoding a clip (the room `publish/cutting`), and the few pictures beside the seams of a clip that is
copied but for them, which stay libx264's and libx265's: they need parameter sets of numbers that FFmpeg's NVENC encoders cannot be told.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, cast

from curation_resources.faults import DeviceFault
from curation_resources.x264 import repeatable

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

EncoderName = Literal["libx264", "libx265", "h264_nvenc", "hevc_nvenc"]
X26_PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
NVENC_PRESETS = tuple(f"p{n}" for n in range(1, 8))
"""Fastest first, as of NVENC's API 10; its older names are left out, which newer drivers do not know."""
X265 = "pools=none:frame-threads=1:wpp=0:open-gop=0:info=0:log-level=none"
"""One thread, so that the same pictures give the same bytes; every key frame is one to begin at; no unit that says how it was encoded."""
TRIED = (256, 256)
"""Width and height of the picture for which an encoder is opened to see whether it does: none of NVENC's generations has a larger least size."""
KEY = "export.clips.encoder"


class NoEncoder(RuntimeError):
    """An encoder that does not open on this machine; the message says why, which key names it, and what to do."""


@dataclass(frozen=True)
class Encoder:
    """One that a recipe may name.

    Attributes:
        name: FFmpeg's.
        codec: what it writes, `h264` or `hevc`.
        presets: that it knows, fastest first.
        preset: where the recipe says none.
        least: the least `crf` that it takes.
        tag: of its track in an mp4 file; None for the muxer's own.
    """

    name: str
    codec: str
    presets: tuple[str, ...]
    preset: str
    least: int = 0
    tag: str | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU encodes."""
        return self.name.endswith("_nvenc")

    def options(self, crf: int, preset: str, reordered: bool) -> dict[str, str]:
        """Options for one clip, encoded in one thread where the CPU does it.

        NVENC has no `crf`. Its constant quality is variable bit rate with a target quality on the same scale of 0 to 51, in which 0 leaves the choice to it (`cq` of FFmpeg's
        libavcodec/nvenc_h264.c; nvenc.c then drops mean bit rate and buffer size, which `b` says here for releases that do not). It is told the recipe's number as it
        is; at one number the two give neither the same quality nor the same size. It is never told to reorder pictures: FFmpeg 5 and 6 take the
        durations of reordered ones from the tick in the stream, which FFmpeg does not set there.

        Args:
            reordered: whether there may be B-frames.
        """
        if self.on_gpu:
            profile = "high" if self.codec == "h264" else "main"
            quality = {"rc": "vbr", "cq": str(crf), "b": "0"}
            return {"preset": preset, "tune": "hq", "profile": profile, "g": "250", "bf": "0", **quality}
        said = {"crf": str(crf), "preset": preset, "threads": "1"}
        if self.codec == "h264":
            return said | repeatable() | ({} if reordered else {"bf": "0"})
        return said | {"x265-params": X265 if reordered else f"{X265}:bframes=0"}

    def check(self) -> None:
        """Opens it for a small picture, and closes it.

        Raises:
            NoEncoder: it does not open.
        """
        import av

        try:
            context = cast("VideoCodecContext", av.CodecContext.create(self.name, "w"))
        except av.codec.codec.UnknownCodecError as error:
            raise NoEncoder(
                f"{KEY}: {self.name} is not in this build of PyAV; install its own wheel, or say `encoder: libx264`"
            ) from error
        context.width, context.height = TRIED
        context.pix_fmt, context.framerate, context.time_base = "yuv420p", Fraction(25), Fraction(1, 25)
        context.options = self.options(max(self.least, 23), self.preset, False)
        with reasons() as told:
            try:
                context.open()
            except av.FFmpegError as error:
                why = said_why(told, error)
                needs = "it needs an NVIDIA GPU that has NVENC, and its driver; export where there is one, or say"
                raise NoEncoder(
                    f"{KEY}: {self.name} does not open on this machine ({why}): "
                    f"{needs if self.on_gpu else 'say'} `encoder: libx264`"
                ) from error

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Tells of what a GPU's encoder fails for within the block whether it is the pictures or the GPU.

        Raises:
            ValueError: it refuses pictures such as these, for instance of this size.
            DeviceFault: it does not open, or fails at work: it has as many clips in hand as it takes, its memory is full, or it is gone.
        """
        if not self.on_gpu:
            yield
            return
        import av

        with reasons() as told:
            try:
                yield
            except av.FFmpegError as error:
                why = said_why(told, error)
                if error.errno == errno.EINVAL:
                    raise ValueError(f"{self.name} refuses its pictures ({why})") from error
                raise DeviceFault(f"{self.name} fails ({why})") from error


ENCODERS: Mapping[str, Encoder] = {
    e.name: e
    for e in (
        Encoder("libx264", "h264", X26_PRESETS, "veryfast"),
        Encoder("libx265", "hevc", X26_PRESETS, "veryfast", tag="hvc1"),
        Encoder("h264_nvenc", "h264", NVENC_PRESETS, "p4", least=1),
        Encoder("hevc_nvenc", "hevc", NVENC_PRESETS, "p4", least=1, tag="hvc1"),
    )
}
"""By name. `hvc1`: parameter sets stand outside of the packets; QuickTime plays no other H.265."""


@contextmanager
def reasons() -> Iterator[list[tuple[int, str, str]]]:
    """What FFmpeg logs of errors within the block, on this thread: level, who, message. Its exceptions say a number."""
    import av

    before, skipping = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture() as told:
            yield told
    finally:
        av.logging.set_skip_repeated(skipping)
        av.logging.set_level(before)


def said_why(told: list[tuple[int, str, str]], error: Exception) -> str:
    """The first thing that FFmpeg said went wrong; else what the exception says."""
    said = [message.strip() for _, _, message in told if message.strip()]
    return said[0] if said else getattr(error, "strerror", None) or str(error)
