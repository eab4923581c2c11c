"""Sequences of detections with known tracks, MOT15's and generated ones, and the figures that `trackers` gives for tracks on them."""

from __future__ import annotations

import configparser
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from trackers.eval import evaluate_mot_sequence

from benchmarks.truth.crowds import CrowdParams, crowd
from curation_assets.tracks.track import Track
from curation_assets.tracks.tracking import track_clip
from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors.base import Detections

TrackedBox = tuple[int, int, NDArray[np.floating]]
"""Frame from 1, id, and x, y, w, h."""


@dataclass(frozen=True)
class Sequence:
    """Detections and ground truth of one sequence.

    Attributes:
        detections: of each frame.
        truth: MOTChallenge rows, frames from 1.
    """

    name: str
    fps: float
    detections: list[Detections]
    truth: list[str]


def load(folder: Path, name: str) -> Sequence:
    """A MOT15 sequence: NAME_seqinfo.ini, NAME_gt.txt, and NAME_sortdet.txt with SORT's public detections."""
    info = configparser.ConfigParser()
    info.read(folder / f"{name}_seqinfo.ini")
    about, rows = info["Sequence"], np.loadtxt(folder / f"{name}_sortdet.txt", delimiter=",").astype(np.float32)
    frames = [rows[rows[:, 0] == frame] for frame in range(1, int(about["seqLength"]) + 1)]
    detections = [Detections(r[:, 2:6], r[:, 6], r[:, 6:7]) for r in frames]
    return Sequence(name, float(about["frameRate"]), detections, (folder / f"{name}_gt.txt").read_text().split())


def generated(seed: int, kind: str = "crowds") -> Sequence:
    """A scene of one of the kinds of `crowds` as a sequence."""
    scene = crowd(seed, CrowdParams.drawn(seed, kind))
    rows = []
    for frame, seen in enumerate(scene.truth, 1):
        boxes = np.concatenate([seen.corners[:, :2], seen.corners[:, 2:] - seen.corners[:, :2]], axis=1)
        rows += [",".join(map(str, [frame, n + 1, *box, 1])) for n, box in zip(seen.ids, boxes.tolist(), strict=True)]
    return Sequence(f"{kind} {seed}", scene.fps, scene.detections, rows)


@dataclass(frozen=True)
class Figures:
    """MOTA and IDF1 as fractions, identity switches, fragmentations."""

    mota: float
    idf1: float
    switches: int
    fragments: int


def evaluate(truth_rows: Iterable[str], tracked: Iterable[TrackedBox]) -> Figures:
    """Figures of tracked boxes against ground truth in MOTChallenge rows. The evaluation keeps class 1 only, so all become class 1."""
    with tempfile.TemporaryDirectory() as folder:
        truth, result = Path(folder, "truth.txt"), Path(folder, "result.txt")
        truth.write_text("".join(",".join([*line.split(",")[:7], "1", "-1"]) + "\n" for line in truth_rows))
        rows = sorted(tracked, key=lambda r: r[:2])
        result.write_text(
            "".join(",".join(map(str, [f, i, *np.round(b, 3).tolist(), 1, 1, -1])) + "\n" for f, i, b in rows)
        )
        out = evaluate_mot_sequence(truth, result, metrics=["CLEAR", "Identity"])
    assert out.CLEAR is not None
    assert out.Identity is not None
    return Figures(out.CLEAR.MOTA, out.Identity.IDF1, out.CLEAR.IDSW, out.CLEAR.Frag)


def direct(sequence: Sequence, tracker: Any) -> list[TrackedBox]:
    """A tracker of the `trackers` package as its documentation uses it."""
    boxes: list[TrackedBox] = []
    for frame, found in enumerate(sequence.detections, 1):
        corners, scores = found.corners.astype(np.float64), found.scores.astype(np.float64)
        out = tracker.update(sv.Detections(xyxy=corners, confidence=scores, class_id=np.zeros(len(found), int)))
        for box, number in zip(out.xyxy, out.tracker_id, strict=True):
            if number != -1:
                boxes.append((frame, int(number) + 1, np.concatenate([box[:2], box[2:] - box[:2]])))
    return boxes


def ours(sequence: Sequence, params: Tracks) -> list[TrackedBox]:
    """This project's stage."""
    frames = [(round(k * 1000 / sequence.fps), found) for k, found in enumerate(sequence.detections)]
    return tracked_boxes(track_clip(frames, params, sequence.fps), sequence.fps)


def tracked_boxes(tracks: Iterable[Track], fps: float) -> list[TrackedBox]:
    return [
        (round(time_ms * fps / 1000) + 1, number, box)
        for number, track in enumerate(tracks, 1)
        for time_ms, box in zip(track.times_ms, track.boxes, strict=True)
    ]
