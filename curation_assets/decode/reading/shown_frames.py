"""What a pass over a video gives: frames as they are shown, and what was found out on the way."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

from av.video.frame import VideoFrame

from curation_assets.decode.reading.losses import Losses
from curation_assets.decode.reading.media import Display, MediaError
from curation_assets.decode.reading.picture import AnalysisPicture
from curation_assets.decode.reading.timeline import Timeline

TOGETHER, TOGETHER_PIXELS = 8, 2_500_000
"""Decoded frames, and pixels of them, that are held until what follows is done with all of them, one after the other: between two frames a decoder fills the processor's caches with its
own. Of large frames holding several costs more than that gains."""


class Irregular(MediaError):
    """The stream does not keep the promises that sparse decoding needs; every frame has to be decoded instead."""


@dataclass(slots=True)
class ShownFrame:
    """A frame as it is shown. Not to be changed; a frozen class takes several times as long to make.

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


def together(display: Display) -> int:
    """How many frames of a size are held."""
    return max(1, min(TOGETHER, TOGETHER_PIXELS // (display.width * display.height)))


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
        if not self.displays or (self.displays[-1][1] is not display and self.displays[-1][1] != display):
            self.displays.append((index, display))

    def display_at(self, index: int) -> Display:
        """How a frame is shown."""
        return self.displays[bisect_right(self.displays, index, key=lambda d: d[0]) - 1][1]

    def size_changes(self, start: int, end: int) -> int:
        """How often the displayed size changes within the frames [start, end)."""
        sizes = [self.display_at(start).size, *(d.size for at, d in self.displays if start < at < end)]
        return sum(a != b for a, b in pairwise(sizes))
