"""Object tracks of a shard's clips: decode, detect, follow, one row per track.

Each clip is decoded once, straight from its source video, and only if it passed the recipe's rules. Threads work on different videos
with one detector, which is in memory once. Finished clips go to a journal, so a killed run is continued without losing or doubling a
track.

What belongs here: the walk over a shard, rows, facts, pictures with drawn tracks. What does not: detectors (`curation_resources.detectors`),
association (`tracking`), thresholds on tracks, which are the subset's.
"""

from __future__ import annotations

import hashlib
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
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.decode.reading.clip_frames import ClipReader, ClipUnreadable
from curation_assets.decode.reading.media import MediaError
from curation_assets.schemas import schema
from curation_assets.tracks.tracking import ClipTracker, Track
from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors import Detections, Detector, load_detector, load_vocabulary
from curation_resources.detectors.base import Image
from curation_resources.faults import Fault, check_reads, fault_of, reading
from curation_resources.journal import Journal
from curation_resources.progress import told
from curation_resources.storage import MediaRef, Storage, StorageError
from curation_resources.weights import fetch_weights, file_sha256, local_path

Row = dict[str, Any]
TOP = 10
DRAWN_SIDE = 480
"""Long side of a picture with drawn tracks, pixels."""
PALETTE = ((230, 60, 60), (60, 170, 60), (70, 110, 240), (235, 160, 30), (170, 70, 200), (40, 180, 190), (230, 90, 170))


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


def open_detector(params: Tracks, *, threads: int = 1) -> Detector:
    """The recipe's detector, loaded.

    Raises:
        curation_resources.weights.MissingWeights, curation_resources.weights.WrongWeights, curation_resources.detectors.VocabularyError: one sentence each.
    """
    brought = params.chosen()
    if brought is not None:
        make, options = brought
        made: Detector = make(params, options, threads)
        return made
    return load_detector(
        params.detector,
        model=params.model,
        vocabulary=params.vocabulary,
        prompt=params.prompt,
        confidence=params.confidence,
        nms=params.nms,
        device=params.device,
        threads=threads,
        batch=params.batch,
        onnx=params.onnx.model_dump(),
    )


def detector_identity(params: Tracks) -> str:
    """What identifies detector weights and vocabulary in a fingerprint, without loading the model.

    Files count by content; a model of the hub by its id, for which repository content is taken as fixed.
    """
    from curation_resources.detectors.faces import centerface_identity

    brought = params.brought_identity()
    if brought:
        return ":".join(*brought.items())
    names = hashlib.sha256("\n".join(load_vocabulary(params.vocabulary)).encode()).hexdigest()[:16]
    if params.detector == "faces":
        return centerface_identity()
    covering = f" after {centerface_identity()}" if params.blur_faces else ""
    model = params.model or ""
    if params.detector == "onnx":
        return f"onnx:{file_sha256(fetch_weights(model, 'the ONNX detector', 'tracks.model'))[:16]}:{names}{covering}"
    folder = local_path(model)
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return f"{params.detector}:{'+'.join(file_sha256(f)[:16] for f in weights) or model}:{names}{covering}"


def track_shard(
    clips: pa.Table,
    raw: pa.Table,
    params: Tracks,
    storage: Storage,
    detector: Detector,
    *,
    keep: Collection[str] | None = None,
    workers: int = 1,
    journal: Journal | None = None,
) -> tuple[pa.Table, TrackStats]:
    """The object tracks of a shard.

    Args:
        clips: rows of `clips`; those that are not `ok` are no clips.
        raw: rows of `raw_shards` of the same videos.
        storage: where the videos lie.
        detector: from `open_detector`.
        keep: ids of the clips that passed the recipe's rules; None is all of them.
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
    real = [c for c in clips.to_pylist() if c["status"] == "ok"]
    wanted = [c for c in real if keep is None or c["clip_id"] in keep]
    done = {c["clip_id"]: journal.items[c["clip_id"]] for c in wanted if journal and c["clip_id"] in journal.items}
    stats = TrackStats(clips=len(real), skipped=len(real) - len(wanted), resumed=len(done))
    rows: list[Row] = [row for finished in done.values() for row in finished["rows"]]
    videos = {r["video_id"]: r for r in raw.to_pylist() if r["status"] == "ok"}
    work = _Work(params, storage, detector, journal, stats, nullcontext() if detector.concurrent else threading.Lock())
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
class _Work:
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
        while batch := list(islice(frames, self.params.batch)):
            with self.detecting:
                begun = time.perf_counter()
                found = self.detector.detect([image for _, image in batch])
                spent = time.perf_counter() - begun
            yield [time_ms for time_ms, _ in batch], found, spent

    def _without_faces(self, frames: Iterator[tuple[int, Image]]) -> Iterator[tuple[int, Image]]:
        """The frames with faces covered; every frame is looked at, and a face may be lost for a second."""
        from curation_assets.tracks.faces import FaceBlurrer

        return FaceBlurrer(every=1, window=max(1, round(self.params.fps))).process(frames)

    def _fail(self, clips: Iterable[Row], reason: str) -> None:
        with self.counting:
            for clip in clips:
                self.stats.failed.setdefault(clip["clip_id"], reason)


def track_row(track: Track, number: int, clip: Row, params: Tracks, detector: Detector) -> Row:
    """One row of `tracks`, of plain values that survive JSON unchanged.

    Args:
        number: position of the track in its clip.
        clip: row of `clips`.
    """
    width, height = clip["width"], clip["height"]
    boxes = np.asarray(track.boxes, np.float64)
    plain, plain_std, weighted, weighted_std = track.class_statistics()
    top = np.argsort(-weighted, kind="stable")[:TOP]
    has_objectness = any(o is not None for o in track.objectness)
    embedding = track.embedding()
    area = float(np.mean(boxes[:, 2] * boxes[:, 3]) / (width * height))
    length_s = (track.times_ms[-1] - track.times_ms[0]) / 1000
    return {
        "dataset": clip["dataset"],
        "video_id": clip["video_id"],
        "clip_id": clip["clip_id"],
        "track_id": f"{clip['clip_id']}_{number:04d}",
        "label": detector.names[top[0]],
        "score": float(plain[top[0]]),
        "top_labels": [detector.names[i] for i in top],
        "top_scores": plain[top].tolist(),
        "top_scores_std": plain_std[top].tolist(),
        "top_scores_weighted": weighted[top].tolist() if has_objectness else None,
        "top_scores_weighted_std": weighted_std[top].tolist() if has_objectness else None,
        "start_ms": track.times_ms[0],
        "end_ms": track.times_ms[-1],
        "frame_ms": track.times_ms,
        "boxes": [box.tolist() for box in track.boxes],
        "box_scores": track.scores,
        "box_labels": [None if c is None else detector.names[c] for c in track.classes],
        "box_label_scores": track.best_scores,
        "objectness": track.objectness if has_objectness else None,
        "length_s": length_s,
        "area": area,
        "large_enough": area >= params.min_area and length_s >= params.min_length_s,
        "motion": centre_speed(track.times_ms, boxes, (width, height)),
        "embedding": None if embedding is None else embedding.astype(np.float16).tolist(),
        "width": width,
        "height": height,
        "detector": f"{detector.description}; {tracker_description(params)}",
    }


def tracker_description(params: Tracks) -> str:
    """The tracker and its sampling in words, as the table records them."""
    appearance = f" appearance motion_weight={params.motion_weight:g}" if params.appearance else ""
    covered = " after covering faces" if params.blur_faces else ""
    filled = f" fill_gaps_s={params.fill_gaps_s:g}" if params.fill_gaps_s else ""
    return f"bytetrack {params.fps:g} fps high={params.high:g} low={params.low:g} buffer_s={params.buffer_s:g}{appearance}{filled}{covered}"


def centre_speed(times_ms: Sequence[int], boxes: NDArray[np.float64], size: tuple[int, int]) -> float | None:
    """Length of the path of the box centre over its time, in frame diagonals per second; None for a single moment.

    Args:
        boxes: (n, 4): x, y, w, h in pixels.
        size: width and height of the frame.
    """
    seconds = (times_ms[-1] - times_ms[0]) / 1000
    if seconds <= 0:
        return None
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    path = float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())
    return path / float(np.hypot(*size)) / seconds


def draw_boxes(image: NDArray[np.uint8], boxes: Sequence[tuple[Sequence[float], str, int]]) -> NDArray[np.uint8]:
    """A copy of an RGB frame with named boxes.

    Args:
        boxes: (x, y, w, h in pixels), name, and a number that picks the colour.
    """
    import cv2

    drawn = image.copy()
    stroke = max(2, round(max(image.shape[:2]) / 240))
    for (x, y, w, h), name, number in boxes:
        colour = PALETTE[number % len(PALETTE)]
        left, top, right, bottom = round(x), round(y), round(x + w), round(y + h)
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, stroke)
        scale = stroke / 3.2
        (text_w, text_h), _ = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, stroke // 2 or 1)
        foot = max(text_h + 2 * stroke, top)
        cv2.rectangle(drawn, (left, foot - text_h - 2 * stroke), (left + text_w, foot), colour, -1)
        cv2.putText(
            drawn,
            name,
            (left, foot - stroke),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (255, 255, 255),
            stroke // 2 or 1,
            cv2.LINE_AA,
        )
    return drawn


def drawn_clips(tracks: pa.Table, raw: pa.Table, storage: Storage, *, clips: int = 9) -> list[tuple[bytes, str]]:
    """The clips with most tracks, each by the moment that shows most of its tracks, with the boxes of that moment.

    Args:
        tracks: rows of `tracks`.
        raw: rows of `raw_shards` of the same videos.
        clips: how many.

    Returns:
        JPEG and clip id of each; a clip whose frame cannot be had is left out.
    """
    import cv2

    videos = {r["video_id"]: r for r in raw.to_pylist() if r["status"] == "ok"}
    shown = tracks.select(["video_id", "clip_id", "label", "frame_ms", "boxes", "width", "height"]).to_pylist()
    by_clip: dict[str, list[Row]] = {}
    for row in shown:
        by_clip.setdefault(row["clip_id"], []).append(row)
    best = sorted(by_clip.values(), key=lambda rows: (-len(rows), rows[0]["clip_id"]))[:clips]
    pictures = []
    for rows in best:
        tile = _tile(rows, videos.get(rows[0]["video_id"]), storage)
        if tile is not None:
            scale = min(1.0, DRAWN_SIDE / max(tile.shape[:2]))
            small = cv2.resize(tile[:, :, ::-1], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            pictures.append((bytes(cv2.imencode(".jpg", small)[1]), rows[0]["clip_id"]))
    return pictures


def _tile(rows: Sequence[Row], raw: Row | None, storage: Storage) -> NDArray[np.uint8] | None:
    """One frame of a clip with the boxes of that moment; None if the frame cannot be had."""
    if raw is None:
        return None
    moment = Counter(t for row in rows for t in row["frame_ms"]).most_common(1)[0][0]
    boxes = [
        (row["boxes"][row["frame_ms"].index(moment)], row["label"], number)
        for number, row in enumerate(rows)
        if moment in row["frame_ms"]
    ]
    try:
        with (
            storage.open_media(MediaRef(raw["tar"], raw["offset"], raw["size"], raw["etag"])) as stream,
            ClipReader(stream) as reader,
        ):
            frame = next(reader.frames(moment, moment + 1000))
            return draw_boxes(reader.rgb(frame, (rows[0]["width"], rows[0]["height"])), boxes)
    except (ClipUnreadable, MediaError, StorageError, av.FFmpegError):
        return None
