"""Covers faces and licence plates in the pictures of a clip that is being cut, between the decoder that pushes them and the encoder that takes them."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import pyarrow as pa

from curation_assets.publish.covering import Cover
from curation_assets.publish.cutting.clip_pictures import Image

if TYPE_CHECKING:
    from curation_assets.tracks.faces import FaceBlurrer
    from curation_resources.detectors.base import Detector


@lru_cache(maxsize=4)
def detector_of(cover: Cover) -> Detector:
    """One detector for all clips of a process; loading it costs more than a short clip."""
    return cover.detector()


def blurrer_of(cover: Cover, detector: Detector) -> FaceBlurrer:
    """A blurrer with the export's method, threshold and scale."""
    from curation_assets.tracks.faces import FaceBlurrer

    return FaceBlurrer(detector, method=cover.method, scale=cover.scale, threshold=cover.threshold, beat=cover.beat)


class PushedBlurring:
    """Runs blurrers, which pull frames, where frames are pushed: in a thread that hands finished ones to `give`. Each looks at what the one before it left."""

    def __init__(self, covers: Sequence[Cover], give: Callable[[Image, int], None]) -> None:
        self._blurrers = {cover.thing: blurrer_of(cover, detector_of(cover)) for cover in covers}
        self._give = give
        self._queue: queue.Queue[tuple[int, Image, int] | None] = queue.Queue(maxsize=2)
        self._places: deque[int] = deque()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def covered(self) -> dict[str, pa.Table]:
        """Where each thing was covered in the frames so far; schema `FACES` of `tracks/face_tables.py`."""
        return {thing: blurrer.faces() for thing, blurrer in self._blurrers.items()}

    def push(self, time_ms: int, image: Image, place: int) -> None:
        """Takes a frame at `time_ms` of the video, uint8 (h, w, 3) RGB; `place` is handed on with it.

        Raises:
            Exception: what went wrong with an earlier frame.
        """
        self._queue.put((time_ms, image, place))
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Waits until the last frame is given on.

        Raises:
            Exception: what went wrong in looking or encoding.
        """
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _frames(self) -> Iterator[tuple[int, Image]]:
        while (item := self._queue.get()) is not None:
            time_ms, image, place = item
            self._places.append(place)
            yield time_ms, image

    def _covered(self, frames: Iterator[tuple[int, Image]]) -> Iterator[tuple[int, Image]]:
        for blurrer in self._blurrers.values():
            frames = blurrer.process(frames)
        return frames

    def _run(self) -> None:
        frames = self._frames()
        try:
            for _, image in self._covered(frames):
                self._give(image, self._places.popleft())
        except Exception as problem:  # noqa: BLE001 - raised in the pushing thread
            self._error = problem
            for _ in frames:  # so that whoever pushes is never left waiting
                continue
