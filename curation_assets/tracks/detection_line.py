"""Frames of any clips in batches through one detector, which a GPU waits for as little as can be.

What belongs here: which frames go together, and whose detections are whose. What does not: decoding and tracks (`following.py`), and how a batch gets to
the device and back (`curation_resources.overlapped`).

Threads that decode put their frames here and go on; they wait when they are too far ahead. A batch has frames of one size, of whichever clips, videos and
shards they are. It is not full only where all who bring frames wait for results.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from curation_resources.detectors.base import AheadDetector, Detections, Detector, Image
from curation_resources.overlapped import IN_FLIGHT, pinned

BATCHES = IN_FLIGHT + 2
"""Batches on the device, one that is copied and one that is gathered."""
PATIENCE = 8
"""Batches of frames that may come after one of a rare size before it is looked at in a batch that is not full."""


@dataclass
class _FrameUnderWay:
    """A frame on its way, and what was found in it."""

    image: Image | None
    number: int
    found: Detections | None = None
    error: BaseException | None = None
    awaited: bool = field(default=False)

    @property
    def done(self) -> bool:
        return self.found is not None or self.error is not None


class DetectionLine:
    """A detector with a thread of its own, as long as somebody brings frames.

    Args:
        detector: what looks at them.
        batch: frames a batch.
        threads: how many bring frames at a time. Each has at most a batch under way, for frames of a size of its own, and its part of `BATCHES`.
    """

    def __init__(self, detector: AheadDetector, batch: int, threads: int) -> None:
        self._detector, self._batch = detector, batch
        self._held = batch + -(-BATCHES * batch // max(1, threads))
        self._memory = _Buffers(str(detector.device))
        self._news = threading.Condition()
        self._waiting: defaultdict[tuple[int, ...], deque[_FrameUnderWay]] = defaultdict(deque)
        self._sent: deque[list[_FrameUnderWay]] = deque()
        self._lent: deque[np.ndarray] = deque()
        """Batches that were gathered, and the memory that they were copied to."""
        self._bringing = self._blocked = self._brought = 0
        self._running = False

    def searched(self, frames: Iterator[tuple[int, Image]]) -> Iterator[tuple[int, Detections]]:
        """Time and detections of each frame, in order; frames are taken ahead.

        Raises:
            Exception: what the detector raises, to all whose frames are under way.
        """
        own: deque[tuple[int, _FrameUnderWay]] = deque()
        with self._bringer(lambda: [frame for _, frame in own]):
            for time_ms, image in frames:
                own.append((time_ms, self._put(image)))
                while own and (len(own) >= self._held or own[0][1].done):
                    yield own[0][0], self._result(own.popleft()[1])
            while own:
                yield own[0][0], self._result(own.popleft()[1])

    @contextmanager
    def joined(self) -> Iterator[Detector]:
        """The detector for somebody who must know what is in one frame to say where to look next, such as a search for faces: what it is asked within the block goes with what
        others bring. Within the block nobody waits for another line: who waits there brings nothing here."""
        with self._bringer(lambda: []):
            yield _DetectorOfLine(self._detector, self._asked)

    def _asked(self, frames: Sequence[Image]) -> list[Detections]:
        return [self._result(frame) for frame in [self._put(image) for image in frames]]

    @contextmanager
    def _bringer(self, left: Callable[[], list[_FrameUnderWay]]) -> Iterator[None]:
        """Counts one who brings frames; what is `left` of them at the end is of no use to anybody."""
        with self._news:
            self._bringing += 1
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="detections").start()
        try:
            yield
        finally:
            with self._news:
                self._bringing -= 1
                gone = {id(frame) for frame in left()}
                for size, waiting in list(self._waiting.items()):
                    self._waiting[size] = deque(f for f in waiting if id(f) not in gone)
                self._news.notify_all()

    def _put(self, image: Image) -> _FrameUnderWay:
        with self._news:
            frame = _FrameUnderWay(image, self._brought)
            self._brought += 1
            waiting = self._waiting[image.shape]
            waiting.append(frame)
            if len(waiting) >= self._batch:
                self._news.notify_all()
        return frame

    def _result(self, frame: _FrameUnderWay) -> Detections:
        with self._news:
            if not frame.done:
                frame.awaited = True
                self._blocked += 1
                self._news.notify_all()
                self._news.wait_for(lambda: frame.done)
        if frame.error is not None:
            raise frame.error
        assert frame.found is not None
        return frame.found

    def _finish(self, frame: _FrameUnderWay) -> None:
        """Who waits for a frame that is done goes on. Under the lock."""
        frame.image = None
        if frame.awaited:
            frame.awaited = False
            self._blocked -= 1

    def _run(self) -> None:
        while True:
            try:
                for found in self._detector.detect_ahead(self._batches()):
                    memory = self._lent.popleft()
                    with self._news:
                        for frame, detections in zip(self._sent[0], found, strict=True):
                            frame.found = detections
                            self._finish(frame)
                        self._sent.popleft()
                        self._news.notify_all()
                    self._memory.release(memory)
            except BaseException as error:  # noqa: BLE001 - raised where somebody waits for its frames
                self._fail(error)
            with self._news:
                if not self._bringing and not any(self._waiting.values()):
                    self._waiting.clear()
                    self._running = False
                    return

    def _fail(self, error: BaseException) -> None:
        with self._news:
            under_way = [f for frames in self._sent for f in frames]
            for frame in (*under_way, *(f for waiting in self._waiting.values() for f in waiting)):
                frame.error = error
                self._finish(frame)
            self._sent.clear()
            self._lent.clear()
            self._waiting.clear()
            self._news.notify_all()

    def _batches(self) -> Iterator[np.ndarray]:
        """Batches until everybody waits for what is on the device."""
        while frames := self._gathered():
            first = frames[0].image
            assert first is not None
            memory = self._memory.take(len(frames) * first.size)
            pixels = memory[: len(frames) * first.size].reshape(len(frames), *first.shape)
            for place, frame in zip(pixels, frames, strict=True):
                assert frame.image is not None
                np.copyto(place, frame.image)
                frame.image = None
            self._lent.append(memory)
            yield pixels

    def _gathered(self) -> list[_FrameUnderWay]:
        """The next batch; none if everybody waits for what is on the device."""
        with self._news:
            while True:
                waiting = [w for w in self._waiting.values() if w]
                if waiting:
                    most, oldest = max(waiting, key=len), min(waiting, key=lambda w: w[0].number)
                    if self._brought - oldest[0].number > PATIENCE * self._batch:
                        most = oldest
                    elif len(most) < self._batch and self._blocked < self._bringing:
                        most = deque()
                    if most:
                        self._sent.append([most.popleft() for _ in range(min(self._batch, len(most)))])
                        return self._sent[-1]
                elif self._blocked >= self._bringing:
                    return []
                self._news.wait()


class _DetectorOfLine:
    """A detector whose looks go through a line; see `Detector`."""

    concurrent = True

    def __init__(self, detector: Detector, ask: Callable[[Sequence[Image]], list[Detections]]) -> None:
        self.names, self.description, self.has_features = detector.names, detector.description, detector.has_features
        self._ask = ask

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        return self._ask(frames)


class _Buffers:
    """Memory from which a device copies, used again."""

    def __init__(self, device: str) -> None:
        self._make = pinned(device)
        self._free: list[np.ndarray] = []

    def take(self, size: int) -> np.ndarray:
        """So many bytes or more."""
        flat = self._free.pop() if self._free else None
        return flat if flat is not None and len(flat) >= size else self._make((size,))

    def release(self, flat: np.ndarray) -> None:
        self._free.append(flat)
