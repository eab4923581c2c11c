"""Decodes frames that the first decoder of a sparse pass was not handed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import av
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.shown_frames import Decoding, Irregular


@dataclass(eq=False)
class QueuedPacket:
    """A packet on its way: `sent` once the first decoder has been handed it."""

    packet: av.Packet
    serial: int
    pts: int
    reference: bool
    sent: bool = False


class SecondDecoder:
    """Decodes frames that the first decoder was not handed, from the key frame before them."""

    def __init__(self, video: OpenVideo, found: Decoding) -> None:
        self._video, self._found = video, found
        self._context: VideoCodecContext | None = None
        self._next = -1
        self._frames: dict[int, VideoFrame] = {}

    def decode(
        self, kept: deque[QueuedPacket], wanted: list[QueuedPacket], after: int, more: Callable[[], bool]
    ) -> Iterator[tuple[QueuedPacket, VideoFrame]]:
        """The frames of the `wanted` packets, which are given in display order.

        Args:
            kept: packets from a key frame shown no later than `after` on.
            more: appends another packet to `kept`; False if there is none.
        """
        self._drop_before(after + 1)
        steps = self._steps(kept, {e.serial for e in wanted}, more)
        for entry in wanted:
            self._drop_before(entry.pts)
            while entry.pts not in self._frames:
                if next(steps, None) is None:
                    raise Irregular("a packet gave no frame")
                self._drop_before(entry.pts)
            yield entry, self._frames.pop(entry.pts)

    def _drop_before(self, pts: int) -> None:
        """Lets go of frames that are shown before `pts`."""
        self._frames = {at: frame for at, frame in self._frames.items() if at >= pts}

    def _steps(self, kept: deque[QueuedPacket], wanted: set[int], more: Callable[[], bool]) -> Iterator[bool]:
        """Decodes a packet at each step, from where it stopped the last time if nothing wanted lies before."""
        first = min(wanted)
        if self._context is None or not kept[0].serial <= self._next <= first:
            self._restart(kept[0].serial)
        while self._next - kept[0].serial < len(kept) or more():
            entry = kept[self._next - kept[0].serial]
            self._next = entry.serial + 1
            if entry.reference or entry.serial >= first:
                self._take(entry.packet)
                yield True
        self._take(None)
        self._context = None
        yield True

    def _restart(self, serial: int) -> None:
        source = self._video.context
        context = VideoCodecContext.create(source.codec.name, "r")
        assert isinstance(context, VideoCodecContext)
        context.extradata = source.extradata
        context.thread_count = 1
        context.flags |= Flags.unaligned
        context.options = {"skip_loop_filter": "all"}
        self._context = context
        self._next = serial
        self._frames.clear()

    def _take(self, packet: av.Packet | None) -> None:
        for frame in self._video.decode(packet, self._context):
            self._found.decoded_again += 1
            if frame.pts is not None:
                self._frames[frame.pts] = frame
