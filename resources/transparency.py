"""Video with an alpha channel, made opaque: laid on black, as browsers show a video that nothing lies behind.

What lies under transparent parts is arbitrary; a converter that drops the channel shows it. Straight alpha is taken for granted, as the formats
define it. VP8 and VP9 in WebM code the channel as a second picture beside the first, which FFmpeg's own decoders pass over.
"""

from __future__ import annotations

from typing import Any

import av
import av.filter
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

# Eight bits first: FFmpeg 8 blends twelve-bit alpha, ProRes 4444's, as if it had ten.
STEPS = ("format=rgba", "scale=alphablend=uniform_color", "format=rgb24")
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders of FFmpeg that read the channel of WebM."""


def alpha_decoder(stream: VideoStream) -> VideoCodecContext | None:
    """A decoder that gives the alpha channel of a stream which the stream's own decoder leaves out; None where there is no such channel."""
    name = _WITH_ALPHA.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return None
    context = av.CodecContext.create(name, "r")
    assert isinstance(context, VideoCodecContext)
    context.extradata = stream.codec_context.extradata
    return context


class Opaque:
    """Gives back frames without transparency: those that have none as they are, others as RGB on black.

    Args:
        idle: whether a channel that is zero all over is one that nobody filled in, as in AVI, where 32 bits a pixel are the custom of graphics cards.

    Attributes:
        changed: whether there were any that have an alpha channel.
    """

    def __init__(self, *, idle: bool = False) -> None:
        self.changed = False
        self._idle = idle
        self._opaque: set[str] = set()
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[int, int, str] | None = None

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """A frame of the same time and size."""
        name = frame.format.name
        if name in self._opaque:
            return frame
        if not _has_alpha(frame.format):
            self._opaque.add(name)
            return frame
        if self._idle and not frame.reformat(format="rgba").to_ndarray()[..., 3].any():
            return frame
        self.changed = True
        shape = (frame.width, frame.height, name)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = _graph(frame), shape
        times = frame.pts, frame.dts, frame.duration
        frame.pts = 0 if frame.pts is None else frame.pts
        self._graph.vpush(frame)
        flat = self._graph.vpull()
        assert isinstance(flat, VideoFrame)
        flat.pts, flat.dts, flat.duration = times
        return flat


def _has_alpha(format: Any) -> bool:
    return format.has_palette or any(component.is_alpha for component in format.components)


def _graph(frame: VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    nodes = [
        graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:pixel_aspect=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}",
        )
    ]
    for step in STEPS:
        name, _, arguments = step.partition("=")
        nodes.append(graph.add(name, arguments))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
