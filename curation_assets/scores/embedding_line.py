"""The frames of shard after shard through one model, in batches that run over their borders.

What belongs here: whose vectors are whose, and the thread that computes while tables are written. What does not: reading (`frame_feed.py`),
and what becomes of the vectors (`embedding.py`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import pyarrow as pa

from curation_assets.scores.frame_feed import FrameBatch, FrameFeed
from curation_assets.scores.frame_reading import FrameReader, Place, places_of
from curation_resources.clip_model import ClipModel
from curation_resources.faults import Fault
from curation_resources.overlapped import IN_FLIGHT, pinned
from curation_resources.storage import Storage

PROCESS_FRAMES = 2048
"""Fewer frames that are read from their pictures are read by threads: processes would take longer to start than they save."""
MAX_NAMED = 8
"""Shards of which vectors may wait to be asked for; more than that are those of shards that turned out not to be made."""


class EmbeddingJob:
    """The frames of one shard.

    Attributes:
        places: where they are read.
        vectors: float16 [n, dimension]; of those that failed zeros.
        problems: of each frame, why it has no vector.
        seconds: from its first batch to its last; `waited_s` of them the model waited for its pictures.
    """

    def __init__(self, places: Sequence[Place], dimension: int) -> None:
        self.places = places
        self.vectors = np.zeros((len(places), dimension), np.float16)
        self.problems: list[str | Fault | None] = [None] * len(places)
        self.seconds = self.waited_s = 0.0
        self._taken = self._done = 0
        self._began: float | None = None
        self._error: BaseException | None = None
        self._news = threading.Condition()

    def take(self, count: int) -> Sequence[Place]:
        """The next `count` places at most."""
        self._began = time.perf_counter() if self._began is None else self._began
        part = self.places[self._taken : self._taken + count]
        self._taken += len(part)
        return part

    @property
    def all_taken(self) -> bool:
        return self._taken == len(self.places)

    def put(
        self, vectors: np.ndarray, good: np.ndarray, problems: Sequence[str | Fault | None], waited_s: float
    ) -> None:
        """What was made of the next frames: vectors of the `good` ones among them."""
        start = self._done
        self.vectors[start + good] = vectors
        self.problems[start : start + len(problems)] = problems
        with self._news:
            self._done += len(problems)
            self.waited_s += waited_s
            self.seconds = time.perf_counter() - (self._began or 0.0)
            self._news.notify_all()

    def fail(self, error: BaseException) -> None:
        """Nothing more comes."""
        with self._news:
            self._error = error
            self._news.notify_all()

    def finished(self) -> Iterator[int]:
        """The number of each frame as it is finished.

        Raises:
            BaseException: what stopped the line.
        """
        seen = 0
        while seen < len(self.places):
            with self._news:
                while self._done == seen and self._error is None:
                    self._news.wait()
                done, error = self._done, self._error
            if error is not None and done == seen:
                raise error
            yield from range(seen, done)
            seen = done


class EmbeddingLine:
    """A model and the frames that are on their way to it; it computes in a thread of its own, as long as there is something to compute.

    Args:
        model: what encodes; kept as an attribute.
        storage: where the tars lie.
        batch: frames a batch.
        workers: processes that may read where a GPU waits for frames that have no kept input; see `_processes`.
    """

    def __init__(self, model: ClipModel, storage: Storage, batch: int, workers: int = 0) -> None:
        self.model, self._storage, self._batch, self._workers = model, storage, batch, workers
        self._jobs: deque[EmbeddingJob] = deque()
        self._named: dict[str, EmbeddingJob] = {}
        self._lock = threading.Lock()
        self._running = False
        self._stops = 0

    def put(self, frames: pa.Table, key: str = "") -> EmbeddingJob:
        """Begins with rows of `frames` behind all that was begun before; what was begun under the same `key` of the same places is gone on with."""
        places = places_of(frames, self.model.fit)
        with self._lock:
            before = self._named.pop(key, None)
            if before is not None and before.places == places and before._error is None:
                return before
            job = EmbeddingJob(places, self.model.dimension)
            self._jobs.append(job)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="embeddings").start()
        return job

    def ahead(self, frames: pa.Table, key: str) -> None:
        """Begins with what will be asked for under `key` later."""
        job = self.put(frames, key)
        with self._lock:
            self._named[key] = job
            while len(self._named) > MAX_NAMED:
                del self._named[next(iter(self._named))]

    def begun(self, key: str) -> bool:
        """Whether something was begun under that key and not asked for yet."""
        with self._lock:
            return key in self._named

    def stop(self) -> None:
        """Forgets all that is not finished; the thread ends after the batch that it computes."""
        with self._lock:
            self._stops += 1
            self._jobs.clear()
            self._named.clear()

    def take(self, count: int) -> list[tuple[EmbeddingJob, Sequence[Place]]]:
        """See `FrameSource`."""
        parts: list[tuple[EmbeddingJob, Sequence[Place]]] = []
        with self._lock:
            while count and self._jobs:
                job = self._jobs[0]
                part = job.take(count)
                if part:
                    parts.append((job, part))
                    count -= len(part)
                if job.all_taken:
                    self._jobs.popleft()
        return parts

    def _run(self) -> None:
        while True:
            current: list[EmbeddingJob] = []
            try:
                self._compute(current)
            except BaseException as error:  # noqa: BLE001 - whoever waits for the frames is told
                with self._lock:
                    current += self._jobs
                    self._jobs.clear()
                    self._named.clear()
                for job in current:
                    job.fail(error)
            with self._lock:
                if not self._jobs:
                    self._running = False
                    return

    def _compute(self, current: list[EmbeddingJob]) -> None:
        """Encodes until there are no more frames. `current` has the jobs of which batches are under way."""
        processes = self._processes()
        reader = FrameReader.of(self.model, self._storage)
        feed: FrameFeed[EmbeddingJob] = FrameFeed(
            reader, self._batch, processes, IN_FLIGHT + 1, pinned(self.model.device)
        )
        sent: deque[tuple[FrameBatch[EmbeddingJob], float]] = deque()
        stops = self._stops

        def pixels(batches: Iterator[FrameBatch[EmbeddingJob]]) -> Iterator[np.ndarray]:
            for batch in batches:
                if self._stops != stops or not threading.main_thread().is_alive():
                    return
                current.extend(job for job, _ in batch.parts)
                sent.append((batch, feed.waited_s))
                feed.waited_s = 0.0
                if len(batch.good):
                    yield batch.there()
                else:  # nothing for the model; what comes of it is said in its turn
                    batch.release()

        def deliver(vectors: np.ndarray) -> None:
            batch, waited_s = sent.popleft()
            _deliver(batch, vectors, waited_s)
            for job, _ in batch.parts:
                current.remove(job)

        none = np.zeros((0, self.model.dimension), np.float32)
        # Left to the collector after an error, it would be closed by whichever thread that comes to: one of its own cannot wait for itself.
        with closing(feed.batches(self)) as batches:
            for vectors in self.model.encode_ahead(pixels(batches)):
                while not len(sent[0][0].good):
                    deliver(none)
                sent[0][0].release()
                deliver(vectors)
        while sent:
            deliver(none)

    def _processes(self) -> int:
        """How many processes should read: as many as a stage may have if a GPU waits for many frames without kept inputs, else none.

        Threads of one process resize about 700 pictures/s together, however many they are; ViT-L-14 on a large GPU takes three times that.
        """
        if not self.model.asynchronous or self.model.fit is None:
            return 0
        with self._lock:
            whole = sum(p.form is None for j in self._jobs for p in j.places)
        return self._workers if whole >= PROCESS_FRAMES else 0


def _deliver(batch: FrameBatch[EmbeddingJob], vectors: np.ndarray, waited_s: float) -> None:
    """Gives each job of a batch its vectors; the time that the model waited for the batch is the first one's."""
    start = given = 0
    for job, count in batch.parts:
        end = start + count
        good = batch.good[(batch.good >= start) & (batch.good < end)] - start
        job.put(vectors[given : given + len(good)], good, batch.problems[start:end], waited_s)
        start, given, waited_s = end, given + len(good), 0.0
