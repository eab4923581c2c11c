"""Table tracks: objects followed through clips."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation_assets.contracts.choices import OneOf
from curation_assets.contracts.component import Component, Lines, Made, RecipeKey, Row, Stage, if_named
from curation_assets.contracts.open_section import OpenSection
from curation_assets.contracts.sections import GrownSection, Rules
from curation_assets.contracts.tables import (
    BOOL,
    CLIP_ID,
    DATASET,
    FLOAT,
    INT32,
    INT64,
    STRING,
    VIDEO_ID,
    Column,
    TableSchema,
    identifier,
)
from curation_assets.decode.video_bytes import the_bytes
from curation_assets.engine.pods import GPU
from curation_assets.scores.prefilter import passing_clips
from curation_assets.showing.figures import counts, histograms, markdown_table
from curation_assets.showing.sheets import contact_sheet
from curation_assets.showing.text import as_text
from curation_assets.tracks.costs import tracking
from curation_resources.devices import computes_on_gpu
from curation_resources.extras import require
from curation_resources.journal import Journal
from curation_resources.words import plural

if TYPE_CHECKING:
    from curation_assets.engine.kept_answers import KeptAnswers
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe
    from curation_assets.tracks.following import TrackInputs


class OnnxLayout(GrownSection):
    """What the tensors of an ONNX detector mean."""

    later: ClassVar[frozenset[str]] = frozenset({"mean", "anchor"})

    layout: Literal["fastestdet", "yolov5", "yolov8", "end2end", "retinaface"] = Field(
        "yolov8",
        description="Output layout; end2end: rows of batch, x1, y1, x2, y2, class, score; retinaface: offsets and scores of its priors.",
    )
    size: int = Field(640, ge=32, le=4096, description="Side of the square input, pixels.")
    scale: float = Field(1 / 255, gt=0, description="Factor on pixel values.")
    bgr: bool = Field(False, description="Whether channels are blue, green, red.")
    letterbox: bool = Field(True, description="Whether the aspect ratio is kept by padding.")
    mean: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="What is taken from the three channels before `scale`, in their order."
    )
    anchor: float = Field(16.0, gt=0, description="For retinaface: side of the smallest prior, pixels.")


class Tracks(OpenSection):
    """How objects are detected and tracked."""

    later: ClassVar[frozenset[str]] = OpenSection.later | {"decoder"}

    detector: Annotated[
        str,
        OneOf(
            "object_detectors",
            (
                "faces",
                "owlv2",
                "grounding-dino",
                "onnx",
            ),
        ),
    ] = Field("faces", description="Detector.")
    model: str | None = Field(None, description="Hub id, `@revision` to hold on to one, or path of the detector.")
    onnx: OnnxLayout = Field(default_factory=lambda: OnnxLayout())
    vocabulary: str = Field(
        "faces", description="lvis, coco, faces, or path of a file with a name per line or LVIS JSON."
    )
    prompt: str | None = Field(
        None,
        description="Prompt template with {name} of text detectors; null is 'a photo of a {name}' for owlv2, '{name}' for grounding-dino.",
    )
    fps: float = Field(8.0, gt=0, le=60, description="Frames per second that are looked at.")
    confidence: float = Field(0.2, ge=0, le=1, description="Least score of a detection.")
    nms: float = Field(
        0.5, ge=0, le=1, description="IoU above which the weaker of two detections is dropped, whatever their classes."
    )
    tracker: Literal["botsort", "bytetrack", "ocsort"] | None = Field(
        None,
        description="How boxes are joined: BoT-SORT without camera motion, ByteTrack, or OC-SORT, which leaves weak boxes out and confuses least; null is botsort, or bytetrack with `appearance`.",
    )
    high: float = Field(0.6, ge=0, le=1, description="Least score of a strong box; strong ones are matched first.")
    begin: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Least score that begins a track; null is `high` + 0.1, as ByteTrack's authors have it.",
    )
    low: float = Field(0.1, ge=0, le=1, description="Least score that prolongs a track.")
    match: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Least similarity of a match: IoU times the overlap of the heights, and for botsort times the score, by default 0.15 for botsort, else 0.1; with `appearance` the weighted mean of IoU and cosine, by default 0.55.",
    )
    buffer_s: float = Field(1.0, ge=0, description="How long a lost track is looked for.")
    join_s: float = Field(
        3.0,
        ge=0,
        description="Longest time between two tracks of a clip that are joined because each, carried on as it moved, meets the other; 0 joins none.",
    )
    fill_gaps_s: float = Field(
        0.0,
        ge=0,
        description="Longest gap of a lost and found track that is filled with boxes on a straight line; 0 fills none.",
    )
    appearance: bool = Field(False, description="TrackVerse's appearance term: motion weight 0.4.")
    motion_weight: float = Field(
        0.4, ge=0, le=1, description="Share of IoU in the similarity; the rest is the cosine of appearance."
    )
    feature_momentum: float = Field(
        0.9, ge=0, le=1, description="Share of a track's earlier appearance when it sees a new box."
    )
    min_area: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Least mean area, share of the frame, of a track that is `large_enough`; smaller ones are kept too.",
    )
    min_length_s: float = Field(0.0, ge=0, description="Least length of a track that is `large_enough`, seconds.")
    blur_faces: bool = Field(
        False,
        description="Whether faces are covered before objects are looked for, so that no detector or appearance sees them.",
    )
    decoder: Literal["pyav", "torchcodec", "nvdec"] = Field(
        "pyav",
        description="What decodes the frames: pyav; torchcodec, with the system's FFmpeg; nvdec, by torchcodec on a GPU. The same frames at the same times, from 8 bits the same pixels on the CPU.",
    )
    batch: int = Field(8, ge=1, le=256, description="Frames per forward pass of the detector.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    where: Rules = Field(default=["keep"], description="Rules that a clip must pass to be tracked.")

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if self.detector in ("owlv2", "grounding-dino", "onnx") and not self.model:
            yield f"detector {self.detector} needs `model`"
        if self.detector == "faces" and self.blur_faces:
            yield "`blur_faces` would hide what the detector faces looks for"
        if self.appearance and self.tracker not in (None, "bytetrack"):
            yield f"`appearance` needs `tracker: bytetrack`, not {self.tracker}"
        if self.prompt is not None and "{name}" not in self.prompt:
            yield "`prompt` must contain {name}"
        if self.low > self.high:
            yield f"`low` ({self.low}) must not exceed `high` ({self.high})"


TABLE = TableSchema(
    "tracks",
    "an object track",
    ("video_id", "clip_id", "track_id"),
    (
        DATASET,
        VIDEO_ID,
        CLIP_ID,
        identifier("track_id", "`<clip_id>_<number>`, numbered from 0000 in order of appearance."),
        Column("label", STRING, "Best class over the track."),
        Column("score", FLOAT, "Its mean score.", minimum=0, maximum=1),
        Column("top_labels", pa.list_(STRING), "The ten best classes."),
        Column("top_scores", pa.list_(FLOAT), "Their mean scores."),
        Column("top_scores_std", pa.list_(FLOAT), "Standard deviation of their scores over the boxes."),
        Column(
            "top_scores_weighted",
            pa.list_(FLOAT),
            "Their mean scores weighted by objectness, by which they are ordered; null if the detector has no objectness.",
        ),
        Column("top_scores_weighted_std", pa.list_(FLOAT), "Standard deviation of their weighted scores."),
        Column("start_ms", INT64, "Presentation time of the first box.", minimum=0),
        Column("end_ms", INT64, "Presentation time of the last box.", minimum=0),
        Column("frame_ms", pa.list_(INT64), "Presentation time of each box."),
        Column("boxes", pa.list_(pa.list_(FLOAT)), "x, y, w, h in displayed pixels, one per time."),
        Column("box_scores", pa.list_(FLOAT), "Detection score of each box; null for a box filled into a gap."),
        Column("box_labels", pa.list_(STRING), "Best class of each box; null for a box filled into a gap."),
        Column("box_label_scores", pa.list_(FLOAT), "Score of that class; null for a box filled into a gap."),
        Column(
            "objectness",
            pa.list_(FLOAT),
            "Objectness of each box; null without, or if the detector has no objectness.",
        ),
        Column("length_s", FLOAT, "Time from the first box to the last, seconds.", minimum=0),
        Column("area", FLOAT, "Mean box area, share of the frame.", minimum=0),
        Column(
            "large_enough",
            BOOL,
            "Whether `area` and `length_s` reach the recipe's tracks.min_area and tracks.min_length_s; subsets decide.",
        ),
        Column("motion", FLOAT, "Mean speed of the box centre, frame diagonals per second.", minimum=0),
        Column(
            "embedding",
            pa.list_(pa.float16()),
            "Mean normalised appearance feature; null if the detector has none.",
        ),
        Column("width", INT32, "Displayed width of the frame in pixels.", minimum=1),
        Column("height", INT32, "Displayed height of the frame in pixels.", minimum=1),
        Column("detector", STRING, "Detector, vocabulary and tracker.", nullable=False),
    ),
)


NO_PARAMS = {"batch", "device", "model", "vocabulary"}
"""Keys of the section that are no parameters of the table: they change how fast tracking is, or name files that count by content."""


AHEAD_SHARDS = 2
"""Shards whose frames may be on their way to a GPU while tables of those before are written."""

READS = {"raw_shards": the_bytes}
"""What of its inputs tracking reads."""


def _track(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.tracks.following import track_shard
    from curation_assets.tracks.object_detector import open_detector
    from curation_assets.tracks.shard_search import TrackingLine

    params = shard.recipe.tracks
    detector = shard.model(open_detector, params)

    def open_line(params: Tracks) -> TrackingLine:
        return TrackingLine(params, shard.storage, detector, shard.workers)

    def to_look_at(inputs: TrackInputs, journal: Journal) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
        return [c for c in inputs.wanted() if c["clip_id"] not in journal.items], inputs.videos()

    known, inputs = _to_track(shard)
    line: TrackingLine = shard.model(open_line, params)
    with _journal(shard) as journal:
        if line.asynchronous:
            if not line.begun(shard.key):
                line.ahead(shard.key, *to_look_at(inputs, journal))
            for key in shard.coming.keys(AHEAD_SHARDS):
                if not line.begun(key):
                    later = shard.coming.look(key, lambda s: to_look_at(_to_track(s)[1], _journal(s)))
                    if later is not None:
                        line.ahead(key, *later)
        table, stats = track_shard(
            inputs,
            params,
            shard.storage,
            detector,
            workers=shard.workers,
            journal=journal,
            line=line,
        )
    table = known.joined(table, faulty=stats.faults, failed=stats.failed)
    numbers = {
        "clips_looked_at": stats.looked_at,
        "clips_kept": known.reused,
        "clips_skipped": stats.skipped,
        "clips_failed": len(stats.failed),
        "boxes": stats.boxes,
        "frames_per_s": round(stats.frames_per_second, 1),
        "detections_per_s": round(stats.detections_per_second, 1),
    }
    metadata = {"failed": markdown_table(("clip", "reason"), list(stats.failed.items())[:20])} if stats.failed else {}
    return {"tracks": Made(table, numbers, metadata, stats.faults)}


def _journal(shard: Shard) -> Journal:
    from curation_assets.engine.making import expected

    return Journal(shard.storage, shard.folder("tracks"), expected(COMPONENT, shard).fingerprint)


def _to_track(shard: Shard) -> tuple[KeptAnswers, TrackInputs]:
    """What is known of a shard's clips, and what the tracks of the others are made from."""
    from curation_assets.engine.kept_answers import KeptAnswers
    from curation_assets.tracks.following import TrackInputs

    where = shard.recipe.tracks.where
    known = KeptAnswers(shard, COMPONENT, shard.table("clips"), passing_clips(shard, where), READS)
    keep = set(known.to_ask["clip_id"].drop_null().to_pylist())
    return known, TrackInputs(shard.table("clips"), shard.table("raw_shards"), keep, shard.key)


def _shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    from curation_assets.tracks.drawn_tracks import drawn_clips

    seconds = pc.divide(pc.subtract(table["end_ms"], table["start_ms"]).cast(pa.float64()), 1000.0)
    metadata: dict[str, Any] = {
        "labels": counts(table, "label"),
        "distributions": histograms(
            pa.table({"seconds": seconds, "area": table["area"], "score": table["score"]}), ("seconds", "area", "score")
        ),
    }
    sheet = contact_sheet(drawn_clips(table, shard.table("raw_shards"), shard.storage), columns=3, width=240)
    if sheet is not None:
        metadata["drawn"] = sheet
    return {"tracks": table.num_rows}, metadata


def _installed(recipe: Recipe) -> None:
    require("following objects", "supervision", "trackers")
    if recipe.tracks.decoder != "pyav":
        require(f"decoder {recipe.tracks.decoder}", "torchcodec")


def _weights(recipe: Recipe) -> dict[str, str]:
    _installed(recipe)
    from curation_assets.tracks.object_detector import detector_identity

    return {"detector": detector_identity(recipe.tracks)}


def _explained(rows: Sequence[Row]) -> Lines:
    ordered = sorted(rows, key=lambda r: (r["start_ms"] is None, r["start_ms"] or 0, r["track_id"]))
    return [
        (
            r["track_id"],
            f"{r['label']} {as_text(r['score'])}, {r['start_ms']} to {r['end_ms']} ms, {plural(len(r['boxes'] or []), 'box', 'boxes')}",
        )
        for r in ordered
    ]


COMPONENT = Component(
    TABLE,
    "tracks",
    "Objects followed through clips, with their boxes.",
    code_version="5",
    keys=(RecipeKey("tracks", Tracks),),
    asked_by=if_named("tracks"),
    params=lambda r: r.tracks.model_dump(exclude=NO_PARAMS),
    inputs=("clips", "raw_shards"),
    prefilter="tracks",
    weights=_weights,
    installed=_installed,
    journal=True,
    explained=_explained,
    shown=_shown,
    figure=tracking,
)

STAGE = Stage(
    "tracks",
    (COMPONENT,),
    _track,
    kinds=frozenset({"onnx"}),
    gpus=lambda r: computes_on_gpu(r.tracks.device, onnx=r.tracks.detector in ("faces", "onnx")),
    pool="gpu",
    op_tags=GPU,
    by_video=True,
    reads=READS,
)
