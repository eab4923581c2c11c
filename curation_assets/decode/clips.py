"""Table clips: the spans of each video that are clips, and the boundaries that were proposed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation_assets.contracts.choices import OneOf
from curation_assets.contracts.component import Component, RecipeKey
from curation_assets.contracts.costs import Figure, measured
from curation_assets.contracts.open_section import OpenSection
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import (
    BOOL,
    CLIP_KEYS,
    DOUBLE,
    ERROR,
    FLOAT,
    INT32,
    INT64,
    STRING,
    Column,
    TableSchema,
)
from curation_assets.contracts.telling import Counted, summed
from curation_assets.decode.clip_history import told_clips
from curation_assets.showing.figures import histograms, markdown_table
from curation_resources.extras import require

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe


SHOT = pa.struct([("start_frame", INT64), ("end_frame", INT64)])

CUT = pa.struct([("frame", INT64), ("time_ms", INT64), ("score", FLOAT), ("kind", STRING), ("accepted", BOOL)])


OF_DETECTORS = frozenset(
    {
        "detector", "threshold", "min_scene_frames", "min_content_val", "window", "weights", "kernel_size", "short_scenes", "hash_size",
        "hash_lowpass", "histogram_bins", "fade_threshold", "fade_method", "fade_bias", "fade_min_frames", "fade_at_end",
    }
)  # fmt: skip
"""Keys that only detectors look at."""


class Stitch(Section):
    """When shots are one event that was cut too often, by the CLIP model of `embeddings`. The defaults are Panda-70M's, which it has with ImageBind: with
    another model they mean something else."""

    distance: float = Field(
        0.6,
        ge=0,
        le=2,
        description="Largest Euclidean distance of the embeddings, of length 1, of a shot's last picture and the next one's first at which they are one event.",
    )
    transition: float = Field(
        1.0,
        ge=0,
        le=2,
        description="Largest distance of a shot's own first and last picture; one beyond has a transition in it and joins nothing.",
    )


class Clips(OpenSection):
    """How videos become clips."""

    later: ClassVar[frozenset[str]] = OpenSection.later | {"cuts", "shots", "stitch"}

    from_: Literal["detect", "given", "both", "whole", "fixed", "subtitles"] = Field(
        "detect",
        alias="from",
        description="detect: shots; given: the source's spans; both: given spans cut at detected boundaries; whole: the video, however long; "
        "fixed: a stride; subtitles: one per cue.",
    )
    cuts: bool = Field(
        False,
        description="For `whole`: whether the detector looks for shots all the same. The video stays one clip, and column `shots` names them.",
    )
    shots: int = Field(
        1,
        ge=1,
        description="For `detect`: how many neighbouring shots may be one clip, from the video's start on as far as `max_s` reaches. Above 1, column `shots` names the"
        " shots of every clip.",
    )
    stitch: Stitch | None = Field(
        None,
        description="For `detect`: joins shots of one event that the detector cut apart; column `shots` names the parts. `shots`, where it is above 1, is how many at most.",
    )
    detector: Annotated[
        str,
        OneOf(
            "shot_detectors",
            (
                "cascade",
                "transnetv2",
                "content",
                "adaptive",
                "threshold",
                "hash",
                "histogram",
                "content+threshold",
                "adaptive+threshold",
            ),
        ),
    ] = Field("cascade", description="Shot detector.")
    threshold: float | None = Field(
        None,
        description="The detector's threshold; null is its default (content 27, adaptive 3, threshold 12, hash 0.35, histogram 0.2, transnetv2 and cascade 0.5).",
    )
    min_scene_frames: int = Field(
        15,
        ge=1,
        description="Shortest scene that PySceneDetect's detectors look for, frames; cascade and transnetv2 find scenes of any length.",
    )
    min_content_val: float = Field(15.0, ge=0, description="For `adaptive`: smallest content value of a cut.")
    window: int = Field(2, ge=1, description="For `adaptive`: frames on each side.")
    weights: tuple[float, float, float, float] = Field(
        (1.0, 1.0, 1.0, 0.0),
        description="For `content` and `adaptive`: shares of hue, saturation, luma and edges in the content value; `[0, 0, 1, 0]` is luma alone.",
    )
    kernel_size: int | None = Field(
        None,
        ge=3,
        description="For edges: size of the square by which they are widened, odd, pixels; null goes by the picture's.",
    )
    short_scenes: Literal["merge", "suppress"] = Field(
        "merge",
        description="For `content`: of cuts closer than `min_scene_frames`, keep the last of each run (merge), or the first (suppress).",
    )
    hash_size: int = Field(
        8, ge=2, le=256, description="For `hash`: side of the square of frequencies that is compared."
    )
    hash_lowpass: int = Field(
        2, ge=1, le=256, description="For `hash`: 2 keeps the lower half of the frequencies, 4 a quarter."
    )
    histogram_bins: int = Field(128, ge=1, le=256, description="For `histogram`: bins of the luma.")
    fade_threshold: float = Field(
        12.0, ge=0, le=255, description="For `...+threshold`: mean luma below which a fade is out."
    )
    fade_method: Literal["floor", "ceiling"] = Field(
        "floor", description="For fades: floor: to dark, below the threshold; ceiling: to bright, from it on."
    )
    fade_bias: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="For fades: where the boundary lies, from the fade out (-1) by the middle (0) to the fade in (1).",
    )
    fade_min_frames: int = Field(0, ge=0, description="For fades: shortest time below the threshold, frames.")
    fade_at_end: bool = Field(False, description="For fades: whether one at the video's end begins a scene of its own.")
    min_s: float = Field(2.0, ge=0, description="Shortest clip, seconds.")
    max_s: float = Field(60.0, gt=0, description="Longest clip, seconds.")
    longer: Literal["split", "first", "drop"] = Field("split", description="What becomes of longer scenes.")
    trim_start_s: float = Field(0.0, ge=0, description="Taken off the start of each detected scene.")
    trim_end_s: float = Field(0.0, ge=0, description="Taken off the end of each detected scene.")
    transitions: Literal["keep", "trim"] = Field(
        "keep",
        description="Frames of a dissolve or fade: keep them, half at either side of the boundary, or leave them out of both scenes.",
    )
    stride_s: float | None = Field(None, gt=0, description="For `fixed`: distance of starts; default `max_s`.")
    interlaced: Literal["deinterlace", "keep"] = Field(
        "deinterlace",
        description="Pictures stored as two fields: deinterlace for samples and scores (bwdif), or keep them with their combs. Exports: `export.clips.interlaced`.",
    )
    mode: Literal["fast", "exact"] = Field(
        "fast",
        description="fast: the levers of docs/explanation/decode.md, shown not to move a boundary; exact: every frame, as PySceneDetect sees it.",
    )

    @property
    def detects(self) -> bool:
        """Whether a detector looks at the videos."""
        return self.from_ in ("detect", "both") or self.cuts

    @property
    def has_several_shots(self) -> bool:
        """Whether a clip may be of several shots because the recipe wants it so."""
        return self.shots > 1 or self.cuts or self.stitch is not None

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if self.min_s > self.max_s:
            yield f"min_s ({self.min_s:g}) must not exceed max_s ({self.max_s:g})"
        if self.cuts and self.from_ != "whole":
            yield f"`cuts` is for `from: whole`; of `from: {self.from_}` leave it out"
        if self.stitch is not None and self.from_ != "detect":
            yield f"`stitch` is for `from: detect`; of `from: {self.from_}` leave it out"
        if self.shots > 1 and self.from_ != "detect":
            yield f"`shots` is for `from: detect`; of `from: {self.from_}` leave it out"
        idle = sorted(OF_DETECTORS & self.model_fields_set)
        if idle and not self.detects:
            further = "; with `cuts: true` it does, and the video stays one clip" if self.from_ == "whole" else ""
            yield f"`from: {self.from_}` looks for no shots, so leave out {', '.join(idle)}{further}"
        if self.kernel_size is not None and not self.kernel_size % 2:
            yield f"kernel_size must be odd, not {self.kernel_size}"


TABLE = TableSchema(
    "clips",
    "a clip of a video, or a video or span that gave none and why",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column(
            "status",
            STRING,
            "ok; rejected where no clip is to be made of a video or span, failed where the video cannot be decoded, each with `error`: such a row is no clip.",
            nullable=False,
            allowed=("ok", "rejected", "failed"),
        ),
        ERROR,
        Column("start_ms", INT64, "Presentation time of the first frame.", minimum=0),
        Column("end_ms", INT64, "Presentation time at which the last frame ends.", minimum=0),
        Column("start_frame", INT64, "First frame, index in display order within the video.", minimum=0),
        Column("end_frame", INT64, "One past the last frame.", minimum=0),
        Column("requested_start_ms", INT64, "Start that was asked for or detected, before trimming and snapping."),
        Column("requested_end_ms", INT64, "End that was asked for or detected, before trimming and snapping."),
        Column("fps", DOUBLE, "Average frame rate within the clip.", minimum=0),
        Column("width", INT32, "Displayed width in pixels: rotation and sample aspect applied.", minimum=1),
        Column("height", INT32, "Displayed height in pixels.", minimum=1),
        Column(
            "origin",
            STRING,
            "How the span was found.",
            allowed=("detected", "given", "whole", "split", "fixed", "subtitles", "joined"),
        ),
        Column("detector", STRING, "Shot detector and its parameters; null if none ran.", volatile=True),
        Column("source_clip_id", STRING, "Clip id given by the source, if the span was."),
        Column(
            "source_span",
            INT64,
            "Which of the video's `video_metadata.spans` the clip lies in, counted from 0; null for clips that the source did not ask for.",
            volatile=True,
            minimum=0,
        ),
        Column("text", STRING, "For spans made from subtitles, the cue's text."),
        Column(
            "cut_list",
            pa.list_(CUT),
            "On the first row of a video: every proposed boundary of the whole video with its score.",
            volatile=True,
        ),
        Column(
            "shots",
            pa.list_(SHOT),
            "Of whole videos whose `cuts` were asked for, and of clips where `clips.shots` or `clips.stitch` asks for it: the shots, each from its first frame to one past its"
            " last, as frames of the video; null elsewhere.",
            later=("",),
        ),
        Column("hdr", BOOL, "Whether the transfer function is PQ or HLG."),
        Column(
            "mirrored", BOOL, "Whether the file has pictures shown as their mirror image, as some front cameras do."
        ),
        Column(
            "interlaced",
            BOOL,
            "Whether pictures are stored as two fields of different times; deinterlaced unless `clips.interlaced` says keep.",
        ),
        Column(
            "frames_lost",
            INT64,
            "Frames that cannot be decoded or are gone from the file, as far as it shows: packets without a frame, and gaps in a steady rate.",
            minimum=0,
        ),
        Column("longest_gap_ms", INT64, "Longest time for which one picture of the clip is shown.", minimum=0),
        Column(
            "size_changes",
            INT32,
            "How often the displayed size changes within the clip; later pictures are scaled to the first one's size.",
            minimum=0,
        ),
    ),
)


def recounted(table: pa.Table) -> Mapping[str, Any]:
    """The numbers kept with the table that follow from its rows."""
    clips = table.filter(pc.equal(table["status"], "ok"))
    hours = (pc.sum(pc.subtract(clips["end_ms"], clips["start_ms"])).as_py() or 0) / 1000 / 3600
    return {"clips": clips.num_rows, "hours": round(hours, 4)}


SHOWN = 20
"""Videos without clips that an event lists."""


def _shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    clips = table.filter(pc.equal(table["status"], "ok"))
    lengths = pc.divide(pc.subtract(clips["end_ms"], clips["start_ms"]).cast(pa.float64()), 1000.0)
    stats = recounted(table)
    metadata: dict[str, Any] = {"length_s": histograms(pa.table({"length_s": lengths}), ["length_s"])}
    errors = table.filter(pc.not_equal(table["status"], "ok"))
    if errors.num_rows:
        rows = errors.slice(0, SHOWN).select(["video_id", "status", "error"]).to_pylist()
        metadata["not_ok"] = markdown_table(("video", "status", "error"), [tuple(row.values()) for row in rows])
    return stats, metadata


DECODED = "14"
"""Code version of which clips and pictures there are."""


def _installed(recipe: Recipe) -> None:
    from curation_assets.decode.shots import check_installed

    check_installed(recipe.clips)
    if recipe.clips.stitch is not None:
        require("stitching", "torch", "torchvision", "open_clip")


def subtitle_languages(recipe: Recipe) -> list[str]:
    """Languages of the subtitles that clips are cut by, best first: those of captions, so that a clip is cut by the words that it is captioned with. None where
    clips come from elsewhere, or captions prefer none."""
    return list(recipe.captions.languages) if recipe.clips.from_ == "subtitles" else []


def clip_params(recipe: Recipe) -> dict[str, Any]:
    """What clips depend on, and with them all that comes from the same decode; languages only where they decide something."""
    languages = subtitle_languages(recipe)
    return {"clips": recipe.clips.model_dump(by_alias=True), **({"languages": languages} if languages else {})}


def clip_weights(recipe: Recipe) -> dict[str, str]:
    """Identities of what decides which clips there are besides parameters, of all that the one decode makes."""
    found = dict(recipe.clips.brought_identity())
    if recipe.clips.stitch is not None:
        from curation_resources.clip_weights import clip_identity

        found["stitching"] = clip_identity(recipe.embeddings.model, recipe.embeddings.pretrained)
    return found


COMPONENT = Component(
    TABLE,
    "decode",
    "Videos cut at shot boundaries, or as the recipe says. From the one decode of each video.",
    keys=(RecipeKey("clips", Clips),),
    code_version=DECODED,
    params=clip_params,
    inputs=("raw_shards", "video_metadata"),
    weights=clip_weights,
    complete="raw_shards",
    shown=_shown,
    installed=_installed,
    told=told_clips,
    counted=Counted("clips", "clips", "hours", length=("end_ms", "start_ms")),
    summary=(summed("clips", "clips"),),
    recounted=recounted,
    figure=measured(Figure("hour", (111.0, 144.0), where="explanation/decode.md, reference/estimates.md")),
)
