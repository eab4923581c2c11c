"""TrackVerse's track records: gzipped JSON lines, one track each.

The project published three sets of keys, and all three are read: `first` (the first commit's parser: `track_id`, `frame_ts`,
`frame_bboxes`, `frame_obj`, ...), `released` (the downloads of its README: the same without the values per frame but with `yid` and
`mp4_filename`) and `pipeline` (the later `pipeline/parse_tracks.py`: `yid`, `tid`, `track_ts` of every frame, `track_bbox`, `top10_logit_mu`,
...). Written are the first commit's names, with `yid` and `mp4_filename`, and ours beside them.

Times in the records are seconds; boxes are x, y, w, h in pixels, as its code writes and reads them, although its README speaks of
corners.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np

from curation_resources.words import plural

KeySet = Literal["first", "released", "pipeline"]
OURS = ("dataset", "clip_id", "area", "motion", "length_s", "detector", "embedding")
"""Columns of `tracks` that records carry under our own names."""


class RecordError(ValueError):
    """A line that is no track record; the message names file and line."""


@dataclass(frozen=True)
class TrackRecord:
    """A track, whichever key set it was written with.

    Attributes:
        track_id: its id as text; the file name's for records that have none.
        video_id: source video; None where the record does not say (the first key set is kept in one file per video).
        width, height: of the video, pixels.
        times_ms: presentation time of each box.
        boxes: x, y, w, h in pixels, one per time.
        labels: best classes, best first.
        scores, scores_std: mean and deviation of their scores over the track.
        weighted, weighted_std: the same, weighted by objectness.
        objectness: of each box; None where the record does not say.
        box_labels, box_scores: best class of each box and its score; None where the record does not say.
        filename: the track's own mp4; None if it has none.
        ours: the values under our own names.
    """

    track_id: str
    video_id: str | None
    width: int
    height: int
    times_ms: list[int]
    boxes: list[list[float]]
    labels: list[str]
    scores: list[float]
    scores_std: list[float]
    weighted: list[float]
    weighted_std: list[float]
    objectness: list[float] | None
    box_labels: list[str] | None
    box_scores: list[float] | None
    filename: str | None
    ours: dict[str, Any]


def plain_label(text: str) -> str:
    """The class name within one of TrackVerse's prompts: `photo of a cat (also known as kitty)` is `cat`."""
    return text.removeprefix("a ").replace("photo of a ", "").split(" (also")[0]


def key_set(record: Mapping[str, Any]) -> KeySet | None:
    """Which of the published key sets a record has; None for none of them."""
    if "track_bbox" in record:
        return "pipeline"
    if "frame_bboxes" not in record or "frame_ts" not in record:
        return None
    return "first" if "frame_obj" in record else "released"


def read_records(stream: BinaryIO, name: str, *, corners: bool = False) -> Iterator[TrackRecord]:
    """The records of a `.jsonl.gz` file, one after the other.

    Args:
        stream: the file; gzipped or plain.
        name: the file's name, for messages.
        corners: whether its boxes are x1, y1, x2, y2.

    Raises:
        RecordError: a line that is not JSON or none of the key sets, or a file cut off within a line.
    """
    head = stream.read(2)
    stream.seek(0)
    lines = gzip.open(stream, "rt", encoding="utf-8") if head == b"\x1f\x8b" else (b.decode("utf-8") for b in stream)
    number = 0
    try:
        for line in lines:
            number += 1
            if line.strip():
                yield _read(json.loads(line), corners)
    except (EOFError, OSError, zlib.error) as error:
        raise RecordError(f"{name}: cut off after line {number} ({error})") from error
    except (ValueError, KeyError, TypeError, IndexError) as error:
        what = f"no value {error}" if isinstance(error, KeyError) else str(error)
        raise RecordError(f"{name} line {number}: not a TrackVerse record: {what}") from error


def _read(record: Mapping[str, Any], corners: bool) -> TrackRecord:
    keys = key_set(record)
    if keys is None:
        raise ValueError("it has neither frame_bboxes and frame_ts nor track_bbox")
    pipeline = keys == "pipeline"
    boxes = np.asarray(record["track_bbox" if pipeline else "frame_bboxes"], float).reshape(-1, 4)
    times = record["track_ts" if pipeline else "frame_ts"]
    if len(times) != len(boxes):
        raise ValueError(f"{plural(len(times), 'time')} for {plural(len(boxes), 'box', 'boxes')}")
    if corners:
        boxes[:, 2:] -= boxes[:, :2]
    height, width = record["video_size"][:2]
    mean, deviation = _scores(record, "top10_cls", "top10_logit")
    weighted, weighted_std = _scores(record, "top10_wcls", "top10_wlogit")
    filename = record.get("mp4_filename", record.get("fn"))
    return TrackRecord(
        track_id=str(record.get("tid", record.get("track_id", filename))),
        video_id=record.get("yid"),
        width=int(width),
        height=int(height),
        times_ms=[round(float(t) * 1000) for t in times],
        boxes=boxes.tolist(),
        labels=[plain_label(d) for d in record["top10_desc"]],
        scores=list(mean),
        scores_std=list(deviation),
        weighted=list(weighted),
        weighted_std=list(weighted_std),
        objectness=record.get("frame_obj"),
        box_labels=[plain_label(d) for d in record["frame_desc"]] if "frame_desc" in record else None,
        box_scores=record.get("frame_cls"),
        filename=filename,
        ours={k: record[k] for k in OURS if k in record},
    )


def _scores(record: Mapping[str, Any], pair: str, pipeline: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation, whichever way they are named: TrackVerse's subset scripts read records that mix the names."""
    if pair in record:
        return record[pair][0], record[pair][1]
    return record[f"{pipeline}_mu"], record[f"{pipeline}_std"]


def to_record(row: Mapping[str, Any], names: Sequence[str], filename: str | None = None) -> dict[str, Any]:
    """A row of `tracks` under the first commit's names, with `yid` and `mp4_filename`, and ours beside.

    Boxes that were filled into gaps are left out: the records hold what was detected. Without objectness the weighted scores are the
    plain ones and `frame_obj` is 1.

    Args:
        row: a row of `tracks`.
        names: the vocabulary; class numbers are positions in it. A class that is not in it has the number -1.
        filename: of the track's own mp4; None if none is published.
    """
    number = {name: i for i, name in enumerate(names)}
    kept = [i for i, label in enumerate(row["box_labels"]) if label is not None]
    objectness = [1.0 if row["objectness"] is None else row["objectness"][i] for i in kept]
    scores = [row["box_label_scores"][i] for i in kept]
    labels = [row["box_labels"][i] for i in kept]
    weighted = row["top_scores_weighted"] or row["top_scores"]
    weighted_std = row["top_scores_weighted_std"] or row["top_scores_std"]
    return {
        "track_id": row["track_id"],
        "video_size": [row["height"], row["width"]],
        "track_ts": [row["start_ms"] / 1000, row["end_ms"] / 1000],
        "top10_lbl": [number.get(n, -1) for n in row["top_labels"]],
        "top10_desc": row["top_labels"],
        "top10_cls": [row["top_scores"], row["top_scores_std"]],
        "top10_wcls": [weighted, weighted_std],
        "frame_ts": [row["frame_ms"][i] / 1000 for i in kept],
        "frame_bboxes": [row["boxes"][i] for i in kept],
        "frame_obj": objectness,
        "frame_cls": scores,
        "frame_wcls": [s * o for s, o in zip(scores, objectness, strict=True)],
        "frame_lbl": [number.get(n, -1) for n in labels],
        "frame_desc": labels,
        "yid": row["video_id"],
        "mp4_filename": filename,
        **{k: row[k] for k in OURS},
    }


def write_records(stream: BinaryIO, rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> int:
    """Writes rows of `tracks` as a `.jsonl.gz` file, the same bytes for the same rows; returns how many.

    Args:
        rows: see `to_record`.
        names: the vocabulary.
    """
    count = 0
    with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
        for row in rows:
            packed.write(record_line(row, names))
            count += 1
    return count


def record_line(row: Mapping[str, Any], names: Sequence[str], filename: str | None = None) -> bytes:
    """A row of `tracks` as a line of the file; see `to_record`."""
    return json.dumps(to_record(row, names, filename), separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
