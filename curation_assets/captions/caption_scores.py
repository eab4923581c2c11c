"""Table caption_scores: how well each caption fits the pictures of its clip."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.checks import Check, Finding
from curation_assets.contracts.component import Component, Made, Stage, if_named
from curation_assets.contracts.tables import BOOL, CLIP_KEYS, FLOAT, STRING, Column, TableSchema
from curation_assets.scores.frame_embeddings import clip_model
from curation_assets.showing.clips import pictured_table
from curation_assets.showing.figures import histograms
from curation_resources.storage import Storage

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


TABLE = TableSchema(
    "caption_scores",
    "a clip's match between caption and frames",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("match", FLOAT, "100 x cosine of caption and frame, maximum over frames.", minimum=-100, maximum=100),
        Column("match_mean", FLOAT, "The same, mean over frames.", minimum=-100, maximum=100),
        Column("truncated", BOOL, "Whether the caption is longer than the text tower reads."),
        Column("model", STRING, "Model of the embeddings.", nullable=False),
    ),
)


def _match(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.captions.caption_match import caption_match
    from curation_assets.scores.embedding import load_text_encoder

    captions = shard.table("captions")
    encoder = shard.model(load_text_encoder, shard.recipe.embeddings)
    table, gap = caption_match(captions, shard.table("frame_embeddings"), encoder)
    metadata: dict[str, Any] = {"distributions": histograms(table, ("match", "match_mean"))}
    worst = (
        table.filter(pc.is_valid(table["match"])).sort_by("match").slice(0, 10).select(["clip_id", "match"]).to_pylist()
    )
    said = dict(zip(captions["clip_id"].to_pylist(), captions["caption"].to_pylist(), strict=True))
    metadata["worst"] = pictured_table(
        shard.storage,
        shard.table("frames"),
        ("clip", "match", "caption"),
        [(r["clip_id"], f"{r['match']:.1f}", said.get(r["clip_id"])) for r in worst],
    )
    stats: dict[str, Any] = {}
    if gap is not None:
        stats = {
            "gap_clips": gap.clips,
            "matched": round(gap.matched, 3),
            "shuffled": round(gap.shuffled, 3),
            "auc": round(gap.auc, 4),
            "apart": gap.apart,
            "block": shard.recipe.captions.misaligned == "block",
        }
    return {"caption_scores": Made(table, stats, metadata)}


def _apart(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    if "apart" not in stats:
        return Finding("alignment", True, "too few captioned videos to compare with shuffled captions", False)
    numbers = {k: stats[k] for k in ("gap_clips", "matched", "shuffled", "auc")}
    said = f"own captions match {stats['matched']:.1f}, those of other videos {stats['shuffled']:.1f}"
    return Finding("alignment", bool(stats["apart"]), said, bool(stats.get("block")), numbers)


COMPONENT = Component(
    TABLE,
    "captions",
    "How well each caption fits the pictures of its clip.",
    asked_by=if_named("captions", "embeddings"),
    params=lambda r: {"misaligned": r.captions.misaligned},
    inputs=("captions", "frames", "frame_embeddings"),
    weights=clip_model,
    complete="captions",
    curated=("match",),
    charted=("match",),
    checks=(Check("alignment", "Captions match their own clips better than those of other videos.", True, _apart, ()),),
)

STAGE = Stage("caption_scores", (COMPONENT,), _match)
