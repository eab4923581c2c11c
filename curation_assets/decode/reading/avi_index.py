"""Times of AVI's pictures, from its index.

AVI gives a picture no time but its number. Where bytes are damaged FFmpeg counts on with the next picture that it finds, so that what follows comes
too early, but at its own time when it is sought. The index, which lies at the end of the file, knows each picture's number by its place.
"""

from __future__ import annotations

from collections.abc import Iterable

import av
from av.video.stream import VideoStream

CHUNK_HEAD = 8
"""Bytes before the data of a chunk, where the index points to."""


class AviIndex:
    """What the index says of a stream when the file is opened; nothing if the file has none yet.

    Attributes:
        listed: numbers of the pictures that the file should have, those left out that only repeat the one before.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._numbers = {entry.pos + CHUNK_HEAD: entry.timestamp for entry in stream.index_entries if entry.size}
        self.listed: Iterable[int] = self._numbers.values()

    def time(self, packet: av.Packet) -> None:
        """Gives a packet the number that the index has for it."""
        number = self._numbers.get(packet.pos)
        if number is not None:
            packet.dts = number
