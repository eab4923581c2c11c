"""Where the pictures of a file begin whose clock begins below zero, as Matroska's may.

FFmpeg gives packets before zero no time at all if their codec reorders pictures, and a stream start that may be that of another picture than the
first. Without either the pictures before zero are shown at one moment, or a picture late. What belongs here: the look at the first packets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.video.frame import VideoFrame

SETTLED = 32
"""So many packets with times in a row, and none without will come that is shown before them."""
MOST = 5000
"""Packets that are looked at."""


@dataclass
class Beginning:
    """Gives times to the pictures before zero.

    Attributes:
        packets: that were read to know it; whoever reads the file takes them first.
        first: ticks of the first picture; None if the clock begins at zero or later.
        untimed: pictures at the start whose packets have no time.
        step: ticks from one of them to the next.
    """

    packets: deque[av.Packet]
    first: int | None = None
    untimed: int = 0
    step: int = 0
    _given: int = 0

    @staticmethod
    def of(packets: Iterator[av.Packet], period: int) -> Beginning:
        """From the first packets of a file, of which usually one is read.

        Args:
            period: ticks of a picture whose packet does not say how long it is shown.
        """
        head = next(packets, None)
        if head is None or (head.pts is not None and head.pts >= 0):
            return Beginning(deque([] if head is None else [head]))
        read, row = deque([head]), 0
        while row < SETTLED and len(read) < MOST and (packet := next(packets, None)) is not None:
            read.append(packet)
            row = 0 if packet.pts is None else row + 1
        times = [p.pts for p in read if p.pts is not None]
        untimed = len(read) - len(times)
        step = head.duration or period
        return Beginning(read, min(times, default=untimed * step) - untimed * step, untimed, step)

    def restart(self, *, at_start: bool) -> None:
        """The file is read from its start again, or from elsewhere."""
        self.packets.clear()
        self._given = 0 if at_start else self.untimed

    def time(self, frames: list[VideoFrame]) -> None:
        """Gives pictures without a time theirs, as long as there are any at the start."""
        for frame in frames:
            if frame.pts is None and self.first is not None and self._given < self.untimed:
                frame.pts = self.first + self._given * self.step
                self._given += 1
