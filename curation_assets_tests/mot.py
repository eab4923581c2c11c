"""MOT15 sequences, and the figures that the `trackers` package's own evaluation gives for tracks on them."""

from __future__ import annotations

import configparser
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from trackers import ByteTrackTracker
from trackers.eval import evaluate_mot_sequence

from curation_assets.recipes import Tracks
from curation_assets.stages.tracking import Track, track_clip
from resources.detectors.base import Detections

TrackedBox = tuple[int, int, NDArray[np.floating]]
"""Frame from 1, id, and x, y, w, h."""


@dataclass(frozen=True)
class Sequence:
    """Detections and ground truth of one sequence.

    Attributes:
        detections: float64 (n, 10) MOTChallenge rows.
        truth: path of the ground truth.
    """

    name: str
    fps: float
    frames: int
    detections: NDArray[np.float64]
    truth: Path

    def of(self, frame: int) -> NDArray[np.float64]:
        return self.detections[self.detections[:, 0] == frame]


def load(folder: Path, name: str) -> Sequence:
    info = configparser.ConfigParser()
    info.read(folder / f"{name}_seqinfo.ini")
    rows = np.loadtxt(folder / f"{name}_sortdet.txt", delimiter=",")
    about = info["Sequence"]
    return Sequence(name, float(about["frameRate"]), int(about["seqLength"]), rows, folder / f"{name}_gt.txt")


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


def direct(sequence: Sequence) -> list[TrackedBox]:
    """`trackers.ByteTrackTracker` as its documentation uses it."""
    tracker = ByteTrackTracker(frame_rate=sequence.fps)
    boxes: list[TrackedBox] = []
    for frame in range(1, sequence.frames + 1):
        rows = sequence.of(frame)
        corners = np.concatenate([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], axis=1)
        out = tracker.update(sv.Detections(xyxy=corners, confidence=rows[:, 6], class_id=np.zeros(len(rows), int)))
        for box, number in zip(out.xyxy, out.tracker_id, strict=True):
            if number != -1:
                boxes.append((frame, int(number) + 1, np.concatenate([box[:2], box[2:] - box[:2]])))
    return boxes


def clip_of(sequence: Sequence) -> list[tuple[int, Detections]]:
    """The sequence as our stage takes it: time and detections of each frame."""
    frames = []
    for frame in range(1, sequence.frames + 1):
        rows = sequence.of(frame).astype(np.float32)
        frames.append((round((frame - 1) * 1000 / sequence.fps), Detections(rows[:, 2:6], rows[:, 6], rows[:, 6:7])))
    return frames


def ours(sequence: Sequence, params: Tracks) -> list[TrackedBox]:
    return tracked_boxes(track_clip(clip_of(sequence), params, sequence.fps), sequence.fps)


def tracked_boxes(tracks: Iterable[Track], fps: float) -> list[TrackedBox]:
    return [
        (round(time_ms * fps / 1000) + 1, number, box)
        for number, track in enumerate(tracks, 1)
        for time_ms, box in zip(track.times_ms, track.boxes, strict=True)
    ]
