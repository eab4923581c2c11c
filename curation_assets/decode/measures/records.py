"""What is kept of each measured picture until the clips are known, so that memory does not grow with the length of a video.

What belongs here: keeping arrays of one length. What does not: what they hold.
"""

from __future__ import annotations

import tempfile
from array import array
from typing import IO

import numpy as np
from numpy.typing import NDArray

MEMORY = 2_000_000
"""Bytes that are held in memory; whenever they are so many, they go to a temporary file."""

Bytes = NDArray[np.uint8]


class Records:
    """Arrays of bytes, all of one length, in the order in which they came: the latest in memory, what is older in a temporary file if they are many."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._latest: list[Bytes] = []
        self._file: IO[bytes] | None = None
        self._filed = 0
        self._places = array("q")

    def __len__(self) -> int:
        return len(self._places)

    def append(self, record: Bytes) -> None:
        """Keeps a record: uint8 (n,), contiguous, of the length of the first one; not copied, so it must not be changed."""
        if self._latest and len(self._latest) * record.size >= self._memory:
            self._spill()
        self._places.append(self._filed + len(self._latest))
        self._latest.append(record)

    def between(self, first: int, end: int) -> Bytes:
        """The records [first, end): uint8 (end - first, n); (0, 0) if there are none."""
        places = np.array(self._places[first:end], np.int64)
        if not len(places):
            return np.empty((0, 0), np.uint8)
        old = places[places < self._filed]
        new = [self._latest[p - self._filed] for p in places[len(old) :].tolist()]
        parts = [np.stack(new)] if new else []
        if len(old):
            assert self._file is not None
            size = self._latest[0].size
            self._file.seek(int(old[0]) * size)
            read = self._file.read((int(old[-1]) - int(old[0]) + 1) * size)
            parts.insert(0, np.frombuffer(read, np.uint8).reshape(-1, size)[old - old[0]])
        return np.concatenate(parts)

    def forget(self, count: int) -> None:
        """Drops the first so many."""
        del self._places[:count]

    def thin(self) -> None:
        """Drops every second one."""
        del self._places[1::2]

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="measured-")
        self._file.seek(0, 2)
        self._file.write(np.concatenate(self._latest).data)
        self._filed += len(self._latest)
        self._latest = self._latest[:0]
