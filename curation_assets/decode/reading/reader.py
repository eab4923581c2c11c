"""The frames of a video in display order, all of them decoded."""

from __future__ import annotations

from collections.abc import Iterator

import av

from curation_assets.decode.reading.frame_clock import FrameClock
from curation_assets.decode.reading.media import OpenVideo
from curation_assets.decode.reading.picture import PictureMaker
from curation_assets.decode.reading.reference_frames import reference_test
from curation_assets.decode.reading.shown_frames import Decoding, ShownFrame, together
from curation_assets.decode.reading.timeline import milliseconds


def every_frame(video: OpenVideo, found: Decoding, *, exact: bool, vectors: bool = False) -> Iterator[ShownFrame]:
    """All frames of `video`, decoded.

    Args:
        found: filled in on the way.
        exact: bit for bit; otherwise the loop filter is skipped for frames that no other frame needs.
        vectors: frames carry the stream's motion vectors as side data.
    """
    clock, maker, losses = FrameClock(video), None, found.losses
    is_reference = None if exact else reference_test(video.context)
    references: dict[int, bool] = {}
    ready: list[ShownFrame] = []
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
            ready.append(ShownFrame(len(clock.times) - 1, time_ms, maker(frame), display, frame, faithful))
            if len(ready) >= together(display):
                yield from ready
                ready.clear()
    yield from ready
    for ticks in video.listed:
        losses.sent(ticks, hidden=False)
    found.timeline, found.zero = clock.timeline(), clock.zero
    losses.finish(found.timeline, lambda ticks: milliseconds(ticks - clock.zero, video.time_base), video)


def then_none(packets: Iterator[av.Packet]) -> Iterator[av.Packet | None]:
    """The packets, and at last the None that drains a decoder."""
    yield from packets
    yield None
