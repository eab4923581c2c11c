"""What a row of `tracks` says of a track: its classes, where it was and when, how fast it moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors import Detector

if TYPE_CHECKING:
    from curation_assets.tracks.track import Track

Row = dict[str, Any]
TOP_CLASSES = 10
"""Classes of a track that its row names."""


def track_row(track: Track, number: int, clip: Row, params: Tracks, detector: Detector) -> Row:
    """One row of `tracks`, of plain values that survive JSON unchanged.

    Args:
        number: position of the track in its clip.
        clip: row of `clips`.
    """
    width, height = clip["width"], clip["height"]
    boxes = np.asarray(track.boxes, np.float64)
    plain, plain_std, weighted, weighted_std = track.class_statistics()
    top = np.argsort(-weighted, kind="stable")[:TOP_CLASSES]
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
