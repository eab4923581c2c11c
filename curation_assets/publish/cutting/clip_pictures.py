"""The pictures of an exported clip: a decoded frame turned as it is shown, cropped and scaled, in YUV or as an array.

What belongs here: geometry of whole pictures. What does not: windows that follow a track (`track_pictures.py`), encoding (`clip_encoding.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import av
import av.filter
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from curation_assets.decode.reading.media import Display
from curation_assets.publish.clip_dataset import ClipExport

Image = NDArray[np.uint8]
Crop = tuple[float, float, float, float]
"""x, y, w, h as fractions of the displayed frame."""


def even(length: float) -> int:
    """The largest even number up to `length`, at least 2."""
    return max(2, int(length) // 2 * 2)


class ClipPictures:
    """Turns the decoded frames of one video into the pictures of an exported clip, in YUV or, if `rgb`, as arrays.

    Args:
        frame: the first frame, which decides the size; frames of other sizes are scaled to it.
        display_of: how a frame is shown.
        params: size options.
        crop: the part that is kept; None is all.
        rgb: whether arrays are wanted.
        full: whether the whole picture is wanted in its own size, for tracks.
    """

    def __init__(
        self,
        frame: VideoFrame,
        display_of: Callable[[VideoFrame], Display],
        params: ClipExport,
        crop: Crop | None,
        rgb: bool,
        full: bool = False,
    ) -> None:
        self._display_of, self._rgb = display_of, rgb
        self._crop = None if full else crop
        display = display_of(frame)
        stored, (*_, w, h) = self._kept(frame, display)
        shown = (w * display.size[0] / stored[0], h * display.size[1] / stored[1])
        shrink = 1.0 if full or params.short_side is None else min(1.0, params.short_side / min(shown))
        if full:
            self.size = display.size
        else:
            self.size = (even(round(shown[0] * shrink)), even(round(shown[1] * shrink)))
        self._trimmed = not full and shrink == 1.0 and display.aspect == 1
        self._first = stored
        self._steps: list[str] = []
        self._made_for: tuple[int, int, str] | None = None
        self._graph: av.filter.Graph | None = None

    def _kept(self, frame: VideoFrame, display: Display) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """The stored size of a frame once it is turned, and the part of it that is kept."""
        stored = (frame.height, frame.width) if display.orientation.sideways else (frame.width, frame.height)
        if min(stored) < 2:
            raise ValueError(f"pictures of {stored[0]}x{stored[1]} pixels are too small to be encoded")
        return stored, (0, 0, *stored) if self._crop is None else _pixels(self._crop, stored)

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """The picture of a frame; the frame itself where nothing is to be changed."""
        shape = (frame.width, frame.height, frame.format.name)
        if shape != self._made_for:
            self._steps, self._graph, self._made_for = self._plan(frame), None, shape
        if not self._steps:
            return frame
        if self._graph is None:
            self._graph = self._build(frame)
        self._graph.vpush(frame)
        return cast(VideoFrame, self._graph.vpull())

    def _plan(self, frame: VideoFrame) -> list[str]:
        """The filters for frames like this one."""
        display = self._display_of(frame)
        stored, (x, y, w, h) = self._kept(frame, display)
        if self._trimmed and stored == self._first:
            w, h = self.size  # an odd row or column is cut off rather than the whole picture scaled
        steps = display.orientation.filters
        if (w, h) != stored:
            steps.append(f"crop={w}:{h}:{x}:{y}:exact=1")
        if (w, h) != self.size:
            steps.append(f"scale={self.size[0]}:{self.size[1]}:flags=bicubic+accurate_rnd+full_chroma_int")
        if self._rgb:
            steps.append("format=rgb24")
        elif steps or frame.format.name not in ("yuv420p", "yuvj420p"):
            steps.append("format=yuv420p")
        return [*steps, "setsar=1"] if steps else []

    def _build(self, frame: VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 1
        source = (
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:pixel_aspect=1/1"
            f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
        )
        nodes = [graph.add("buffer", source)]
        for step in self._steps:
            name, _, arguments = step.partition("=")
            nodes.append(graph.add(name, arguments or None))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph


def _pixels(crop: Crop, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The rectangle in whole, even pixels, inside the frame."""
    x, y = even(crop[0] * size[0] + 1) if crop[0] > 0 else 0, even(crop[1] * size[1] + 1) if crop[1] > 0 else 0
    x, y = min(x, size[0] - 2), min(y, size[1] - 2)
    right, bottom = round((crop[0] + crop[2]) * size[0]), round((crop[1] + crop[3]) * size[1])
    return x, y, even(min(right, size[0]) - x), even(min(bottom, size[1]) - y)
