"""Group scores: text in the picture, and what one CLIP pass tells."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from importlib import import_module
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.engine.component import Made, Part, Stage
from curation_assets.engine.pods import pod
from curation_assets.engine.shard import Shard
from curation_assets.recipes import Recipe
from curation_assets.rules.columns import select_clips
from curation_assets.schemas import schema
from curation_assets.showing.clips import ranked_sheet, ranked_table
from curation_assets.showing.figures import distributions, histograms, markdown_table
from curation_resources.devices import computes_on_gpu
from curation_resources.extras import require

GPU = pod(cpu=4, memory="16Gi", scratch="20Gi", gpus=1)
"""What a step with a model asks of Kubernetes."""
PICTURED_CATEGORIES = 8
"""Categories, in the recipe's order, whose lowest, median and highest clips are shown: about 90 kB of pictures at most."""


def passing_clips(shard: Shard, rules: list[str]) -> pa.Table:
    """The shard's clips that pass a pre-filter."""
    clips = shard.table("clips")
    if not rules:
        return clips
    return clips.filter(
        pc.is_in(
            clips["clip_id"], value_set=pa.array(sorted(select_clips(rules, shard.recipe, shard.table)), pa.string())
        )
    )


def pictured(shard: Shard, scores: pa.Table, columns: tuple[str, ...]) -> dict[str, Any]:
    """Histograms of the columns, and pictures of the lowest, median and highest clips of the first."""
    metadata: dict[str, Any] = {"distributions": histograms(scores, columns)}
    sheet = ranked_sheet(shard.storage, shard.table("frames"), scores, columns[0])
    return metadata if sheet is None else {**metadata, "lowest_median_highest": sheet}


def _text(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.scores.text_detection import estimator, score_text

    params = shard.recipe.text
    chosen = passing_clips(shard, params.where)
    table, stats = score_text(chosen, shard.table("frames"), shard.storage, params, shard.workers)
    table = with_skipped(table, shard.table("clips"), {"estimator": estimator(params), "samples": 0})
    numbers = {
        "clips_read": stats.clips,
        "frames_read": stats.frames,
        "cpu_ms_per_frame": round(stats.cpu_ms_per_frame, 1),
    }
    return {"text_scores": Made(table, numbers, faults=stats.faults)}


def _describe_text(shard: Shard, asset: str, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return {}, pictured(shard, table, ("text_area", "overlay"))


def media_score(asset: str, module: str, about: str, code_version: str = "1") -> Stage:
    """A stage for a score that is read from the videos: `module` has `score` and `estimator`.

    Its parameters are the recipe's section of that name without `_scores`. See docs/how-to/add_a_score.md.
    """
    section = asset.removesuffix("_scores")
    numbers = [c.name for c in schema(asset).columns if pa.types.is_floating(c.type)]

    def make(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
        from curation_assets.scores.clip_media import score_clips

        stage, params = import_module(module), getattr(shard.recipe, section)
        score, same = partial(stage.score, params=params), {"estimator": stage.estimator(params)}
        clips, raw = shard.table("clips"), shard.table("raw_shards")
        table, faults = score_clips(asset, clips, raw, shard.storage, score, same, shard.workers)
        return {asset: Made(table, faults=faults)}

    def describe(shard: Shard, asset: str, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        failed = table.num_rows - table["error"].null_count
        return {"failed": failed}, {"distributions": histograms(table, numbers)}

    part = Part(
        asset,
        about,
        code_version,
        params=lambda r: getattr(r, section).model_dump(),
        inputs=("clips", "raw_shards"),
        complete="clips",
    )
    resources, kinds = pod(cpu=4, memory="4Gi"), frozenset({"ffmpeg"})
    return Stage(asset, "scores", (part,), make, kinds, "cpu", resources, by_video=True, describe=describe)


def with_skipped(scores: pa.Table, clips: pa.Table, constants: Mapping[str, Any]) -> pa.Table:
    """`scores` with a row of nulls and the given constants for each real clip that a pre-filter left out."""
    left_out = clips.filter(
        pc.and_(
            pc.equal(clips["status"], "ok"),
            pc.invert(pc.is_in(clips["clip_id"], value_set=scores["clip_id"].combine_chunks())),
        )
    )
    if not left_out.num_rows:
        return scores
    rows = [{**row, **constants} for row in left_out.select(["dataset", "video_id", "clip_id"]).to_pylist()]
    return pa.concat_tables([scores, pa.Table.from_pylist(rows, schema=scores.schema)])


def _text_model(recipe: Recipe) -> dict[str, str]:
    require("reading text", "rapidocr", "onnxruntime", "shapely")
    from curation_assets.scores.text_detection import estimator

    return {"ocr": estimator(recipe.text)}


def _clip_model(recipe: Recipe) -> dict[str, str]:
    from curation_assets.scores.embedding import model_identity

    return {"clip": model_identity(recipe.embeddings)}


def _head(recipe: Recipe) -> dict[str, str]:
    from curation_assets.scores.aesthetic_heads import head_identity

    return {"head": head_identity(recipe.aesthetic)}


def _embed(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.scores.embedding import decoding_processes, embed_frames, load_model

    params = shard.recipe.embeddings
    clips = passing_clips(shard, params.where)
    frames = shard.table("frames")
    frames = frames.filter(pc.is_in(frames["clip_id"], value_set=clips["clip_id"].drop_null().combine_chunks()))
    model = shard.model(load_model, params)
    processes = decoding_processes(model, len(frames), shard.workers)
    table, stats = embed_frames(frames, shard.storage, params, model, processes)
    numbers = {
        "frames": stats.frames,
        "failed_frames": stats.failed,
        "frames_per_s": round(stats.frames / stats.seconds, 1) if stats.seconds else 0.0,
        "model_share": round(stats.model_seconds / stats.seconds, 3) if stats.seconds else 0.0,
        "device": f"{stats.device} {stats.precision}",
    }
    return {"frame_embeddings": Made(table, numbers, faults=stats.faults)}


def _aesthetic(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.scores.aesthetic_heads import aesthetic_table

    table = aesthetic_table(shard.table("clips"), shard.table("frame_embeddings"), shard.recipe.aesthetic)
    return {
        "aesthetic_scores": Made(
            table, {"unscored": table["aesthetic"].null_count}, pictured(shard, table, ("aesthetic",))
        )
    }


def _categories(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.scores.category_match import category_table
    from curation_assets.scores.embedding import load_text_encoder

    encoder = shard.model(load_text_encoder, shard.recipe.embeddings)
    table = category_table(shard.table("clips"), shard.table("frame_embeddings"), shard.recipe.categories, encoder)
    best = table.filter(pc.greater(table["probability"], 0.5))
    tally = best.group_by(["category_set", "category"]).aggregate([("clip_id", "count")]).to_pylist()
    overview = markdown_table(("set", "category", "clips above 0.5"), [tuple(t.values()) for t in tally])
    by_name = {
        f"{name}.{category}": table.filter(
            pc.and_(pc.equal(table["category_set"], name), pc.equal(table["category"], category))
        )
        for name, prompt_set in shard.recipe.categories.items()
        for category in prompt_set.prompts
    }
    first = dict(islice(by_name.items(), PICTURED_CATEGORIES))
    metadata = {
        "categories": overview,
        "distributions": distributions({name: t["score"].to_pylist() for name, t in by_name.items()}, "score"),
        "lowest_median_highest": ranked_table(shard.storage, shard.table("frames"), first, "score"),
    }
    return {"category_scores": Made(table, {}, {k: v for k, v in metadata.items() if v is not None})}


STAGES = (
    Stage(
        "text_scores",
        "scores",
        (
            Part(
                "text_scores",
                "How much of the picture is text, and which words.",
                code_version="4",
                params=lambda r: r.text.model_dump(),
                inputs=("clips", "frames"),
                rules=lambda r: r.text.where,
                weights=_text_model,
                complete="clips",
            ),
        ),
        _text,
        kinds=frozenset({"onnx"}),
        pool="cpu",
        op_tags=pod(cpu=8, memory="12Gi"),
        by_video=True,
        describe=_describe_text,
    ),
    media_score(
        "audio_scores", "curation_assets.scores.loudness", "How loud each clip is, and how much of it is quiet.", "2"
    ),
    Stage(
        "frame_embeddings",
        "scores",
        (
            Part(
                "frame_embeddings",
                "The one CLIP pass over sampled frames, which aesthetics, categories, caption match and embedding export share.",
                params=lambda r: r.embeddings.model_dump(include={"precision", "where"}),
                inputs=("clips", "frames"),
                rules=lambda r: r.embeddings.where,
                weights=_clip_model,
            ),
        ),
        _embed,
        kinds=frozenset({"pytorch"}),
        gpus=lambda r: computes_on_gpu(r.embeddings.device),
        pool="gpu",
        op_tags=GPU,
        by_video=True,
    ),
    Stage(
        "aesthetic_scores",
        "scores",
        (
            Part(
                "aesthetic_scores",
                "How pleasing each clip looks, by a small head on its embeddings.",
                params=lambda r: r.aesthetic.model_dump(exclude={"head", "sha256"}),
                inputs=("clips", "frames", "frame_embeddings"),
                weights=_head,
                complete="clips",
            ),
        ),
        _aesthetic,
    ),
    Stage(
        "category_scores",
        "scores",
        (
            Part(
                "category_scores",
                "How well each clip fits the prompts of the recipe.",
                params=lambda r: {n: s.model_dump() for n, s in r.categories.items()},
                inputs=("clips", "frames", "frame_embeddings"),
                weights=_clip_model,
            ),
        ),
        _categories,
    ),
)
