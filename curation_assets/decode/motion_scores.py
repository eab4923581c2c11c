"""Table motion_scores: how much moves in each clip, and whether it is the camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import Field

from curation_assets.contracts.component import Component, RecipeKey
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, FLOAT, STRING, Column, TableSchema, share
from curation_assets.decode.clips import clip_params, clip_weights
from curation_assets.showing.figures import histograms

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


class Motion(Section):
    """How motion is estimated."""

    estimator: Literal["blocks", "codec"] = Field(
        "blocks", description="blocks: matching on the analysis picture; codec: the stream's motion vectors."
    )
    fps: float = Field(4.0, gt=0, le=60, description="Steps per second.")


TABLE = TableSchema(
    "motion_scores",
    "a clip's motion",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("motion", FLOAT, "Mean motion magnitude, frame diagonals per second.", minimum=0),
        Column(
            "motion_p90",
            FLOAT,
            "90th percentile over time of the motion magnitude, frame diagonals per second.",
            minimum=0,
        ),
        share("still_fraction", "Share of the sampled steps without motion."),
        Column("camera_motion", FLOAT, "Part of `motion` that one global shift and zoom explains.", minimum=0),
        Column("object_motion", FLOAT, "Part of `motion` that is left.", minimum=0),
        Column("estimator", STRING, "Estimator and its sampling.", nullable=False),
    ),
)


MOTION_COLUMNS = ("motion", "motion_p90", "still_fraction", "camera_motion", "object_motion")


def _shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return {}, {"distributions": histograms(table, MOTION_COLUMNS)}


COMPONENT = Component(
    TABLE,
    "decode",
    "How much moves in each clip, and whether it is the camera. From the one decode of each video.",
    keys=(RecipeKey("motion", Motion),),
    curated=MOTION_COLUMNS,
    charted=("motion",),
    code_version="4",
    params=lambda r: {**clip_params(r), "motion_scores": r.motion.model_dump()},
    inputs=("raw_shards", "video_metadata"),
    weights=clip_weights,
    complete="clips",
    shown=_shown,
)
