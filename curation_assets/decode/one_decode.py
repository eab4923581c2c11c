"""The stage that makes the five tables of the one decode of each video."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation_assets.contracts.component import Made, Stage
from curation_assets.decode import clip_fingerprints, clips, frames, motion_scores, quality_scores
from curation_assets.decode.clips import subtitle_languages
from curation_assets.decode.video_bytes import the_bytes
from curation_assets.engine.pods import pod
from curation_assets.showing.figures import markdown_table
from curation_resources.tars import TarWriter, new_token

if TYPE_CHECKING:
    from curation_assets.decode.stitching import StitchModel
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe
    from curation_resources.model_input import ModelInput


SHOWN = 20
"""Videos out of the ordinary that an event lists."""


def _asked_for(metadata: pa.Table) -> pa.Table:
    """What of `video_metadata` decides how a video is cut: the given spans and their ids, not what is said of them."""
    spans = [
        s and [{name: span[name] for name in ("clip_id", "start_ms", "end_ms")} for span in s]
        for s in metadata["spans"].to_pylist()
    ]
    kind = pa.list_(pa.struct([("clip_id", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64())]))
    return metadata.select(["video_id", "status"]).append_column("spans", pa.array(spans, kind))


def _inputs(shard: Shard) -> Iterator[ModelInput]:
    """The pictures for models that the recipe's frames get beside their JPEGs."""
    from curation_assets.engine.frame_fits import frame_fits
    from curation_resources.model_input import ModelInput

    form = shard.recipe.frames.model_input
    if form != "none":
        yield from (ModelInput(fit, form) for fit in frame_fits(shard.recipe, shard.log.info))


def _stitching(recipe: Recipe) -> StitchModel | None:
    """The model that stitches shots, where the recipe has that done."""
    from curation_assets.decode.stitching import StitchModel

    if recipe.clips.stitch is None:
        return None
    return StitchModel(recipe.embeddings.model, recipe.embeddings.pretrained, recipe.embeddings.device)


def _make(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.decode.analysis import AnalysisParams
    from curation_assets.decode.shard import analyse_shard
    from curation_assets.decode.shots import check_installed

    r = shard.recipe
    check_installed(r.clips)
    inputs = tuple(_inputs(shard)) if "frames" in wanted else ()
    params = AnalysisParams(
        r.clips, r.frames, r.motion, r.quality, r.dedup, inputs, _stitching(r), tuple(subtitle_languages(r))
    )
    with TarWriter(shard.storage, shard.folder("frames"), new_token()) as writer:
        analysis = analyse_shard(
            shard.table("raw_shards"),
            shard.table("video_metadata"),
            params,
            shard.storage,
            writer,
            workers=shard.workers,
            wanted=wanted,
        )
    seconds = sum(s.seconds for s in analysis.stats)
    shared: dict[str, Any] = {"video_s": round(seconds, 1), "failed_videos": len(analysis.errors)}
    if analysis.seconds_per_cpu_s:
        shared["video_s_per_cpu_s"] = round(analysis.seconds_per_cpu_s, 1)
    odd = [(s.video_id, "; ".join(s.warnings)) for s in analysis.stats if s.warnings][:SHOWN]
    warned = {"warnings": markdown_table(("video", "warning"), odd)} if odd else {}
    slowest = markdown_table(
        ("video", "seconds", "CPU s"), [(s.video_id, f"{s.seconds:.1f}", f"{s.cpu_s:.2f}") for s in analysis.slowest()]
    )
    shown = {"slowest": slowest, **warned}
    return {asset: Made(table, shared, shown, analysis.faults) for asset, table in analysis.tables.items()}


STAGE = Stage(
    "decode",
    (clips.COMPONENT, frames.COMPONENT, motion_scores.COMPONENT, quality_scores.COMPONENT, clip_fingerprints.COMPONENT),
    _make,
    kinds=frozenset({"ffmpeg"}),
    pool="cpu",
    op_tags=pod(cpu=8, memory="12Gi", scratch="20Gi"),
    by_video=True,
    reads={"video_metadata": _asked_for, "raw_shards": the_bytes},
)
