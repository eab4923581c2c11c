"""The frames of a video in display order, those that nothing references decoded only where the picture changes.

For H.264 and H.265 in containers that give presentation times, where half of the frames or more are referenced by no other frame and can be left
out without touching the rest: it decodes the reference frames, looks at how much the tiny picture changes from one to the next, and fills the
frames between with a blend where it hardly does. Where it does, the frames between are decoded as well: in place while the picture keeps
changing (the frames to come are sent to the decoder), and by a second decoder that starts at the key frame before where the change comes as a
surprise (`second_decoder.py`). So every frame beside a possible boundary has been seen as it is, and the reference frames are bit for bit those
of a full decode.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

import av
import cv2
from av.video.frame import VideoFrame

from curation_assets.decode.reading.frame_clock import FrameClock
from curation_assets.decode.reading.media import Display, OpenVideo
from curation_assets.decode.reading.picture import AnalysisPicture, BlendedPicture, PictureMaker
from curation_assets.decode.reading.reference_frames import reference_test
from curation_assets.decode.reading.second_decoder import QueuedPacket, SecondDecoder
from curation_assets.decode.reading.shown_frames import Decoding, Irregular, ShownFrame, together

SUSPECT = ((40.0, 0.0), (16.0, 1.5), (8.0, 2.5))
"""A boundary may lie between two decoded frames if the mean absolute difference of their tiny pictures exceeds so many levels and so many
times the differences of the decoded frames before and after: a boundary is a step, motion goes on."""
BUSY, CALM = 16.0, 12.0
"""Above and below this difference, the frames to come are no longer and again left out."""
KEPT_BYTES = 48_000_000
"""Compressed packets kept since the last key frame; a longer group is decoded in full from there on."""
UNTIMED = 64
"""Packets at the start that may lack a decoding time, which mkv does not store and FFmpeg works out."""
MAX_GAP_MS = 500
"""Reference frames further apart than this have the frames between them decoded."""


class SparseReader:
    """See the module. Use `sparse_frames`."""

    def __init__(self, video: OpenVideo, found: Decoding, is_reference: Callable[[av.Packet], bool]) -> None:
        self._video, self._found, self._is_reference = video, found, is_reference
        self._clock = FrameClock(video)
        self._maker: PictureMaker | None = None
        self._packets = video.packets()
        self._ended = False
        self._last_dts: int | None = None
        self._serial = 0
        self._ahead: deque[QueuedPacket] = deque()
        self._kept: deque[QueuedPacket] = deque()
        self._kept_bytes = 0
        self._keys: deque[QueuedPacket] = deque()
        self._longest_gap = MAX_GAP_MS / 1000 / video.time_base
        self._can_refine = False
        self._waiting: list[tuple[int, QueuedPacket]] = []
        self._again = SecondDecoder(video, found)
        self._busy = False
        video.context.options = {**video.context.options, "skip_loop_filter": "noref"}

    def __iter__(self) -> Iterator[ShownFrame]:
        before: _DecodedFrame | None = None
        step: _FrameStep | None = None
        for frame, picture, display, change in self._looked_at():
            entry, skipped = self._place(frame)
            now = _DecodedFrame(entry, frame, picture, display)
            if before is None:
                if skipped:
                    raise Irregular("frames are shown before the first that can be decoded")
                yield self._show(now)
            else:
                if step is not None:
                    yield from self._through(step, change)
                step = _FrameStep(before, skipped, now, change, step.change if step is not None else 0.0)
            before = now
        if step is not None:
            yield from self._through(step, 0.0)
        if before is not None:
            yield from self._decoded_between(before, [self._waiting_pop() for _ in range(len(self._waiting))])
        self._found.timeline, self._found.zero = self._clock.timeline(), self._clock.zero
        self._found.losses.finish(self._found.timeline, lambda _: 0, self._video)

    def _looked_at(self) -> Iterator[tuple[VideoFrame, AnalysisPicture, Display, float]]:
        """Frames of the first decoder, their pictures, and how far each is from the one before, a few at a time: what is done with them stays in the processor's caches for so long."""
        ready: list[tuple[VideoFrame, AnalysisPicture, Display, float]] = []
        before: AnalysisPicture | None = None
        for frame in self._decoded():
            display = self._video.display(frame)
            if self._maker is None:
                self._maker = PictureMaker(display)
            picture = self._maker(frame)
            change = _difference(before, picture) if before is not None else 0.0
            self._busy = change > (CALM if self._busy else BUSY)
            self._found.decoded += 1
            before = picture
            ready.append((frame, picture, display, change))
            if len(ready) >= together(display):
                yield from ready
                ready.clear()
        yield from ready

    def _demux(self) -> bool:
        """Reads one more packet into the queue; False at the end."""
        packet = next(self._packets, None)
        if packet is None:
            self._ended = True
            return False
        if packet.pts is None or packet.is_corrupt:
            raise Irregular("packets without times")
        if packet.dts is not None:
            self._last_dts = packet.dts
        elif self._serial >= UNTIMED:
            raise Irregular("packets without decoding times")
        entry = QueuedPacket(packet, self._serial, packet.pts, self._is_reference(packet))
        self._serial += 1
        self._ahead.append(entry)
        self._keep(entry)
        if not packet.is_discard:
            heapq.heappush(self._waiting, (packet.pts, entry))
        return True

    def _more(self) -> bool:
        """Reads one more packet for the second decoder."""
        return self._demux() and self._can_refine

    def _keep(self, entry: QueuedPacket) -> None:
        """Keeps a packet for the second decoder; a group that is too large is given up until the next key frame."""
        if entry.packet.is_keyframe:
            self._can_refine = True
            self._keys.append(entry)
        if self._can_refine:
            self._kept.append(entry)
            self._kept_bytes += entry.packet.size
            self._can_refine = self._kept_bytes <= KEPT_BYTES

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames of the first decoder; what it is handed depends on what the consumer has made of the frames so far."""
        while self._ahead or self._demux():
            entry = self._ahead.popleft()
            if entry.reference or self._busy or not self._can_refine:
                entry.sent = True
                yield from self._checked(entry.packet)
        yield from self._checked(None)

    def _checked(self, packet: av.Packet | None) -> list[VideoFrame]:
        errors = self._video.errors
        frames = self._video.decode(packet)
        if self._video.errors > errors:
            raise Irregular(f"damaged packets: {self._video.error}")
        if self._video.interlaced:
            raise Irregular("it is interlaced")
        return frames

    def _place(self, frame: VideoFrame) -> tuple[QueuedPacket, list[QueuedPacket]]:
        """The packet that `frame` came from, and those that are shown before it and were left out."""
        if frame.pts is None or frame.is_corrupt:
            raise Irregular("frames without times")
        while not self._ended and (self._last_dts is None or self._last_dts <= frame.pts):
            self._demux()
        skipped = []
        while self._waiting and self._waiting[0][0] < frame.pts:
            entry = self._waiting_pop()
            if entry.sent:
                raise Irregular("a packet gave no frame")
            skipped.append(entry)
        if not self._waiting or self._waiting[0][0] != frame.pts:
            raise Irregular("a frame is shown at a time that no packet has")
        return self._waiting_pop(), skipped

    def _waiting_pop(self) -> QueuedPacket:
        pts, entry = heapq.heappop(self._waiting)
        if self._waiting and self._waiting[0][0] == pts:
            raise Irregular("two packets have one time")
        return entry

    def _through(self, step: _FrameStep, next_change: float) -> Iterator[ShownFrame]:
        """The frames after `step.before` up to and with `step.now`; `next_change` is the difference from there on."""
        before, skipped, now = step.before, step.skipped, step.now
        around = max(step.change_before, next_change)
        suspect = any(step.change > least and step.change > factor * around for least, factor in SUSPECT)
        if suspect or now.entry.pts - before.entry.pts > self._longest_gap:
            yield from self._decoded_between(before, skipped)
        else:
            self._found.blended += len(skipped)
            for entry in skipped:
                weight = (entry.pts - before.entry.pts) / (now.entry.pts - before.entry.pts)
                yield self._show(
                    _DecodedFrame(entry, None, BlendedPicture(before.picture, now.picture, weight), before.display)
                )
        yield self._show(now, step.change)
        self._forget(now.entry.pts)

    def _decoded_between(self, before: _DecodedFrame, skipped: list[QueuedPacket]) -> Iterator[ShownFrame]:
        if not skipped:
            return
        if any(e.sent or e.reference for e in skipped) or not self._kept or self._maker is None:
            raise Irregular("a packet gave no frame")
        for entry, frame in self._again.decode(self._kept, skipped, before.entry.pts, self._more):
            yield self._show(_DecodedFrame(entry, frame, self._maker(frame), before.display))

    def _show(self, seen: _DecodedFrame, change: float | None = None) -> ShownFrame:
        duration = seen.entry.packet.duration or 0
        time_ms = self._clock.show(seen.entry.pts, duration)
        faithful = seen.frame is not None and seen.entry.reference
        index = len(self._clock.times) - 1
        self._found.shown(index, seen.display)
        if seen.frame is not None and seen.frame.interlaced_frame:
            self._found.interlaced.append(index)
        return ShownFrame(index, time_ms, seen.picture, seen.display, seen.frame, faithful, change)

    def _forget(self, shown_pts: int) -> None:
        """Drops the packets before the last key frame that is shown by now."""
        while len(self._keys) > 1 and self._keys[1].pts <= shown_pts:
            self._keys.popleft()
            while self._kept[0] is not self._keys[0]:
                self._kept_bytes -= self._kept.popleft().packet.size


class _DecodedFrame(NamedTuple):
    entry: QueuedPacket
    frame: VideoFrame | None
    picture: AnalysisPicture
    display: Display


class _FrameStep(NamedTuple):
    """From one decoded frame to the next, with the frames between that were left out and how much the picture changes."""

    before: _DecodedFrame
    skipped: list[QueuedPacket]
    now: _DecodedFrame
    change: float
    change_before: float


def _difference(before: AnalysisPicture, after: AnalysisPicture) -> float:
    """Mean absolute difference of the tiny pictures, levels."""
    return cv2.norm(before.tiny_rgb, after.tiny_rgb, cv2.NORM_L1) / after.tiny_rgb.size


def sparse_frames(video: OpenVideo, found: Decoding) -> Iterator[ShownFrame]:
    """The frames of `video`, those that nothing references decoded only where the picture changes.

    Raises:
        Irregular: this stream cannot be decoded sparsely; also midway. Begin again with `every_frame`.
    """
    is_reference = reference_test(video.context)
    found.deinterlace = video.deinterlacer is not None
    if video.reordered:
        raise Irregular("its packets do not say when they are shown")
    if is_reference is None:
        raise Irregular(f"{video.context.name} packets do not say whether they are referenced")
    return iter(SparseReader(video, found, is_reference))
