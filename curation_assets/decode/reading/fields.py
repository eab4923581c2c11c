"""Interlaced pictures: two half pictures of different times, woven line by line, made into whole ones.

A frame that moves shows combs where the two fields differ; a screen that draws lines all at once has to fill in every other line, as players
do. The filter is ffmpeg's bwdif, one picture for each frame at the frame's own time; frames that are not marked as interlaced pass as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import av.filter
from av.error import BlockingIOError as NotYet
from av.error import EOFError as AtEnd
from av.video.frame import VideoFrame

FILTER = "mode=send_frame:parity=auto:deint=interlaced"


class Deinterlacer:
    """Passes frames on in order, deinterlaced where they are marked as interlaced; one frame late from the first such on.

    Attributes:
        active: whether an interlaced frame has been seen.
        fields: presentation ticks of the frames that were interlaced; whoever takes such a frame may take its ticks out.
    """

    def __init__(self) -> None:
        self.active = False
        self.fields: set[int | None] = set()
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[int, int, str] | None = None
        self._within: deque[tuple[int | None, int | None, int]] = deque()

    def __call__(self, frames: Iterable[VideoFrame], *, last: bool) -> list[VideoFrame]:
        """The frames that can be given out after `frames` came in; all that are left if they are the `last`."""
        ready: list[VideoFrame] = []
        for frame in frames:
            if frame.interlaced_frame:
                self.active = True
                self.fields.add(frame.pts)
            ready += self._push(frame) if self.active else [frame]
        return ready + self._drain() if last and self.active else ready

    def reset(self) -> None:
        """Forgets what came before, after a seek."""
        self._graph = None
        self._within.clear()
        self.fields.clear()

    def _push(self, frame: VideoFrame) -> list[VideoFrame]:
        ready: list[VideoFrame] = []
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is not None and shape != self._shape:
            ready += self._drain()
        if self._graph is None:
            self._graph, self._shape = _graph(frame), shape
        self._within.append((frame.pts, frame.dts, frame.duration))
        frame.pts = len(self._within) if frame.pts is None else frame.pts
        self._graph.vpush(frame)
        return ready + self._pull()

    def _pull(self) -> list[VideoFrame]:
        ready: list[VideoFrame] = []
        while self._graph is not None and self._within:
            try:
                frame = self._graph.vpull()
            except (NotYet, AtEnd):
                break
            assert isinstance(frame, VideoFrame)
            # The filter counts in half ticks.
            frame.pts, frame.dts, frame.duration = self._within.popleft()
            ready.append(frame)
        return ready

    def _drain(self) -> list[VideoFrame]:
        if self._graph is None:
            return []
        self._graph.vpush(None)
        ready = self._pull()
        self._graph = None
        self._within.clear()
        return ready


def _graph(frame: VideoFrame) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    source = (
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:pixel_aspect=1/1"
        f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
    )
    graph.link_nodes(graph.add("buffer", source), graph.add("bwdif", FILTER), graph.add("buffersink")).configure()
    return graph
