"""Batches of stored frames, read and decoded ahead of the model that waits for them.

What belongs here: how far ahead, by whom, and into which memory. What does not: how one frame is read (`frame_reading.py`), and whose the
frames are (`embedding_line.py`).
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np

from curation_assets.scores.frame_reading import FrameReader, Place, Problem
from curation_resources.model_input import Pixels
from curation_resources.processes import end_with_parent
from curation_resources.words import plural

MAX_READERS = 16
CHUNK = 16
"""Frames that a thread or process reads at a time."""
DEPTH = 3
"""Batches that are read ahead; more of them if each reader would have less than two chunks to read."""

Owner = TypeVar("Owner")


class FrameSource(Protocol[Owner]):
    """Whoever knows the frames to be read next."""

    def take(self, count: int) -> list[tuple[Owner, Sequence[Place]]]:
        """The next places, at most `count` in all, with whose they are; nothing if there are none now."""
        ...


@dataclass
class FrameBatch(Generic[Owner]):
    """Frames of any number of owners.

    Attributes:
        parts: whose the frames are, and how many of each, in order.
        pixels: uint8 [n, height, width, 3]; it is written again after `release`.
        problems: of each frame, why it is not there; None where it is.
    """

    parts: list[tuple[Owner, int]]
    pixels: Pixels
    problems: list[Problem | None]
    release: Callable[[], None]
    good: np.ndarray = field(init=False)
    """Indexes of the frames that are there."""

    def __post_init__(self) -> None:
        self.good = np.flatnonzero([p is None for p in self.problems])

    def there(self) -> Pixels:
        """The frames that are there; all of them without a copy."""
        return self.pixels if len(self.good) == len(self.problems) else self.pixels[self.good]


class FrameFeed(Generic[Owner]):
    """Reads frames ahead in threads, which suffice for kept inputs, or in processes, for pictures that a GPU waits for.

    Args:
        reader: of one model, for another process if `processes`.
        batch: frames a batch; one is short only if the source has no more when it is begun.
        processes: how many read; 0 leaves it to threads of this one.
        held: batches that the caller may hold before it releases the first.
        memory: makes an array of a shape, of memory that the device copies from while the caller goes on (pinned).

    Attributes:
        waited_s: seconds for which the caller waited for batches.
    """

    def __init__(
        self,
        reader: FrameReader,
        batch: int,
        processes: int = 0,
        held: int = 1,
        memory: Callable[[tuple[int, ...]], Pixels] = lambda shape: np.empty(shape, np.uint8),
    ) -> None:
        self._reader, self._batch, self._processes, self._memory = reader, batch, processes, memory
        self._readers = processes or min(MAX_READERS, max(2, os.cpu_count() or 1))
        self._depth = max(DEPTH, -(-2 * self._readers * CHUNK // batch))
        self._buffers = held + self._depth
        self.waited_s = 0.0

    def batches(self, source: FrameSource[Owner]) -> Generator[FrameBatch[Owner], None, None]:
        """The frames of the source until it has no more, in its order.

        Raises:
            OSError: a process that reads was ended from outside.
        """
        shape = (self._batch, *self._reader.size, 3)
        free = deque(self._memory(shape) for _ in range(self._buffers))
        waiting: deque[_Begun[Owner]] = deque()
        with self._pool() as pool:
            try:
                while True:
                    while len(waiting) < self._depth and free and (parts := source.take(self._batch)):
                        waiting.append(_Begun(parts, free.popleft(), self._reader, pool, bool(self._processes)))
                    if not waiting and not free:
                        raise RuntimeError(
                            f"more than {plural(self._buffers, 'batch is', 'batches are')} held and none is released"
                        )
                    if not waiting:
                        return
                    began = time.perf_counter()
                    batch = waiting.popleft().finished(free)
                    self.waited_s += time.perf_counter() - began
                    yield batch
            except BrokenProcessPool as error:
                raise OSError(
                    "a process that decodes frames was ended from outside, perhaps for lack of memory; lower CURATION_WORKERS or try again"
                ) from error
            finally:
                for begun in waiting:
                    begun.cancel()

    def _pool(self) -> Executor:
        if self._processes:
            return ProcessPoolExecutor(self._readers, multiprocessing.get_context("spawn"), end_with_parent)
        return ThreadPoolExecutor(self._readers, "frames")


class _Begun(Generic[Owner]):
    """A batch that is being read."""

    def __init__(
        self,
        parts: list[tuple[Owner, Sequence[Place]]],
        pixels: Pixels,
        reader: FrameReader,
        pool: Executor,
        elsewhere: bool,
    ) -> None:
        self._parts = [(owner, len(places)) for owner, places in parts]
        self._pixels, self._elsewhere = pixels, elsewhere
        places = [p for _, own in parts for p in own]
        self._count = len(places)
        self._reading: list[Future[tuple[Pixels, list[Problem | None]]] | Future[list[Problem | None]]] = []
        for start in range(0, len(places), CHUNK):
            chunk = places[start : start + CHUNK]
            if elsewhere:
                self._reading.append(pool.submit(reader.read, chunk))
            else:
                self._reading.append(pool.submit(reader.into, pixels[start : start + len(chunk)], chunk))

    def finished(self, free: deque[Pixels]) -> FrameBatch[Owner]:
        problems: list[Problem | None] = []
        for number, reading in enumerate(self._reading):
            found = reading.result()
            if isinstance(found, tuple):
                start = number * CHUNK
                self._pixels[start : start + len(found[0])] = found[0]
                found = found[1]
            problems += found
        pixels = self._pixels
        return FrameBatch(self._parts, pixels[: self._count], problems, lambda: free.append(pixels))

    def cancel(self) -> None:
        for reading in self._reading:
            reading.cancel()
