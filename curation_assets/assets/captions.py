"""Group captions: what is said of each clip, and whether it fits the picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.assets.scores import GPU, passing_clips
from curation_assets.engine.component import Made, Part, Stage
from curation_assets.engine.shard import Shard
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import clip_facts
from curation_assets.showing.clips import pictured_table
from curation_assets.showing.figures import counts, histograms
from curation_resources.devices import computes_on_gpu
from curation_resources.journal import Journal

HOW = {"batch", "device", "concurrency", "timeout_s", "attempts", "price_per_mtok", "key_env", "misaligned"}
"""Parameters that change how fast or dear captioning is, or how it is judged, not what it says."""


def _caption(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.captions.captioning import caption_shard, load_captioner, load_refiner

    params = shard.recipe.captions
    scores: dict[str, dict[str, float | None]] | None = None
    if params.clean.suffixes:
        facts = clip_facts(params.clean.suffixes, shard.recipe, shard.table)
        scores = {row["clip_id"]: {s: row[s] for s in params.clean.suffixes} for row in facts.to_pylist()}
    # Answers are kept by a hash of all that was asked, so they hold whatever else changes in the recipe.
    journal = Journal(shard.storage, shard.folder("captions"), "captions 1")
    with journal:
        table, stats = caption_shard(
            shard.table("clips"),
            shard.table("frames"),
            shard.table("video_metadata"),
            shard.table("raw_shards"),
            params,
            shard.storage,
            wanted=set(passing_clips(shard, params.where)["clip_id"].drop_null().to_pylist()),
            scores=scores,
            previous=shard.previous("captions"),
            journal=journal,
            captioner=shard.model(load_captioner, params),
            refiner=shard.model(load_refiner, params),
        )
    numbers = {
        k: getattr(stats, k)
        for k in (
            "ok",
            "empty",
            "failed",
            "skipped",
            "requests",
            "reused",
            "resumed",
            "prompt_tokens",
            "completion_tokens",
        )
    }
    numbers |= {
        "caption_cost": stats.cost,
        "cost_per_clip": stats.cost_per_clip,
        "prompt_tokens_per_clip": pc.mean(table["prompt_tokens"]).as_py(),
        "completion_tokens_per_clip": pc.mean(table["completion_tokens"]).as_py(),
        "seconds_per_clip": stats.seconds_per_clip,
    }
    good = table.filter(pc.equal(table["status"], "ok"))
    lengths = pa.table({"characters": pc.utf8_length(good["caption"])})
    metadata: dict[str, Any] = {"languages": counts(good, "language"), "lengths": histograms(lengths, ["characters"])}
    shown = good.select(["clip_id", "caption"]).slice(0, 12).to_pylist()
    metadata["samples"] = pictured_table(
        shard.storage, shard.table("frames"), ("clip", "caption"), [tuple(r.values()) for r in shown]
    )
    return {"captions": Made(table, {k: v for k, v in numbers.items() if v is not None}, metadata)}


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


def _params(recipe: Recipe) -> dict[str, Any]:
    """What captions depend on; what is newer than the other keys only where it changes something."""
    unsaid = {"several"} if recipe.captions.several == "first" else set()
    repeats = {"repeats": "kept"} if recipe.captions.backend == "subtitles" else {}
    return recipe.captions.model_dump(exclude=HOW | {"model"} | unsaid) | repeats


def _caption_model(recipe: Recipe) -> dict[str, str]:
    from curation_assets.captions.captioning import caption_identity

    return {"captioner": caption_identity(recipe.captions)}


def _clip_model(recipe: Recipe) -> dict[str, str]:
    from curation_assets.scores.embedding import model_identity

    return {"clip": model_identity(recipe.embeddings)}


STAGES = (
    Stage(
        "captions",
        "captions",
        (
            Part(
                "captions",
                "What is said of each clip, by its source, its subtitles or a model, as the recipe asks, raw and cleaned.",
                params=_params,
                inputs=("clips", "frames", "video_metadata", "raw_shards"),
                rules=lambda r: [*r.captions.where, *(f"{s} is not null" for s in r.captions.clean.suffixes)],
                weights=_caption_model,
                complete="clips",
                journal=True,
            ),
        ),
        _caption,
        gpus=lambda r: r.captions.backend == "transformers" and computes_on_gpu(r.captions.device),
        pool="gpu",
        op_tags=GPU,
        up_to_date=lambda header, shard: header.stats.get("failed", 0) == 0,
    ),
    Stage(
        "caption_scores",
        "captions",
        (
            Part(
                "caption_scores",
                "How well each caption fits the pictures of its clip.",
                params=lambda r: {"misaligned": r.captions.misaligned},
                inputs=("captions", "frames", "frame_embeddings"),
                weights=_clip_model,
                complete="captions",
            ),
        ),
        _match,
    ),
)
