"""Table text_scores: how much of the picture is text, and which words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from curation_assets.contracts.component import Component, Made, RecipeKey, Stage, if_named
from curation_assets.contracts.costs import Figure
from curation_assets.contracts.sections import Rules, Section
from curation_assets.contracts.tables import CLIP_KEYS, ERROR, FLOAT, INT32, INT64, STRING, Column, TableSchema, share
from curation_assets.decode.frames import pictures
from curation_assets.engine.pods import pod
from curation_assets.scores.prefilter import passing_clips, with_skipped
from curation_assets.scores.shown import ranked_scores
from curation_resources.extras import require

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe


TEXT_BOX = pa.struct(
    [
        ("time_ms", INT64),
        ("polygon", pa.list_(FLOAT)),
        ("text", STRING),
        ("confidence", FLOAT),
    ]
)


class Text(Section):
    """How burned-in text is found."""

    samples: Literal["three", "all"] = Field(
        "three", description="Frames looked at: those at 10, 50 and 90 percent, or all sampled ones."
    )
    words: bool = Field(
        True,
        description="Whether words are read, or only boxes found, which is cheaper and lets more false boxes through.",
    )
    limit: int = Field(
        736, ge=160, le=1920, description="Long side at which text is looked for, pixels; frames are never enlarged."
    )
    confidence: float = Field(
        0.5, ge=0, le=1, description="Least confidence of a text: of its words, or of its box if words are not read."
    )
    where: Rules = Field(default=[], description="Rules that a clip must pass to be looked at.")


TABLE = TableSchema(
    "text_scores",
    "a clip's visible text",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        share("text_area", "Area of the union of text polygons, share of the frame, maximum over samples."),
        share("text_area_mean", "The same, mean over samples."),
        Column(
            "text_boxes",
            pa.list_(TEXT_BOX),
            "Each line found: time, polygon in fractions of the frame, words (null if they cannot be read), confidence of the words, or of the box where there are none.",
        ),
        Column("text", STRING, "The words, each line once, in order of appearance; null if words were not asked for."),
        share(
            "overlay",
            "Share of text area that stays in place over the clip (overlay or subtitle); null where no text is found, or one frame was looked at.",
        ),
        Column("samples", INT32, "Number of frames looked at.", minimum=0),
        Column("estimator", STRING, "Detector, its size limit and sampling.", nullable=False),
        Column("cpu_ms", FLOAT, "CPU time that the clip's text cost, milliseconds.", volatile=True, minimum=0),
        ERROR,
    ),
)


READS = {"frames": pictures}
"""What of its inputs the stage depends on."""


def _text(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.engine.kept_answers import KeptAnswers
    from curation_assets.scores.text_detection import estimator, score_text

    params = shard.recipe.text
    known = KeptAnswers(shard, COMPONENT, shard.table("clips"), passing_clips(shard, params.where), READS)
    table, stats = score_text(known.to_ask, shard.table("frames"), shard.storage, params, shard.workers)
    table = known.joined(table, faulty=stats.faults)
    table = with_skipped(table, shard.table("clips"), {"estimator": estimator(params), "samples": 0})
    numbers = {
        "clips_read": stats.clips,
        "clips_kept": known.reused,
        "frames_read": stats.frames,
        "cpu_ms_per_frame": round(stats.cpu_ms_per_frame, 1),
    }
    return {"text_scores": Made(table, numbers, faults=stats.faults)}


def _shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return {}, ranked_scores(shard, table, ("text_area", "overlay"))


def _installed(recipe: Recipe) -> None:
    require("reading text", "rapidocr", "onnxruntime", "shapely")


def _text_model(recipe: Recipe) -> dict[str, str]:
    _installed(recipe)
    from curation_assets.scores.text_detection import estimator

    return {"ocr": estimator(recipe.text)}


def _figure(recipe: Recipe, _: object) -> Figure:
    """For the frames of a clip that are looked at, of 683 x 384; what `where` leaves out takes less."""
    each = (0.09, 0.25) if recipe.text.words else (0.05, 0.12)
    where = "explanation/text.md, all clips"
    if recipe.text.samples == "all":
        return Figure("frame", each, where=where)
    return Figure("clip", (each[0] * 3, each[1] * 3), where=where)


COMPONENT = Component(
    TABLE,
    "scores",
    "How much of the picture is text, and which words.",
    code_version="4",
    keys=(RecipeKey("text", Text),),
    asked_by=if_named("text"),
    params=lambda r: r.text.model_dump(),
    inputs=("clips", "frames"),
    prefilter="text",
    weights=_text_model,
    installed=_installed,
    complete="clips",
    curated=("text_area", "overlay"),
    charted=("text_area",),
    unexplained=frozenset({"text_boxes", "cpu_ms"}),
    shown=_shown,
    figure=_figure,
)

STAGE = Stage(
    "text_scores",
    (COMPONENT,),
    _text,
    kinds=frozenset({"onnx"}),
    pool="cpu",
    op_tags=pod(cpu=8, memory="12Gi"),
    by_video=True,
    reads=READS,
)
