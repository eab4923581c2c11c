"""Table frames: sampled pictures of each clip, which all models look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation_assets.contracts.checks import media_check
from curation_assets.contracts.component import Component, RecipeKey
from curation_assets.contracts.costs import ZERO, Figure
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import BESIDE, CLIP_KEYS, FLOAT, INT32, INT64, MEDIA, STRING, Column, TableSchema
from curation_assets.decode.clip_history import told_frames
from curation_assets.decode.clips import DECODED, clip_params, clip_weights
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
    model_input: Literal["zstd", "jpeg", "webp", "raw", "none"] = Field(
        "zstd",
        description="How the input of the recipe's CLIP model is kept beside each picture, made from the decoded frame: without loss as zstd, webp "
        "or raw, as jpeg (quality 95, 4:4:4), or none. Frames that have no input are read from their pictures.",
    )

    def compared(self) -> dict[str, Any]:
        """What tables of frames are compared by. Without inputs, with those of the default and with JPEGs, the default of before, they are taken as the
        same, since decoding again to get inputs would cost more than reading the pictures; who asks for others gets them."""
        said = self.model_dump()
        return {k: v for k, v in said.items() if k != "model_input" or v in ("webp", "raw")}


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
        Column(
            BESIDE,
            pa.list_(
                pa.struct([("fit", STRING), ("format", STRING), ("offset", INT64), ("size", INT64), ("sha256", STRING)])
            ),
            "The frame as models take it, beside the JPEG in `tar`: how it was fitted, its format, first byte counted from `offset`, bytes, SHA-256; "
            "null where none is kept.",
            later=("",),
        ),
    ),
)


def pictures(table: pa.Table) -> pa.Table:
    """What of `frames` those depend on who look at the pictures themselves, and not at the inputs of models beside them."""
    return table.drop_columns([BESIDE])


def _bytes(table: pa.Table) -> dict[str, int]:
    """Bytes of the pictures and of the inputs beside them; what two clips share counts for each."""
    kept = table.filter(pc.is_valid(table["tar"]))
    inputs = pc.struct_field(pc.list_flatten(kept[BESIDE]), "size")
    return {"bytes": (pc.sum(kept["size"]).as_py() or 0) + (pc.sum(inputs).as_py() or 0)}


def _shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    sheet = clip_sheet(shard.storage, table)
    return _bytes(table), {} if sheet is None else {"clips": sheet}


PIXEL_BYTES = (0.18, 0.27)
"""Of a JPEG of quality 90: ten real videos (docs/reference/estimates.md), and generated pictures with grain (docs/explanation/models.md)."""


INPUT_PIXELS = 224 * 224
INPUT_BYTES = {
    "zstd": (11_900.0, 65_900.0),
    "jpeg": (8_400.0, 27_100.0),
    "webp": (11_100.0, 61_600.0),
    "raw": (150_528.0, 150_528.0),
}
"""Of a model's input of so many pixels beside a frame: of 19 real videos the tenth and the ninetieth percentile; of webp by what it has of zstd's on others (docs/explanation/models.md)."""
INPUT_S = {"zstd": (0.0024, 0.0068), "jpeg": (0.0016, 0.0059), "webp": (0.0052, 0.0096), "raw": (0.0018, 0.0062)}
"""CPU seconds to make it: at 360 lines, and in the mean of those videos, a quarter of whose frames have 1,080; of webp and raw by their differences there."""


def _figure(recipe: Recipe, _: object) -> Figure:
    """Bytes of a frame of 16 : 9 and of what models take beside it; its seconds are those of the decode, but for the latter's."""
    short = min(recipe.frames.short_side, recipe.download.height or recipe.frames.short_side)
    low, high = (b * short * short * 16 / 9 for b in PIXEL_BYTES)
    inputs, untold = _inputs(recipe)
    form = recipe.frames.model_input
    if not inputs and not untold:
        return Figure("frame", ZERO, ZERO, (low, high), "with clips, in one go; bytes: reference/estimates.md")
    told = sum(h * w for h, w in inputs) / INPUT_PIXELS
    # Of a model that cannot be told here nothing may be kept, or what most take.
    most = told + untold
    said = "with clips, in one go, but for model inputs: explanation/models.md"
    seconds = INPUT_S[form][0] * told, INPUT_S[form][1] * most
    stored = INPUT_BYTES[form][0] * told, INPUT_BYTES[form][1] * most
    return Figure(
        "frame",
        seconds,
        ZERO,
        (low + stored[0], high + stored[1]),
        f"{said}; {untold} of them may not be kept" if untold else said,
        beside={"model inputs": (seconds, stored)},
    )


def _inputs(recipe: Recipe) -> tuple[list[tuple[int, int]], int]:
    """(height, width) of each input that a frame gets, and of how many models it cannot be told here."""
    from curation_assets.engine.frame_fits import frame_fits

    if recipe.frames.model_input == "none":
        return [], 0
    untold: list[str] = []
    return [fit.size for fit in frame_fits(recipe, untold.append)], len(untold)


COMPONENT = Component(
    TABLE,
    "decode",
    "Sampled pictures of each clip, which all models look at. From the one decode of each video.",
    keys=(RecipeKey("frames", Frames),),
    checks=(media_check("clip_id"),),
    code_version=DECODED,
    params=lambda r: {**clip_params(r), "frames": r.frames.compared()},
    inputs=("raw_shards", "video_metadata"),
    weights=clip_weights,
    complete="clips",
    shown=_shown,
    told=told_frames,
    recounted=_bytes,
    figure=_figure,
)
