"""Shards whose clips are looked through: which threads decode, which detector looks, and what comes of each video.

What belongs here: threads, and the walk over a video's clips. What does not: a shard's table (`following.py`), batches on a GPU (`detection_line.py`),
association (`tracking.py`), what a row says (`track_rows.py`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

import av

from curation_assets.decode.reading.clip_frames import ClipUnreadable
from curation_assets.decode.reading.media import MediaError
from curation_assets.decode.reading.rgb_frames import RgbFrames, check_decoder, open_rgb
from curation_assets.tracks.detection_line import DetectionLine
from curation_assets.tracks.face_search import TRACKED, Beat, FaceSearch, look_through
from curation_assets.tracks.track_rows import Row, track_row
from curation_assets.tracks.tracking import ClipTracker
from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors import Detections, Detector
from curation_resources.detectors.base import Image, keeps_busy
from curation_resources.detectors.faces import CenterFaceDetector
from curation_resources.faults import Fault, check_reads, fault_of, reading
from curation_resources.journal import Journal
from curation_resources.media import MediaRef
from curation_resources.storage import Storage


@dataclass
class TrackStats:
    """What a pass over a shard did. Every clip is in exactly one of `skipped`, `looked_at` and `failed`.

    Attributes:
        clips: clips of the shard.
        skipped: clips that did not pass the recipe's rules.
        looked_at: clips whose frames were searched, `resumed` of them by an earlier run that was killed.
        failed: why no frame of a clip could be searched, by clip id.
        faults: why a video could not be read now, by video id; its clips are in `failed`.
        frames, boxes: frames searched and objects found, without the resumed clips.
        tracks: tracks in the table.
        labels: tracks per class.
        detect_s: seconds in the detector, summed over threads; 0 where it has a thread of its own.
        wall_s: seconds of the whole pass.
    """

    clips: int = 0
    skipped: int = 0
    looked_at: int = 0
    resumed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    frames: int = 0
    boxes: int = 0
    tracks: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    detect_s: float = 0.0
    wall_s: float = 0.0

    def add(self, looked: TrackStats) -> None:
        """Counts what was found out by looking."""
        self.failed |= looked.failed
        self.faults |= looked.faults
        self.frames, self.boxes = self.frames + looked.frames, self.boxes + looked.boxes
        self.detect_s += looked.detect_s

    @property
    def frames_per_second(self) -> float:
        """Frames searched per second of wall time."""
        return self.frames / self.wall_s if self.wall_s else 0.0

    @property
    def detections_per_second(self) -> float:
        """Objects found per second of wall time."""
        return self.boxes / self.wall_s if self.wall_s else 0.0


@dataclass
class SharedWork:
    """What the threads share that look through a shard. `stats`, `done` and `journal` are used under `counting` only.

    Attributes:
        line: the detector's, if it has a device of its own.
        face_finder: finds the faces that are covered before the detector looks; None if none are.
        done: rows of finished clips, by clip id.
        stopped: nobody wants what is not finished.
    """

    params: Tracks
    storage: Storage
    detector: Detector
    journal: Journal | None
    stats: TrackStats
    detecting: Any
    line: DetectionLine | None = None
    face_finder: Detector | None = None
    counting: threading.Lock = field(default_factory=threading.Lock)
    done: dict[str, list[Row]] = field(default_factory=dict)
    stopped: bool = False

    def record(self, journal: Journal | None) -> None:
        """Finished clips go to a journal, those that are finished already first."""
        with self.counting:
            self.journal = journal
            if journal is not None:
                for clip_id, rows in self.done.items():
                    journal.add(clip_id, {"rows": rows})

    def video(self, raw: Row | None, clips: Sequence[Row]) -> list[Row]:
        """Rows of the given clips of one video."""
        if raw is None:
            self._fail(clips, "its video is not in raw_shards; materialize raw_shards again")
            return []
        rows: list[Row] = []
        finished = 0
        try:
            ref = MediaRef(raw["tar"], raw["offset"], raw["size"], raw["etag"])
            with reading(self.storage, ref) as stream, open_rgb(stream, self.params.decoder) as reader:
                for clip in clips:
                    if self.stopped or not threading.main_thread().is_alive():
                        break
                    rows += self._clip(reader, stream, clip)
                    finished += 1
        except ClipUnreadable as error:
            self._fail(clips, str(error))
        except Exception as error:
            fault = fault_of(error)
            if fault is None:
                raise
            self._fail(clips[finished:], fault.reason)
            with self.counting:
                self.stats.faults[clips[0]["video_id"]] = fault
        return rows

    def _clip(self, reader: RgbFrames, stream: BinaryIO, clip: Row) -> list[Row]:
        tracker = ClipTracker(self.params, self.params.fps)
        frames = boxes = 0
        seconds = 0.0
        try:
            for times, found, spent in self._search(reader, clip):
                seconds += spent
                for time_ms, detections in zip(times, found, strict=True):
                    tracker.update(time_ms, detections)
                    frames, boxes = frames + 1, boxes + len(detections)
        except (ClipUnreadable, MediaError, av.FFmpegError) as error:
            check_reads(stream)
            self._fail([clip], str(error))
            return []
        check_reads(stream)
        rows = [
            track_row(track, number, clip, self.params, self.detector) for number, track in enumerate(tracker.finish())
        ]
        with self.counting:
            self.done[clip["clip_id"]] = rows
            if self.journal is not None:
                self.journal.add(clip["clip_id"], {"rows": rows})
            self.stats.frames += frames
            self.stats.boxes += boxes
            self.stats.detect_s += seconds
        return rows

    def _search(self, reader: RgbFrames, clip: Row) -> Iterator[tuple[list[int], list[Detections], float]]:
        """Times, detections and seconds of each batch of the clip's frames."""
        size = (clip["width"], clip["height"])
        frames = reader.frames(clip["start_ms"], clip["end_ms"], self.params.fps, size)
        if self.face_finder is not None:
            frames = _without_faces(frames, self.face_finder, self.params.fps)
        if isinstance(self.detector, CenterFaceDetector):
            with self.line.joined() if self.line is not None else nullcontext(self.detector) as detector:
                for times, looked_at, spent in look_through(frames, FaceSearch(detector, TRACKED, self.params.high)):
                    yield times, looked_at, 0.0 if self.line is not None else spent
            return
        if self.line is not None:
            for time_ms, looked in self.line.searched(frames):
                yield [time_ms], [looked], 0.0
            return
        while batch := list(islice(frames, self.params.batch)):
            with self.detecting:
                begun = time.perf_counter()
                found = self.detector.detect([image for _, image in batch])
                spent = time.perf_counter() - begun
            yield [time_ms for time_ms, _ in batch], found, spent

    def _fail(self, clips: Iterable[Row], reason: str) -> None:
        with self.counting:
            for clip in clips:
                self.stats.failed.setdefault(clip["clip_id"], reason)


def _face_finder() -> Detector:
    from curation_assets.tracks.faces import open_face_finder

    return open_face_finder()


def _without_faces(frames: Iterator[tuple[int, Image]], finder: Detector, fps: float) -> Iterator[tuple[int, Image]]:
    """The frames with faces covered; every face is looked for in every frame, and may be lost for a second."""
    from curation_assets.tracks.faces import FaceBlurrer

    return FaceBlurrer(finder, beat=Beat(2, 1), window=max(1, round(fps))).process(frames)


@dataclass
class ShardSearch:
    """A shard that is looked through.

    Attributes:
        clips: rows of the clips.
        videos: their rows of `raw_shards`, by video id.
        futures: the rows of each video's tracks.
    """

    work: SharedWork
    clips: list[Row]
    videos: dict[str, Row]
    futures: list[Future[list[Row]]]

    def stop(self) -> None:
        """Leaves what is not finished."""
        self.work.stopped = True
        for future in self.futures:
            future.cancel()


class TrackingLine:
    """A detector and threads that decode for it, for shard after shard.

    A detector on a GPU has a thread of its own (`detection_line.py`), and shards that come later can be begun with, so that it goes on while tables are written.

    Args:
        params: the recipe's `tracks` section.
        storage: where the videos lie.
        detector: from `open_detector`.
        workers: videos that are worked on at the same time.
    """

    def __init__(self, params: Tracks, storage: Storage, detector: Detector, workers: int) -> None:
        check_decoder(params.decoder)
        self._params, self._storage, self._detector = params, storage, detector
        self._line = DetectionLine(detector, params.batch, max(1, workers)) if keeps_busy(detector) else None
        self._face_finder = _face_finder() if params.blur_faces else None
        self._detecting: Any = nullcontext() if detector.concurrent else threading.Lock()
        self._pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="tracks")
        self._ahead: dict[str, ShardSearch] = {}

    @property
    def asynchronous(self) -> bool:
        return self._line is not None

    def begun(self, key: str) -> bool:
        """Whether a shard was begun with that nobody has asked for yet."""
        return key in self._ahead

    def ahead(self, key: str, clips: list[Row], videos: dict[str, Row]) -> None:
        """Begins with a shard that will be asked for later, behind those that were begun before."""
        self._ahead[key] = self._begin(clips, videos, None)

    def search(self, key: str, clips: list[Row], videos: dict[str, Row], journal: Journal | None) -> ShardSearch:
        """Looks through a shard, or goes on with what was begun of it, if that is the same.

        Args:
            key: of the shard.
            clips: rows of those to be looked at.
            videos: rows of `raw_shards` by video id.
            journal: where finished clips are recorded.
        """
        begun = self._ahead.pop(key, None)
        if begun is not None:
            if begun.clips == clips and all(
                begun.videos.get(v) == videos.get(v) for v in {c["video_id"] for c in clips}
            ):
                begun.work.record(journal)
                return begun
            begun.stop()
        return self._begin(clips, videos, journal)

    def stop(self) -> None:
        """Leaves all that was begun."""
        while self._ahead:
            self._ahead.popitem()[1].stop()

    def close(self) -> None:
        """Nothing more is looked through."""
        self.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _begin(self, clips: list[Row], videos: dict[str, Row], journal: Journal | None) -> ShardSearch:
        work = SharedWork(
            self._params,
            self._storage,
            self._detector,
            journal,
            TrackStats(),
            self._detecting,
            self._line,
            self._face_finder,
        )
        futures = [self._pool.submit(work.video, videos.get(group[0]["video_id"]), group) for group in _by_video(clips)]
        return ShardSearch(work, clips, videos, futures)


def _by_video(clips: Iterable[Row]) -> list[list[Row]]:
    """Clips of each video in order of time, the most work first, so that a long video does not come last."""
    groups: dict[str, list[Row]] = {}
    for clip in sorted(clips, key=lambda c: (c["start_ms"], c["end_ms"])):
        groups.setdefault(clip["video_id"], []).append(clip)
    return sorted(groups.values(), key=lambda g: -sum(c["end_ms"] - c["start_ms"] for c in g))
