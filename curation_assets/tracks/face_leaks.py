"""Faces that a second detector finds in frames in which faces were covered.

What belongs here: the search and its account. What does not: covering (`faces.py`), which clips are looked at (`publish/writing/clip_versions.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from curation_assets.decode.reading.clip_frames import ClipReader
from curation_resources.detectors.base import Detector, Image

WHOLE_CLIP_MS = 1 << 52
SAME_FRAME_MS = 20
"""Times of a frame in the source and in the exported clip are rounded apart by less."""


@dataclass(frozen=True)
class Leak:
    """A face that a detector finds in a frame that should show none.

    Attributes:
        time_ms: presentation time of the frame.
        box: x, y, w, h in pixels.
        score: the detector's score.
    """

    time_ms: int
    box: tuple[float, float, float, float]
    score: float


def find_leaks(frames: Iterable[tuple[int, Image]], detector: Detector, *, every: int = 10) -> list[Leak]:
    """Looks for faces in a sample of blurred frames, best with another detector than the one that found them.

    Args:
        frames: presentation time and RGB of blurred frames.
        every: one in so many is looked at, beginning with the first.
    """
    leaks = []
    for index, (time_ms, image) in enumerate(frames):
        if index % every == 0:
            found = detector.detect([image])[0]
            for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True):
                leaks.append(Leak(time_ms, (box[0], box[1], box[2], box[3]), score))
    return leaks


@dataclass(frozen=True)
class ClipLeaks:
    """What a second detector finds in a sample of a blurred clip's frames.

    Attributes:
        frames: looked at.
        covers: faces that are covered in them.
        over_covers: finds whose centre lies in a cover: what is left of a face, or the head around it, looks like one.
        elsewhere: the other finds: faces that were not covered, or what the detector takes for one.
    """

    frames: int
    covers: int
    over_covers: list[Leak]
    elsewhere: list[Leak]


def find_leaks_in_clip(
    file: BinaryIO, detector: Detector, faces: pa.Table, *, start_ms: int, scale: float, every: int = 10
) -> ClipLeaks:
    """Looks for faces in every so many frames of a blurred clip.

    Args:
        file: the clip, in a container that PyAV reads; its times begin at 0.
        faces: where faces were covered, schema `FACES`.
        start_ms: time of the clip's start in `faces`.
        scale: see `FaceBlurrer`.
    """
    covered = faces.to_pylist()
    seen = covers = 0
    over: list[Leak] = []
    elsewhere: list[Leak] = []
    with ClipReader(file) as reader:
        for index, frame in enumerate(reader.frames(0, WHOLE_CLIP_MS)):
            if index % every:
                continue
            here = [f for f in covered if abs(f["frame_ms"] - start_ms - frame.time_ms) <= SAME_FRAME_MS]
            seen, covers = seen + 1, covers + len(here)
            for leak in find_leaks([(frame.time_ms, reader.rgb(frame))], detector, every=1):
                (over if any(_in_cover(leak, face, scale) for face in here) else elsewhere).append(leak)
    return ClipLeaks(seen, covers, over, elsewhere)


def _in_cover(leak: Leak, face: Mapping[str, float], scale: float) -> bool:
    x, y, w, h = leak.box
    across = abs(x + w / 2 - face["x"] - face["w"] / 2) / face["w"]
    down = abs(y + h / 2 - face["y"] - face["h"] / 2) / face["h"]
    return max(across, down) <= scale - 0.5
