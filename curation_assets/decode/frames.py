"""Table frames: sampled pictures of each clip, which all models look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic import Field

from curation_assets.contracts.checks import media_check
from curation_assets.contracts.component import Component, RecipeKey
from curation_assets.contracts.costs import ZERO, Figure
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, FLOAT, INT32, INT64, MEDIA, Column, TableSchema
from curation_assets.decode.clip_history import told_frames
from curation_assets.decode.clips import DECODED
from curation_assets.showing.clips import clip_sheet

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe


class Frames(Section):
    """Which frames of a clip are kept as pictures."""

    fps: float = Field(1.0, gt=0, le=60, description="Samples per second.")
    short_side: int = Field(384, ge=32, le=4320, description="Short side in pixels; pictures are never enlarged.")
    quality: int = Field(90, ge=1, le=100, description="JPEG quality.")
    min_per_clip: int = Field(3, ge=1, le=100, description="At least so many per clip, spread from 10 to 90 percent.")


TABLE = TableSchema(
    "frames",
    "a sampled frame of a clip",
    ("video_id", "clip_id", "time_ms"),
    (
        *CLIP_KEYS,
        Column("time_ms", INT64, "Presentation time in the video.", nullable=False, minimum=0),
        Column("frame", INT64, "Index of the frame in display order within the video.", nullable=False, minimum=0),
        Column("position", FLOAT, "Where in the clip the frame lies, 0 to 1.", minimum=0, maximum=1),
        *MEDIA,
        Column("width", INT32, "Width of the JPEG in pixels.", minimum=1),
        Column("height", INT32, "Height of the JPEG in pixels.", minimum=1),
    ),
)


def _shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    sheet = clip_sheet(shard.storage, table)
    return {}, {} if sheet is None else {"clips": sheet}


PIXEL_BYTES = (0.18, 0.27)
"""Of a JPEG of quality 90: ten real videos (docs/reference/estimates.md), and generated pictures with grain (docs/explanation/models.md)."""


def _figure(recipe: Recipe, _: object) -> Figure:
    """Bytes of a frame of 16 : 9; its seconds are those of the decode."""
    short = min(recipe.frames.short_side, recipe.download.height or recipe.frames.short_side)
    low, high = (b * short * short * 16 / 9 for b in PIXEL_BYTES)
    return Figure("frame", ZERO, ZERO, (low, high), "with clips, in one go; bytes: reference/estimates.md")


COMPONENT = Component(
    TABLE,
    "decode",
    "Sampled pictures of each clip, which all models look at. From the one decode of each video.",
    keys=(RecipeKey("frames", Frames),),
    checks=(media_check("clip_id"),),
    code_version=DECODED,
    params=lambda r: {"clips": r.clips.model_dump(by_alias=True), "frames": r.frames.model_dump()},
    inputs=("raw_shards", "video_metadata"),
    weights=lambda r: r.clips.brought_identity(),
    complete="clips",
    shown=_shown,
    told=told_frames,
    figure=_figure,
)
