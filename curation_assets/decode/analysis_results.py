"""What the one decode of a video is asked for, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from curation_assets.decode.clip_spans import GivenSpan, SubtitleCue
from curation_assets.decode.clips import Clips
from curation_assets.decode.frames import Frames
from curation_assets.decode.measures.hashing import Hashing
from curation_assets.decode.motion_scores import Motion
from curation_assets.decode.quality_scores import Quality
from curation_resources.faults import Fault
from curation_resources.model_input import ModelInput

if TYPE_CHECKING:
    from curation_assets.decode.stitching import StitchModel

Table = Literal["clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints"]
TABLES: tuple[Table, ...] = ("clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints")


@dataclass(frozen=True)
class AnalysisParams:
    """The sections of a recipe that the pass depends on, the pictures for models that its frames get beside their JPEGs, the model that stitches shots, and
    the languages of the subtitles that clips are cut by."""

    clips: Clips = field(default_factory=Clips)
    frames: Frames = field(default_factory=Frames)
    motion: Motion = field(default_factory=Motion)
    quality: Quality = field(default_factory=Quality)
    hashing: Hashing = field(default_factory=Hashing)
    inputs: tuple[ModelInput, ...] = ()
    stitching: StitchModel | None = None
    languages: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a video before it is decoded.

    Attributes:
        dataset, video_id: keys of its rows.
        sha256: of its bytes, if known.
        spans: given by the source.
        cues: its subtitles.
    """

    dataset: str
    video_id: str
    sha256: str | None = None
    spans: Sequence[GivenSpan] = ()
    cues: Sequence[SubtitleCue] = ()


@dataclass
class VideoStats:
    """What a video cost.

    Attributes:
        video_id: which.
        frames: shown; `decoded` of them by the first and `decoded_again` by the second decoder, `blended` by none.
        seconds: of video.
        cpu_s, wall_s: of the pass.
        network_frames: pictures that the shot network was asked about.
        fetched: sampled frames that were got by seeking.
        looked_again: frames got by seeking for clips between the points of the measuring grids.
        clips: number of clips.
        warnings: what was out of the ordinary.
    """

    video_id: str
    frames: int = 0
    decoded: int = 0
    decoded_again: int = 0
    blended: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    network_frames: int = 0
    fetched: int = 0
    looked_again: int = 0
    clips: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass
class VideoAnalysis:
    """The rows of one video.

    Attributes:
        rows: for each wanted table its rows, sorted by key. Rows of `frames` have `offset`, `size` and `sha256` of a JPEG in the spool
            file that the pass was handed, and no `tar` yet; their `inputs` count from that offset.
        stats: what it cost.
        error: why there are no clips, if the video could not be decoded.
        fault: set if that is no property of the video, so that it is to be tried again.
    """

    rows: dict[str, list[dict[str, Any]]]
    stats: VideoStats
    error: str | None = None
    fault: Fault | None = None
