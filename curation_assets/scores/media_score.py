"""Scores that are read from the videos, declared: the stage opens each video once and asks for its clips in order of time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation_assets.contracts.component import Component, Made, Stage
from curation_assets.decode.video_bytes import the_bytes
from curation_assets.engine.pods import pod
from curation_assets.showing.figures import histograms

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


def shown(shard: Shard, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Histograms of all numbers of a table of scores."""
    numbers = [f.name for f in table.schema if pa.types.is_floating(f.type)]
    return {}, {"distributions": histograms(table, numbers)}


def media_score(component: Component, module: str) -> Stage:
    """The stage of a score that is read from the videos.

    Args:
        component: its table; made from `clips` and `raw_shards`, and its parameters are a section of the recipe.
        module: has `score(source, clips, params)`, called in worker processes for each video with a stream of its bytes and its rows of `clips` in
            order of time; it gives for each of them, in that order, column -> value. And `estimator(params)`, the text of that column. Imported
            when the stage runs. What `score` raises goes into `error` of the clips from there on, but for what storage or the machine is at
            fault for (OSError, MemoryError): such a video is made again by the next run. See docs/how-to/add_a_score.md.
    """
    asset, (key, *_) = component.asset, component.keys

    def make(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
        from curation_assets.scores.clip_media import score_clips

        work, params = import_module(module), getattr(shard.recipe, key.name)
        score, same = partial(work.score, params=params), {"estimator": work.estimator(params)}
        clips, raw = shard.table("clips"), shard.table("raw_shards")
        table, faults = score_clips(asset, clips, raw, shard.storage, score, same, shard.workers)
        return {asset: Made(table, faults=faults)}

    resources, kinds = pod(cpu=4, memory="4Gi"), frozenset({"ffmpeg"})
    return Stage(asset, (component,), make, kinds, "cpu", resources, by_video=True, reads={"raw_shards": the_bytes})
