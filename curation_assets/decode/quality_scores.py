"""Table quality_scores: sharpness, exposure, colour, borders, blank or frozen pictures of each clip."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from curation_assets.contracts.component import Component, RecipeKey
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, FLOAT, INT32, RECT, STRING, Column, TableSchema, share
from curation_assets.decode.clips import clip_params, clip_weights
from curation_assets.showing.figures import histograms

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


class Quality(Section):
    """How picture quality is measured."""

    fps: float = Field(2.0, gt=0, le=60, description="Samples per second.")


TABLE = TableSchema(
    "quality_scores",
    "a clip's picture quality",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("sharpness", FLOAT, "Variance of the Laplacian at the analysis size, median over samples.", minimum=0),
        Column(
            "edge_blur",
            FLOAT,
            "Standard deviation of the blur of the sharpest edges, pixels of a picture whose long side is 320, median over samples; "
            "compares across videos; null without edges.",
            minimum=0,
            later=("",),
        ),
        share("brightness", "Mean luma, median over samples."),
        share("contrast", "Standard deviation of luma over half its range, median over samples."),
        Column("colorfulness", FLOAT, "Hasler and Suesstrunk's colourfulness, median over samples.", minimum=0),
        share("over_exposed", "Share of pixels at the top of the range, mean over samples."),
        share("under_exposed", "Share of pixels at the bottom of the range, mean over samples."),
        share("border", "Share of the frame that letterbox or pillarbox bars cover."),
        Column("crop", RECT, "The picture inside the bars, fractions of the frame."),
        share("blank", "Share of sampled frames that show one flat tone."),
        share("frozen", "Share of the time in which nothing changes but noise, in runs of half a second and more."),
        Column("samples", INT32, "Number of frames measured.", minimum=0),
        Column("estimator", STRING, "Estimator and its sampling.", nullable=False),
    ),
)


QUALITY_COLUMNS = (
    "sharpness",
    "edge_blur",
    "brightness",
    "contrast",
    "colorfulness",
    "over_exposed",
    "under_exposed",
    "border",
    "blank",
    "frozen",
)


def _shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return {}, {"distributions": histograms(table, QUALITY_COLUMNS)}


COMPONENT = Component(
    TABLE,
    "decode",
    "Sharpness, blur, exposure, colour, borders, blank or frozen pictures of each clip. From the one decode of each video.",
    keys=(RecipeKey("quality", Quality),),
    curated=(
        *(s for s in QUALITY_COLUMNS if s != "edge_blur"),
        Column("edge_blur", FLOAT, "quality_scores.edge_blur", taken="quality_scores.edge_blur", later=("",)),
    ),
    charted=("sharpness", "brightness", "border"),
    code_version="6",
    params=lambda r: {**clip_params(r), "quality_scores": r.quality.model_dump()},
    inputs=("raw_shards", "video_metadata"),
    weights=clip_weights,
    complete="clips",
    shown=_shown,
)
