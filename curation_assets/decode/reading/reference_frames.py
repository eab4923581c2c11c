"""Which packets hold frames that other frames may refer to, read from their headers without decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import av
from av.video.codeccontext import VideoCodecContext


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
