"""What a worker process is asked to cut of one video, and what it says of each clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.clip_plan import ClipToCut
from curation_resources.faults import Fault
from curation_resources.media import MediaRef
from curation_resources.storage import Storage


@dataclass(frozen=True)
class VideoCuts:
    """The clips of one video, in a form that goes to a worker process.

    Attributes:
        storage, media: where the video lies.
        cuts: its clips.
        params: options.
        folder: a local folder that receives a file for each clip.
    """

    storage: Storage
    media: MediaRef
    cuts: tuple[ClipToCut, ...]
    params: ClipExport
    folder: str


@dataclass(frozen=True)
class CutClip:
    """What came of a cut: a local file and its facts, or an error.

    Attributes:
        key: sample key.
        error: why there is no file; None if there is one.
        path: the local mp4 file.
        start_ms, end_ms: its actual span in the source.
        frames, fps: its pictures, and how many a second.
        width, height: of a picture, in pixels.
        blurred_faces, blurred_plates: what was covered, one a frame that it is seen in; None if none were looked for.
        covered: face or plate -> where it was covered, schema `FACES` of `tracks/face_tables.py`.
        uneven: whether the error is that its pictures do not come at a constant rate, or that its copied sound did not arrive.
        fault: set if the error is no property of the clip.
        cut: how it was made: `exact`, `smart` or `copy`.
        encoded_frames: pictures that were encoded; the others are those of the source.
        encoder: what encoded them; None where there are none.
        encoded_because: why `cut: smart` encoded all of them; None if it did not.
        sound: the local file with its sound, if that lies beside; None if it does not, or there is none.
    """

    key: str
    error: str | None = None
    path: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    blurred_faces: int | None = None
    blurred_plates: int | None = None
    covered: Mapping[str, pa.Table] = field(default_factory=dict)
    uneven: bool = False
    fault: Fault | None = None
    cut: str | None = None
    encoded_frames: int | None = None
    encoder: str | None = None
    encoded_because: str | None = None
    sound: str | None = None
