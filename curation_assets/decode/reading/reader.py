"""The frames of a video in display order, each decoded at most once where that is enough.

`every_frame` decodes everything. `sparse_frames` is for H.264 and H.265 in containers that give presentation times, where half of the frames
or more are referenced by no other frame and can be left out without touching the rest: it decodes the reference frames, looks at
how much the tiny picture changes from one to the next, and fills the frames between with a blend where it hardly does. Where
it does, the frames between are decoded as well: in place while the picture keeps changing (the frames to come are sent to the
decoder), and by a second decoder that starts at the key frame before where the change comes as a surprise. So every frame beside a
possible boundary has been seen as it is, and the reference frames are bit for bit those of a full decode.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from curation_assets.decode.reading.losses import Losses
from curation_assets.decode.reading.media import Display, MediaError, OpenVideo
from curation_assets.decode.reading.picture import AnalysisPicture, BlendedPicture, PictureMaker
from curation_assets.decode.reading.timeline import Timeline, milliseconds

SUSPECT = ((40.0, 0.0), (16.0, 1.5), (8.0, 2.5))
"""A boundary may lie between two decoded frames if the mean absolute difference of their tiny pictures exceeds so many levels and so many
times the differences of the decoded frames before and after: a boundary is a step, motion goes on."""
BUSY, CALM = 16.0, 12.0
"""Above and below this difference, the frames to come are no longer and again left out."""
KEPT_BYTES = 48_000_000
"""Compressed packets kept since the last key frame; a longer group is decoded in full from there on."""
UNTIMED = 64
"""Packets at the start that may lack a decoding time, which mkv does not store and FFmpeg works out."""
LONGEST_STEP_MS = 6 * 3_600_000
"""From one frame to the next. Further is no picture that stands but a clock that broke, as FLV's does where times are negative."""
MAX_GAP_MS = 500
"""Reference frames further apart than this have the frames between them decoded."""


class Irregular(MediaError):
    """The stream does not keep the promises that sparse decoding needs; every frame has to be decoded instead."""


@dataclass(frozen=True)
class Shown:
    """A frame as it is shown.

    Attributes:
        index: in display order.
        time_ms: when.
        picture: at the analysis size.
        display: how it is shown; of the frame before, if it was blended.
        frame: as decoded; None if it was blended from its neighbours.
        change: mean absolute difference of its tiny picture from that of the decoded frame before, levels, if it was looked at.
        faithful: whether `frame` is what a full decode gives; frames that nothing references may lack the loop filter.
    """

    index: int
    time_ms: int
    picture: AnalysisPicture
    display: Display
    frame: VideoFrame | None
    faithful: bool
    change: float | None = None


@dataclass
class Decoding:
    """What a pass over a video found out besides its frames; complete when the frames are exhausted.

    Attributes:
        displays: how the frames are shown, each from the frame on with that index, in order; empty without a frame.
        timeline: when they are shown; None until the end.
        zero: ticks of the stream at time 0.
        decoded, decoded_again, blended: frames that the first and the second decoder gave, and those that none did.
        deinterlace: whether interlaced frames were made into whole pictures.
        interlaced: indexes of the frames that are stored as two fields.
        losses: which frames the video should have and has not.
    """

    displays: list[tuple[int, Display]] = field(default_factory=list)
    zero: int = 0
    timeline: Timeline | None = None
    decoded: int = 0
    decoded_again: int = 0
    blended: int = 0
    deinterlace: bool = True
    interlaced: array[int] = field(default_factory=lambda: array("q"))
    losses: Losses = field(default_factory=Losses)

    @property
    def first_display(self) -> Display | None:
        """How the first frame is shown."""
        return self.displays[0][1] if self.displays else None

    def shown(self, index: int, display: Display) -> None:
        """Notes how a frame is shown; frames come in order."""
        if not self.displays or self.displays[-1][1] != display:
            self.displays.append((index, display))

    def display_at(self, index: int) -> Display:
        """How a frame is shown."""
        return self.displays[bisect_right(self.displays, index, key=lambda d: d[0]) - 1][1]

    def size_changes(self, start: int, end: int) -> int:
        """How often the displayed size changes within the frames [start, end)."""
        sizes = [self.display_at(start).size, *(d.size for at, d in self.displays if start < at < end)]
        return sum(a != b for a, b in pairwise(sizes))


@dataclass
class _Clock:
    """Presentation times in milliseconds from ticks, filling in missing ones and never going back."""

    video: OpenVideo
    times: list[int] = field(default_factory=list)
    zero: int = 0
    last_ticks: int = 0
    last_duration: int = 0

    def __post_init__(self) -> None:
        self.period = max(1, round(1 / self.video.rate / self.video.time_base))

    def show(self, ticks: int | None, duration: int) -> int:
        """The time of the next frame in display order.

        Raises:
            MediaError: it is more than `LONGEST_STEP_MS` after the one before.
        """
        if ticks is None:
            ticks = self.last_ticks + (self.last_duration or self.period) if self.times else self.video.start_ticks
        if not self.times:
            self.zero = min(ticks, self.video.zero_ticks)
        self.last_ticks, self.last_duration = ticks, duration
        time_ms = milliseconds(ticks - self.zero, self.video.time_base)
        before = self.times[-1] if self.times else 0
        if time_ms - before > LONGEST_STEP_MS:
            raise MediaError(
                f"its clock jumps by {(time_ms - before) // 3_600_000} hours before frame {len(self.times)}"
            )
        self.times.append(max(time_ms, before) if self.times else time_ms)
        return self.times[-1]

    def timeline(self) -> Timeline:
        """The whole; the last frame is shown until the end that the file states, else as long as the median frame."""
        times = np.array(self.times, np.int64)
        if not len(times):
            return Timeline(times, 0, 0.0)
        steps = np.diff(times)
        typical = int(np.median(steps)) if len(steps) else round(1000 * float(self.period * self.video.time_base))
        stated = self.video.end_ticks
        if stated is None and self.last_duration:
            stated = self.last_ticks + self.last_duration
        stated_ms = 0 if stated is None else milliseconds(stated - self.zero, self.video.time_base)
        longest = max(4 * typical, 1000)
        end = stated_ms if times[-1] < stated_ms <= times[-1] + longest else int(times[-1]) + max(1, typical)
        return Timeline(times, end, 1000 * len(times) / (end - int(times[0])))


def every_frame(video: OpenVideo, found: Decoding, *, exact: bool, vectors: bool = False) -> Iterator[Shown]:
    """All frames of `video`, decoded.

    Args:
        found: filled in on the way.
        exact: bit for bit; otherwise the loop filter is skipped for frames that no other frame needs.
        vectors: frames carry the stream's motion vectors as side data.
    """
    clock, maker, losses = _Clock(video), None, found.losses
    is_reference = None if exact else reference_test(video.context)
    references: dict[int, bool] = {}
    if is_reference is not None:
        video.context.options = {**video.context.options, "skip_loop_filter": "noref"}
    if vectors:
        video.context.options = {**video.context.options, "flags2": "+export_mvs"}
    found.deinterlace = video.deinterlacer is not None
    for packet in then_none(video.packets()):
        if packet is not None:
            if packet.pts is not None and is_reference is not None:
                references[packet.pts] = is_reference(packet)
            losses.sent(packet.dts if video.reordered else packet.pts, hidden=packet.is_discard)
        for frame in video.decode(packet):
            display = video.display(frame)
            found.shown(len(clock.times), display)
            if maker is None:
                maker = PictureMaker(display)
            if video.was_interlaced(frame):
                found.interlaced.append(len(clock.times))
            faithful = is_reference is None or references.pop(-1 if frame.pts is None else frame.pts, False)
            losses.given(frame.pts)
            time_ms = clock.show(frame.pts, frame.duration or 0)
            found.decoded += 1
            yield Shown(len(clock.times) - 1, time_ms, maker(frame), display, frame, faithful)
    for ticks in video.listed:
        losses.sent(ticks, hidden=False)
    found.timeline, found.zero = clock.timeline(), clock.zero
    losses.finish(found.timeline, lambda ticks: milliseconds(ticks - clock.zero, video.time_base), video)


def then_none(packets: Iterator[av.Packet]) -> Iterator[av.Packet | None]:
    """The packets, and at last the None that drains a decoder."""
    yield from packets
    yield None


def reference_test(context: VideoCodecContext) -> Callable[[av.Packet], bool] | None:
    """A function that says whether other frames may refer to a packet's frame; None if that cannot be read from the packet.

    Read from the headers of the network abstraction layer (ISO/IEC 14496-10 and 23008-2, 7.3.1) in the length-prefixed form of mp4,
    mov, mkv and flv.
    """
    extra = context.extradata or b""
    if context.name == "h264" and len(extra) > 6 and extra[0] == 1:
        prefix = (extra[4] & 3) + 1
        return lambda packet: _h264_reference(memoryview(packet), prefix)
    if context.name == "hevc" and len(extra) > 22 and extra[0] == 1:
        prefix, layers = (extra[21] & 3) + 1, extra[21] >> 3 & 7
        return lambda packet: _h265_reference(memoryview(packet), prefix, max(1, layers) - 1)
    return None


def _units(data: memoryview, prefix: int) -> Iterator[int]:
    """Offsets of the units of a packet."""
    at, end = 0, len(data)
    while at + prefix < end:
        size = int.from_bytes(data[at : at + prefix], "big")
        yield at + prefix
        at += prefix + size


def _h264_reference(data: memoryview, prefix: int) -> bool:
    """False if all slices have nal_ref_idc 0."""
    first = data[prefix] if len(data) > prefix else 0
    if first & 31 in (1, 5) and first & 96:
        return True
    slices = 0
    for at in _units(data, prefix):
        kind, ref_idc = data[at] & 31, data[at] >> 5 & 3
        if kind in (1, 2, 5):
            if ref_idc:
                return True
            slices += 1
    return not slices


def _h265_reference(data: memoryview, prefix: int, top_layer: int) -> bool:
    """False if all slices are sub-layer non-reference pictures of the highest temporal layer."""
    slices = 0
    for at in _units(data, prefix):
        kind = data[at] >> 1 & 63
        if kind < 32:
            layer = (data[at + 1] & 7) - 1 if at + 1 < len(data) else 0
            if kind > 14 or kind % 2 or layer < top_layer:
                return True
            slices += 1
    return not slices


@dataclass(eq=False)
class _Entry:
    """A packet on its way: `sent` once the first decoder has been handed it."""

    packet: av.Packet
    serial: int
    pts: int
    reference: bool
    sent: bool = False


class SparseReader:
    """See the module. Use `sparse_frames`."""

    def __init__(self, video: OpenVideo, found: Decoding, is_reference: Callable[[av.Packet], bool]) -> None:
        self._video, self._found, self._is_reference = video, found, is_reference
        self._clock = _Clock(video)
        self._maker: PictureMaker | None = None
        self._packets = video.packets()
        self._ended = False
        self._last_dts: int | None = None
        self._serial = 0
        self._ahead: deque[_Entry] = deque()
        self._kept: deque[_Entry] = deque()
        self._kept_bytes = 0
        self._keys: deque[_Entry] = deque()
        self._longest_gap = MAX_GAP_MS / 1000 / video.time_base
        self._can_refine = False
        self._waiting: list[tuple[int, _Entry]] = []
        self._again = _SecondDecoder(video, found)
        self._busy = False
        video.context.options = {**video.context.options, "skip_loop_filter": "noref"}

    def __iter__(self) -> Iterator[Shown]:
        before: _Seen | None = None
        step: _Step | None = None
        for frame in self._decoded():
            entry, skipped = self._place(frame)
            display = self._video.display(frame)
            if self._maker is None:
                self._maker = PictureMaker(display)
            self._found.decoded += 1
            now = _Seen(entry, frame, self._maker(frame), display)
            if before is None:
                if skipped:
                    raise Irregular("frames are shown before the first that can be decoded")
                yield self._show(now)
            else:
                change = _difference(before.picture, now.picture)
                self._busy = change > (CALM if self._busy else BUSY)
                if step is not None:
                    yield from self._through(step, change)
                step = _Step(before, skipped, now, change, step.change if step is not None else 0.0)
            before = now
        if step is not None:
            yield from self._through(step, 0.0)
        if before is not None:
            yield from self._decoded_between(before, [self._waiting_pop() for _ in range(len(self._waiting))])
        self._found.timeline, self._found.zero = self._clock.timeline(), self._clock.zero
        self._found.losses.finish(self._found.timeline, lambda _: 0, self._video)

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
        entry = _Entry(packet, self._serial, packet.pts, self._is_reference(packet))
        self._serial += 1
        self._ahead.append(entry)
        self._keep(entry)
        if not packet.is_discard:
            heapq.heappush(self._waiting, (packet.pts, entry))
        return True

    def _more(self) -> bool:
        """Reads one more packet for the second decoder."""
        return self._demux() and self._can_refine

    def _keep(self, entry: _Entry) -> None:
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

    def _place(self, frame: VideoFrame) -> tuple[_Entry, list[_Entry]]:
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

    def _waiting_pop(self) -> _Entry:
        pts, entry = heapq.heappop(self._waiting)
        if self._waiting and self._waiting[0][0] == pts:
            raise Irregular("two packets have one time")
        return entry

    def _through(self, step: _Step, next_change: float) -> Iterator[Shown]:
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
                    _Seen(entry, None, BlendedPicture(before.picture, now.picture, weight), before.display)
                )
        yield self._show(now, step.change)
        self._forget(now.entry.pts)

    def _decoded_between(self, before: _Seen, skipped: list[_Entry]) -> Iterator[Shown]:
        if not skipped:
            return
        if any(e.sent or e.reference for e in skipped) or not self._kept or self._maker is None:
            raise Irregular("a packet gave no frame")
        for entry, frame in self._again.decode(self._kept, skipped, before.entry.pts, self._more):
            yield self._show(_Seen(entry, frame, self._maker(frame), before.display))

    def _show(self, seen: _Seen, change: float | None = None) -> Shown:
        duration = seen.entry.packet.duration or 0
        time_ms = self._clock.show(seen.entry.pts, duration)
        faithful = seen.frame is not None and seen.entry.reference
        index = len(self._clock.times) - 1
        self._found.shown(index, seen.display)
        if seen.frame is not None and seen.frame.interlaced_frame:
            self._found.interlaced.append(index)
        return Shown(index, time_ms, seen.picture, seen.display, seen.frame, faithful, change)

    def _forget(self, shown_pts: int) -> None:
        """Drops the packets before the last key frame that is shown by now."""
        while len(self._keys) > 1 and self._keys[1].pts <= shown_pts:
            self._keys.popleft()
            while self._kept[0] is not self._keys[0]:
                self._kept_bytes -= self._kept.popleft().packet.size


@dataclass(frozen=True)
class _Seen:
    entry: _Entry
    frame: VideoFrame | None
    picture: AnalysisPicture
    display: Display


@dataclass(frozen=True)
class _Step:
    """From one decoded frame to the next, with the frames between that were left out and how much the picture changes."""

    before: _Seen
    skipped: list[_Entry]
    now: _Seen
    change: float
    change_before: float


def _difference(before: AnalysisPicture, after: AnalysisPicture) -> float:
    """Mean absolute difference of the tiny pictures, levels."""
    return cv2.norm(before.tiny_rgb, after.tiny_rgb, cv2.NORM_L1) / after.tiny_rgb.size


class _SecondDecoder:
    """Decodes frames that the first decoder was not handed, from the key frame before them."""

    def __init__(self, video: OpenVideo, found: Decoding) -> None:
        self._video, self._found = video, found
        self._context: VideoCodecContext | None = None
        self._next = -1
        self._frames: dict[int, VideoFrame] = {}

    def decode(
        self, kept: deque[_Entry], wanted: list[_Entry], after: int, more: Callable[[], bool]
    ) -> Iterator[tuple[_Entry, VideoFrame]]:
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

    def _steps(self, kept: deque[_Entry], wanted: set[int], more: Callable[[], bool]) -> Iterator[bool]:
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


def sparse_frames(video: OpenVideo, found: Decoding) -> Iterator[Shown]:
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
