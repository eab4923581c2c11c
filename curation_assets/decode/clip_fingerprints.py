"""Table clip_fingerprints: the perceptual hashes by which near-duplicates are found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation_assets.contracts.component import Component
from curation_assets.contracts.costs import ZERO, Figure, measured
from curation_assets.contracts.tables import BOOL, CLIP_KEYS, FLOAT, INT32, INT64, RECT, STRING, Column, TableSchema
from curation_assets.decode.clips import clip_params, clip_weights
from curation_assets.decode.measures.hashing import Hashing
from curation_assets.showing.figures import counts

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


TABLE = TableSchema(
    "clip_fingerprints",
    "a clip's perceptual hashes",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("hashes", pa.list_(pa.uint64()), "64-bit perceptual hashes of frames in time order, borders removed."),
        Column(
            "flipped_hashes", pa.list_(pa.uint64()), "The same of the mirrored frames; null unless the recipe asks."
        ),
        Column("blank", pa.list_(BOOL), "Whether each hashed frame is too flat to compare."),
        Column(
            "center_hashes",
            pa.list_(pa.uint64()),
            "Hashes of the central part of the same whole frames, where logos and captions seldom lie.",
        ),
        Column("center_blank", pa.list_(BOOL), "Whether the central part of each is too flat to compare."),
        Column("hash_ms", pa.list_(INT64), "Presentation time of each hashed frame in the video."),
        Column(
            "course",
            pa.binary(),
            "Luma of the picture inside the border in 16 x 16 cells, averaged over up to 16 equal spans of the clip, 256 bytes each.",
        ),
        Column(
            "still",
            pa.binary(),
            "The picture inside the border at 96 x 96 pixels, the median over the clip's time, as a JPEG of luma; null for clips of which none was kept.",
        ),
        Column("content_box", RECT, "The picture inside the border, fractions of the frame."),
        Column("picture_aspect", FLOAT, "Width over height of the picture inside the border.", minimum=0),
        Column(
            "window_hashes",
            pa.list_(pa.uint64()),
            "Hashes of eight windows of up to four frames, which meet crops; 0 where a window is blank or left out; null unless the recipe asks.",
        ),
        Column("window_ms", pa.list_(INT64), "Presentation time of each of those frames."),
        Column("method", STRING, "Hash method.", nullable=False),
        Column("height", INT32, "Displayed height in pixels.", minimum=1),
        Column("duration_ms", INT64, "Duration of the clip.", minimum=0),
        Column("quality", FLOAT, "Sharpness, the third key of the choice of a survivor."),
        Column("video_sha256", STRING, "SHA-256 of the source video, for exact duplicates."),
        Column("start_ms", INT64, "Start of the clip in its video.", minimum=0),
    ),
)


def _shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return {"methods": counts(table, "method")}, {}


BYTES_AN_HOUR = (2.2e6, 2.3e6)
"""Ten real videos, 16 clips in 196 s (docs/reference/estimates.md)."""
FIGURE = Figure("hour", ZERO, ZERO, BYTES_AN_HOUR, "with clips, in one go; bytes: reference/estimates.md")

COMPONENT = Component(
    TABLE,
    "decode",
    "Perceptual hashes, by which near-duplicates are found. From the one decode of each video.",
    in_rules=False,
    code_version="7",
    params=lambda r: {
        **clip_params(r),
        "clip_fingerprints": {
            **r.dedup.model_dump(include=set(Hashing.model_fields)),
            "quality": r.quality.model_dump(),
        },
    },
    inputs=("raw_shards", "video_metadata"),
    weights=clip_weights,
    complete="clips",
    shown=_shown,
    silent=True,
    figure=measured(FIGURE),
)
