"""Table frame_embeddings: the one CLIP pass over sampled frames."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation_assets.contracts.checks import Check, Finding
from curation_assets.contracts.component import Component, Made, RecipeKey, Stage, if_named
from curation_assets.contracts.costs import Figure
from curation_assets.contracts.sections import Rules, Section
from curation_assets.contracts.tables import CLIP_KEYS, ERROR, INT64, STRING, Column, TableSchema
from curation_assets.engine.pods import GPU
from curation_assets.scores.prefilter import passing_clips
from curation_resources.devices import computes_on_gpu
from curation_resources.extras import require
from curation_resources.storage import Storage

if TYPE_CHECKING:
    from curation_assets.engine.kept_answers import KeptAnswers
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe
    from curation_resources.model_input import Fit


class Embeddings(Section):
    """The CLIP model of the recipe: an open_clip architecture with a tag or a checkpoint, a hub repository, or a local folder."""

    model: str = Field(
        "ViT-L-14",
        description="open_clip architecture; or hf-hub:org/name, or local-dir:/folder with open_clip_config.json and weights.",
    )
    pretrained: str = Field(
        "openai", description="open_clip tag, or path or URI of a checkpoint; ignored with hf-hub: and local-dir:."
    )
    batch: int = Field(64, ge=1, le=4096, description="Frames per batch.")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: fp16 on CUDA, bf16 on CPUs that have it, else fp32."
    )
    where: Rules = Field(default=[], description="Rules that a clip must pass to be embedded.")


TABLE = TableSchema(
    "frame_embeddings",
    "a sampled frame's CLIP embedding",
    ("video_id", "clip_id", "time_ms"),
    (
        *CLIP_KEYS,
        Column("time_ms", INT64, "Presentation time of the frame.", nullable=False),
        Column("frame", INT64, "Index of the frame within the video."),
        Column("embedding", pa.list_(pa.float16()), "Normalised image embedding; null if the frame could not be read."),
        Column("model", STRING, "Model, tag and hash of the weights.", nullable=False),
        ERROR,
    ),
)


def clip_model(recipe: Recipe) -> dict[str, str]:
    """Identity of the recipe's CLIP model, of all that is made from embeddings."""
    from curation_assets.scores.embedding import model_identity

    return {"clip": model_identity(recipe.embeddings)}


def _named(recipe: Recipe) -> None:
    from curation_resources.clip_weights import check_clip_names

    if recipe.embeddings.model_fields_set & {"model", "pretrained"}:
        check_clip_names(recipe.embeddings.model, recipe.embeddings.pretrained)


def _frame_fit(recipe: Recipe) -> Fit | None:
    from curation_resources.clip_model import clip_fit

    return clip_fit(recipe.embeddings.model, recipe.embeddings.pretrained)


AHEAD_SHARDS = 4
"""Shards whose frames may be on their way to a GPU while tables of those before are written."""


def _embed(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.scores.embedding import embed_frames, load_model
    from curation_assets.scores.embedding_line import EmbeddingLine

    def open_line(params: Embeddings) -> EmbeddingLine:
        return EmbeddingLine(shard.model(load_model, params), shard.storage, params.batch, shard.workers)

    line = shard.model(open_line, shard.recipe.embeddings)
    known, frames = _to_embed(shard)
    if line.model.asynchronous:
        line.ahead(frames, shard.key)
        for key in shard.coming.keys(AHEAD_SHARDS):
            if not line.begun(key) and (later := shard.coming.look(key, lambda s: _to_embed(s)[1])) is not None:
                line.ahead(later, key)
    table, stats = embed_frames(frames, line, shard.key)
    table = known.joined(table, faulty=stats.faults)
    numbers = {
        "frames": stats.frames,
        "from_inputs": stats.kept,
        "clips_kept": known.reused,
        "failed_frames": stats.failed,
        "frames_per_s": round(stats.frames / stats.seconds, 1) if stats.seconds else 0.0,
        "model_share": round(1 - stats.waited_s / stats.seconds, 3) if stats.seconds else 0.0,
        "device": f"{stats.device} {stats.precision}",
    }
    return {"frame_embeddings": Made(table, numbers, faults=stats.faults)}


def _to_embed(shard: Shard) -> tuple[KeptAnswers, pa.Table]:
    """What is known of a shard's clips, and the frames of the others."""
    from curation_assets.engine.kept_answers import KeptAnswers

    where = shard.recipe.embeddings.where
    known = KeptAnswers(shard, COMPONENT, shard.table("clips"), passing_clips(shard, where))
    clips = known.to_ask["clip_id"].drop_null().combine_chunks()
    frames = shard.table("frames")
    return known, frames.filter(pc.is_in(frames["clip_id"], value_set=clips))


def _one_model(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    models = pc.unique(table["model"]).to_pylist()
    return Finding("one_model", len(models) <= 1, f"embeddings of {', '.join(models) or 'no model'}", True)


GPU_S = {"ViT-B-32": ((1 / 1261, 1 / 1202), 1 / 22500, 512), "ViT-L-14": ((1 / 2083, 1 / 1202), 1 / 2166, 768)}
"""Seconds of an H100 for a frame whose picture is decoded (of ViT-L-14 the network alone, and as many as 16 processes decode), for the network alone, and the dimension."""
FRAME_CPU_S = (0.0048, 0.0129)
"""To read, decode and resize a frame of 683 x 384: one thread, and 16 processes that are the limit."""
INPUT_CPU_S = (0.00029, 0.00038)
"""To read the input that is kept beside it, and with the tables."""


def _figure(recipe: Recipe, _: object) -> Figure | None:
    """For a stored frame, of which two bytes a number are kept; on a CPU no figure stands in these pages. With inputs beside the frames the stage was not run on a GPU: it
    takes no less than the network alone, and no more than it did without."""
    known = GPU_S.get(recipe.embeddings.model)
    if known is None or recipe.embeddings.device == "cpu":
        return None
    seconds, alone, dimension = known
    kept = recipe.frames.model_input != "none"
    cpu, gpu = (INPUT_CPU_S, (alone, seconds[1])) if kept else (FRAME_CPU_S, seconds)
    return Figure("frame", cpu, gpu, (2.0 * dimension, 2.0 * dimension), "explanation/models.md, an H100")


COMPONENT = Component(
    TABLE,
    "scores",
    "The one CLIP pass over sampled frames, which aesthetics, categories, caption match and embedding export share.",
    keys=(RecipeKey("embeddings", Embeddings),),
    asked_by=if_named("embeddings"),
    params=lambda r: r.embeddings.model_dump(include={"precision", "where"}),
    inputs=("clips", "frames"),
    prefilter="embeddings",
    frame_fit=_frame_fit,
    weights=clip_model,
    named=_named,
    installed=lambda r: require("a CLIP model", "torch", "torchvision", "open_clip"),
    silent=True,
    checks=(Check("one_model", "All embeddings are of one model.", True, _one_model, ("model",)),),
    figure=_figure,
)

STAGE = Stage(
    "frame_embeddings",
    (COMPONENT,),
    _embed,
    kinds=frozenset({"pytorch"}),
    gpus=lambda r: computes_on_gpu(r.embeddings.device),
    pool="gpu",
    op_tags=GPU,
    by_video=True,
)
