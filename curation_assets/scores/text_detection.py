"""Burned-in and visible text of a clip, from its sampled frames.

How much of the picture text covers, what it says, and whether it stays in place over the clip (a subtitle, a logo) or moves with the
scene (a shop sign under a moving camera). Every clip is a task of its own in a pool of processes with one thread each; a frame that shows
the same picture as the one before is not looked at twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import shapely  # type: ignore[import-untyped]
from numpy.typing import NDArray

from curation_assets.decode.reading.workers import Task, run_tasks
from curation_assets.schemas import schema
from curation_assets.scores.stored_frames import Place, picture_of, read_stored
from curation_assets.scores.text_scores import Text
from curation_resources.faults import RESOURCE, Fault
from curation_resources.ocr import TextLine, TextReader, identity
from curation_resources.storage import Storage

Row = Mapping[str, Any]

POSITIONS = (0.1, 0.5, 0.9)
"""Where in a clip the frames of `samples: three` lie."""
SAME_PICTURE = 8.0
"""Largest mean difference of an 8 x 8 block, levels, below which two frames hold the same text. One changed digit 7 pixels high makes 18
or more; a slide that is shown for a minute stays within 7."""
SECONDS_PER_FRAME = 30.0
"""Wall time after which a worker is taken to hang; a dense page takes about one second."""
READ_AT_ONCE = 16
"""Frames of a clip whose bytes are in memory together."""
NO_FRAMES = "the clip has no sampled frames; materialize frames again"
SAME_LINE, SAME_EDGE = 0.7, 0.5
"""Two boxes are in one place if their vertical extents overlap by so much and their left edges, centres or right edges lie within so many
heights: a subtitle keeps its line and its alignment while its words change."""


@dataclass
class TextStats:
    """What a run over a shard did and cost.

    Attributes:
        clips: clips looked at.
        frames: frames looked at, of which `repeated` showed the same picture as the one before and `failed` could not be read.
        cpu_s: CPU seconds of the workers, without loading the models.
        cpu_ms_of_clip: the same by clip, milliseconds.
        faults: video id to why frames of it could not be looked at now.
    """

    clips: int = 0
    frames: int = 0
    repeated: int = 0
    failed: int = 0
    cpu_s: float = 0.0
    cpu_ms_of_clip: dict[str, float] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)

    @property
    def cpu_ms_per_frame(self) -> float:
        """CPU milliseconds of a frame that was looked at, 0 if none was."""
        looked = self.frames - self.repeated - self.failed
        return 1000 * self.cpu_s / looked if looked else 0.0


@dataclass(frozen=True)
class _Frame:
    """The text of one frame.

    Attributes:
        boxes: float32 (n, 4, 2), corners in pixels.
        size: width and height, pixels.
    """

    time_ms: int
    size: tuple[int, int]
    lines: tuple[TextLine, ...]

    @property
    def boxes(self) -> NDArray[np.float32]:
        return np.array([line.polygon for line in self.lines], np.float32).reshape(-1, 4, 2)

    @property
    def fractions(self) -> NDArray[np.float32]:
        """float32 (n, 4, 2), corners in fractions of the frame."""
        return np.clip(self.boxes / np.array(self.size, np.float32), 0, 1)


@dataclass(frozen=True)
class _ClipText:
    """What a worker found in a clip."""

    frames: tuple[_Frame, ...]
    errors: tuple[str, ...]
    repeated: int
    cpu_s: float
    fault: Fault | None = None


def estimator(params: Text) -> str:
    """Models, size limit and sampling, for the `estimator` column and the fingerprint.

    Raises:
        MissingWeights: rapidocr or one of its models is not there.
    """
    return f"{identity(params.words)}, <= {params.limit} px, samples: {params.samples}, confidence >= {params.confidence:g}"


def score_text(
    clips: pa.Table, frames: pa.Table, storage: Storage, params: Text, workers: int = 1
) -> tuple[pa.Table, TextStats]:
    """Finds the text of a shard's clips.

    Args:
        clips: rows of `clips`; those that are no clips (`status` other than ok) are left out.
        frames: rows of `frames`.
        storage: where their JPEGs lie.
        params: what to look at and how.
        workers: processes; 0 works in this one.

    Returns:
        The `text_scores` table with a row for each clip, and what it cost. A frame that cannot be read is left out and named in `error`; a
        clip without a readable frame has nulls.

    Raises:
        MissingWeights: rapidocr or one of its models is not there.
    """
    described = estimator(params)
    by_clip: dict[str, list[Row]] = {}
    for row in frames.select(["clip_id", "time_ms", "tar", "offset", "size", "sha256"]).to_pylist():
        by_clip.setdefault(row["clip_id"], []).append(row)
    wanted = {
        clip["clip_id"]: (
            clip,
            sample_frames(by_clip.get(clip["clip_id"], []), clip["start_ms"], clip["end_ms"], params.samples),
        )
        for clip in clips.select(["dataset", "video_id", "clip_id", "status", "start_ms", "end_ms"]).to_pylist()
        if clip["status"] == "ok"
    }
    tasks = [Task(key, samples, SECONDS_PER_FRAME * len(samples)) for key, (_, samples) in wanted.items() if samples]
    stats = TextStats(clips=len(wanted))
    found: dict[str, _ClipText] = {}
    for outcome in run_tasks(partial(_read_clip, storage, params), tasks, workers, "clips"):
        found[outcome.key] = outcome.result or _ClipText(
            (), (f"reading text {outcome.error}",), 0, 0.0, Fault(RESOURCE, f"reading text {outcome.error}")
        )
    rows = []
    for key, (clip, samples) in wanted.items():
        result = found.get(key) or _ClipText((), (NO_FRAMES,), 0, 0.0)
        stats.frames += len(samples)
        stats.failed += len(samples) - len(result.frames)
        if result.fault is not None:
            stats.faults.setdefault(clip["video_id"], result.fault)
        if result.frames or not result.errors:
            stats.repeated += result.repeated
            stats.cpu_s += result.cpu_s
            stats.cpu_ms_of_clip[key] = 1000 * result.cpu_s
        ids = {name: clip[name] for name in ("dataset", "video_id", "clip_id")}
        rows.append({**ids, **_summary(result, params.words), "estimator": described})
    table = schema("text_scores")
    return pa.Table.from_pylist(rows, table.arrow).sort_by([(k, "ascending") for k in table.key]), stats


def sample_frames(frames: Iterable[Row], start_ms: int, end_ms: int, samples: str) -> list[Row]:
    """The frames of the clip [start_ms, end_ms) to look at, in order of time: `all`, or the `three` nearest to `POSITIONS`."""
    ordered = sorted(frames, key=lambda row: row["time_ms"])
    if samples == "all":
        return ordered
    targets = [start_ms + p * (end_ms - start_ms) for p in POSITIONS]
    nearest = {min(range(len(ordered)), key=lambda k: abs(ordered[k]["time_ms"] - t)) for t in targets if ordered}
    return [ordered[k] for k in sorted(nearest)]


def union_area(polygons: NDArray[np.floating]) -> float:
    """Area of the union of polygons (n, corners, 2) inside the unit square; overlaps count once."""
    if not len(polygons):
        return 0.0
    shapes = shapely.convex_hull(shapely.polygons(polygons))
    return float(shapely.area(shapely.intersection(shapely.union_all(shapes), shapely.box(0, 0, 1, 1))))


def overlay_share(frames: Sequence[NDArray[np.floating]]) -> float | None:
    """Share of text area, summed over the frames, whose place also holds text in another frame.

    Args:
        frames: boxes of each frame, (n, 4, 2), in pixels.

    Returns:
        None if fewer than two frames were looked at or none holds text.
    """
    areas = [shapely.area(shapely.polygons(boxes)) if len(boxes) else np.zeros(0) for boxes in frames]
    total = float(sum(a.sum() for a in areas))
    if len(frames) < 2 or total == 0:
        return None
    stays = 0.0
    for k, (boxes, area) in enumerate(zip(frames, areas, strict=True)):
        others = [other for j, other in enumerate(frames) if j != k and len(other)]
        if len(boxes) and others:
            stays += float(area[_same_place(boxes, np.concatenate(others)).any(axis=1)].sum())
    return stays / total


def _same_place(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.bool_]:
    """bool (n, m): whether box i and box j lie on one line and share an edge or the centre."""
    (left, top), (right, bottom) = (
        np.moveaxis(boxes.min(axis=1), 1, 0)[..., None],
        np.moveaxis(boxes.max(axis=1), 1, 0)[..., None],
    )
    (left2, top2), (right2, bottom2) = np.moveaxis(others.min(axis=1), 1, 0), np.moveaxis(others.max(axis=1), 1, 0)
    shared = np.minimum(bottom, bottom2) - np.maximum(top, top2)
    line = shared >= SAME_LINE * (np.maximum(bottom, bottom2) - np.minimum(top, top2))
    reach = SAME_EDGE * np.minimum(bottom - top, bottom2 - top2)
    aligned = (
        (abs(left - left2) <= reach)
        | (abs(right - right2) <= reach)
        | (abs(left + right - left2 - right2) <= 2 * reach)
    )
    return line & aligned


def _summary(clip: _ClipText, words: bool) -> dict[str, Any]:
    areas = [union_area(frame.fractions) for frame in clip.frames]
    seen = list(dict.fromkeys(line.text for frame in clip.frames for line in frame.lines if line.text))
    boxes = [
        {
            "time_ms": frame.time_ms,
            "polygon": polygon.ravel().tolist(),
            "text": line.text,
            "confidence": line.confidence,
        }
        for frame in clip.frames
        for line, polygon in zip(frame.lines, frame.fractions, strict=True)
    ]
    return {
        "text_area": max(areas, default=None),
        "text_area_mean": float(np.mean(areas)) if areas else None,
        "text_boxes": boxes if areas else None,
        "text": "\n".join(seen) if words and areas else None,
        "overlay": overlay_share([frame.boxes for frame in clip.frames]),
        "samples": len(areas),
        "cpu_ms": 1000 * clip.cpu_s,
        "error": "; ".join(clip.errors) or None,
    }


@lru_cache(maxsize=1)
def _reader(limit: int, words: bool, confidence: float) -> TextReader:
    """The models of this process, loaded and warm."""
    cv2.setNumThreads(1)
    reader = TextReader(limit, words=words, confidence=confidence)
    reader(np.zeros((64, 64, 3), np.uint8))
    return reader


def _read_clip(storage: Storage, params: Text, samples: Sequence[Row]) -> _ClipText:
    """Runs in a worker."""
    reader = _reader(params.limit, params.words, params.confidence)
    began = time.process_time()
    frames: list[_Frame] = []
    errors: list[str] = []
    fault: Fault | None = None
    before: NDArray[np.uint8] | None = None
    repeated = 0
    for row, picture in zip(samples, _pictures(samples, storage), strict=True):
        if isinstance(picture, str):
            errors.append(picture)
            continue
        if isinstance(picture, Fault):
            errors.append(picture.reason)
            fault = fault or picture
            continue
        size = (picture.shape[1], picture.shape[0])
        if before is not None and same_picture(before, picture):
            lines = frames[-1].lines
            repeated += 1
        else:
            lines = tuple(reader(picture))
            before = picture
        frames.append(_Frame(row["time_ms"], size, lines))
    return _ClipText(tuple(frames), tuple(errors), repeated, time.process_time() - began, fault)


def same_picture(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    """Whether two frames, uint8 (h, w, 3), differ by no more than JPEG noise in every block of 8 x 8 pixels."""
    if first.shape != second.shape:
        return False
    h, w = first.shape[:2]
    difference = cv2.absdiff(first, second)
    blocks = cv2.resize(difference, (max(1, w // 8), max(1, h // 8)), interpolation=cv2.INTER_AREA)
    return bool(blocks.max() < SAME_PICTURE)


def _pictures(samples: Sequence[Row], storage: Storage) -> Iterator[NDArray[np.uint8] | str | Fault]:
    """Each frame as uint8 (h, w, 3) blue, green, red, or why it cannot be had: a fault if that may pass."""
    for start in range(0, len(samples), READ_AT_ONCE):
        places = [picture_of(row) for row in samples[start : start + READ_AT_ONCE]]
        found = dict(read_stored(storage, places))
        yield from (_picture(found[i], place) for i, place in enumerate(places))


def _picture(data: memoryview | Fault, place: Place) -> NDArray[np.uint8] | str | Fault:
    if isinstance(data, Fault):
        return data
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None
    if picture is None:
        return f"{place.name} is not a picture that can be decoded; materialize frames again"
    return np.asarray(picture, np.uint8)
