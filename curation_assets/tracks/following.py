"""Object tracks of a shard's clips: decode, detect, follow, one row per track.

Each clip is decoded once, straight from its source video, and only if it passed the recipe's rules. Threads work on different videos
with one detector, which is in memory once. Finished clips go to a journal, so a killed run is continued without losing or doubling a
track.

What belongs here: the walk over a shard. What does not: which detector (`object_detector.py`), association (`tracking.py`), what a row says
(`track_rows.py`), pictures with drawn tracks (`drawn_tracks.py`), thresholds on tracks, which are the subset's.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

import av
import pyarrow as pa

from curation_assets.decode.reading.clip_frames import ClipReader, ClipUnreadable
from curation_assets.decode.reading.media import MediaError
from curation_assets.schemas import schema
from curation_assets.tracks.face_search import TRACKED, Beat, FaceSearch, look_through
from curation_assets.tracks.track_rows import Row, track_row
from curation_assets.tracks.tracking import ClipTracker
from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors import Detections, Detector
from curation_resources.detectors.base import Image
from curation_resources.detectors.faces import CenterFaceDetector
from curation_resources.faults import Fault, check_reads, fault_of, reading
from curation_resources.journal import Journal
from curation_resources.media import MediaRef
from curation_resources.progress import told
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
        detect_s: seconds in the detector, summed over threads.
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

    @property
    def frames_per_second(self) -> float:
        """Frames searched per second of wall time."""
        return self.frames / self.wall_s if self.wall_s else 0.0

    @property
    def detections_per_second(self) -> float:
        """Objects found per second of wall time."""
        return self.boxes / self.wall_s if self.wall_s else 0.0


@dataclass(frozen=True)
class TrackInputs:
    """What the tracks of a shard are made from.

    Attributes:
        clips: rows of `clips`; those that are not `ok` are no clips.
        raw: rows of `raw_shards` of the same videos.
        keep: ids of the clips that passed the recipe's rules; None is all of them.
    """

    clips: pa.Table
    raw: pa.Table
    keep: Collection[str] | None = None


def track_shard(
    inputs: TrackInputs,
    params: Tracks,
    storage: Storage,
    detector: Detector,
    *,
    workers: int = 1,
    journal: Journal | None = None,
) -> tuple[pa.Table, TrackStats]:
    """The object tracks of a shard.

    Args:
        inputs: clips and their videos.
        params: the recipe's `tracks` section.
        storage: where the videos lie.
        detector: from `open_detector`.
        workers: videos that are worked on at the same time.
        journal: finished clips are recorded there, and those found there are not looked at again.

    Returns:
        The table `tracks`, and the account of every clip. A clip without tracks has no row.

    Raises:
        ValueError: the recipe asks for appearance and the detector has none.
    """
    if params.appearance and not detector.has_features:
        raise ValueError(
            f"tracks.appearance is set, but the detector {params.detector} has no appearance features; use owlv2 or grounding-dino"
        )
    started = time.perf_counter()
    real = [c for c in inputs.clips.to_pylist() if c["status"] == "ok"]
    wanted = [c for c in real if inputs.keep is None or c["clip_id"] in inputs.keep]
    done = {c["clip_id"]: journal.items[c["clip_id"]] for c in wanted if journal and c["clip_id"] in journal.items}
    stats = TrackStats(clips=len(real), skipped=len(real) - len(wanted), resumed=len(done))
    rows: list[Row] = [row for finished in done.values() for row in finished["rows"]]
    videos = {r["video_id"]: r for r in inputs.raw.to_pylist() if r["status"] == "ok"}
    work = SharedWork(
        params, storage, detector, journal, stats, nullcontext() if detector.concurrent else threading.Lock()
    )
    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="tracks") as pool:
        jobs = _by_video([c for c in wanted if c["clip_id"] not in done])
        futures = [pool.submit(work.video, videos.get(group[0]["video_id"]), group) for group in jobs]
        try:
            for future in told(as_completed(futures), len(futures), "videos"):
                rows += future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    stats.looked_at = len(wanted) - len(stats.failed)
    stats.tracks, stats.labels = len(rows), Counter(r["label"] for r in rows)
    stats.wall_s = time.perf_counter() - started
    rows.sort(key=lambda r: (r["video_id"], r["clip_id"], r["track_id"]))
    return pa.Table.from_pylist(rows, schema=schema("tracks").arrow), stats


def _by_video(clips: Iterable[Row]) -> list[list[Row]]:
    """Clips of each video in order of time, the most work first, so that a long video does not come last."""
    groups: dict[str, list[Row]] = {}
    for clip in sorted(clips, key=lambda c: (c["start_ms"], c["end_ms"])):
        groups.setdefault(clip["video_id"], []).append(clip)
    return sorted(groups.values(), key=lambda g: -sum(c["end_ms"] - c["start_ms"] for c in g))


@dataclass
class SharedWork:
    """What the threads share. `stats` is changed under `counting` only."""

    params: Tracks
    storage: Storage
    detector: Detector
    journal: Journal | None
    stats: TrackStats
    detecting: Any
    counting: threading.Lock = field(default_factory=threading.Lock)

    def video(self, raw: Row | None, clips: Sequence[Row]) -> list[Row]:
        """Rows of the given clips of one video."""
        if raw is None:
            self._fail(clips, "its video is not in raw_shards; materialize raw_shards again")
            return []
        rows: list[Row] = []
        finished = 0
        try:
            ref = MediaRef(raw["tar"], raw["offset"], raw["size"], raw["etag"])
            with reading(self.storage, ref) as stream, ClipReader(stream) as reader:
                for clip in clips:
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

    def _clip(self, reader: ClipReader, stream: BinaryIO, clip: Row) -> list[Row]:
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
        if self.journal is not None:
            self.journal.add(clip["clip_id"], {"rows": rows})
        with self.counting:
            self.stats.frames += frames
            self.stats.boxes += boxes
            self.stats.detect_s += seconds
        return rows

    def _search(self, reader: ClipReader, clip: Row) -> Iterator[tuple[list[int], list[Detections], float]]:
        """Times, detections and seconds of each batch of the clip's frames."""
        size = (clip["width"], clip["height"])
        found_frames = reader.frames(clip["start_ms"], clip["end_ms"], self.params.fps)
        frames: Iterator[tuple[int, Image]] = ((f.time_ms, reader.rgb(f, size)) for f in found_frames)
        if self.params.blur_faces:
            frames = self._without_faces(frames)
        if isinstance(self.detector, CenterFaceDetector):
            yield from look_through(frames, FaceSearch(self.detector, TRACKED, self.params.high))
            return
        while batch := list(islice(frames, self.params.batch)):
            with self.detecting:
                begun = time.perf_counter()
                found = self.detector.detect([image for _, image in batch])
                spent = time.perf_counter() - begun
            yield [time_ms for time_ms, _ in batch], found, spent

    def _without_faces(self, frames: Iterator[tuple[int, Image]]) -> Iterator[tuple[int, Image]]:
        """The frames with faces covered; every face is looked for in every frame, and may be lost for a second."""
        from curation_assets.tracks.faces import FaceBlurrer

        return FaceBlurrer(beat=Beat(2, 1), window=max(1, round(self.params.fps))).process(frames)

    def _fail(self, clips: Iterable[Row], reason: str) -> None:
        with self.counting:
            for clip in clips:
                self.stats.failed.setdefault(clip["clip_id"], reason)
