"""Group tracks: objects followed through clips."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.assets.scores import GPU, passing_clips
from curation_assets.engine.component import Made, Part, Stage
from curation_assets.engine.making import expected
from curation_assets.engine.shard import Shard
from curation_assets.recipes import Recipe
from curation_assets.showing.figures import counts, histograms, markdown_table
from curation_assets.showing.sheets import contact_sheet
from curation_resources.devices import computes_on_gpu
from curation_resources.extras import require
from curation_resources.journal import Journal

NO_PARAMS = {"batch", "device", "model", "vocabulary"}
"""Keys of the section that are no parameters of the table: they change how fast tracking is, or name files that count by content."""


def _track(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.tracks.following import open_detector, track_shard

    params = shard.recipe.tracks
    with Journal(shard.storage, shard.folder("tracks"), expected(PART, shard).fingerprint) as journal:
        table, stats = track_shard(
            shard.table("clips"),
            shard.table("raw_shards"),
            params,
            shard.storage,
            shard.model(open_detector, params),
            keep=set(passing_clips(shard, params.where)["clip_id"].drop_null().to_pylist()),
            workers=shard.workers,
            journal=journal,
        )
    numbers = {
        "clips_looked_at": stats.looked_at,
        "clips_skipped": stats.skipped,
        "clips_failed": len(stats.failed),
        "boxes": stats.boxes,
        "frames_per_s": round(stats.frames_per_second, 1),
        "detections_per_s": round(stats.detections_per_second, 1),
    }
    metadata = {"failed": markdown_table(("clip", "reason"), list(stats.failed.items())[:20])} if stats.failed else {}
    return {"tracks": Made(table, numbers, metadata, stats.faults)}


def _describe(shard: Shard, asset: str, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    from curation_assets.tracks.following import drawn_clips

    seconds = pc.divide(pc.subtract(table["end_ms"], table["start_ms"]).cast(pa.float64()), 1000.0)
    metadata: dict[str, Any] = {
        "labels": counts(table, "label"),
        "distributions": histograms(
            pa.table({"seconds": seconds, "area": table["area"], "score": table["score"]}), ("seconds", "area", "score")
        ),
    }
    sheet = contact_sheet(drawn_clips(table, shard.table("raw_shards"), shard.storage), columns=3, width=240)
    if sheet is not None:
        metadata["drawn"] = sheet
    return {"tracks": table.num_rows}, metadata


def _weights(recipe: Recipe) -> dict[str, str]:
    require("following objects", "supervision", "trackers")
    from curation_assets.tracks.following import detector_identity

    return {"detector": detector_identity(recipe.tracks)}


PART = Part(
    "tracks",
    "Objects followed through clips, with their boxes.",
    code_version="2",
    params=lambda r: r.tracks.model_dump(exclude=NO_PARAMS),
    inputs=("clips", "raw_shards"),
    rules=lambda r: r.tracks.where,
    weights=_weights,
    journal=True,
)

STAGES = (
    Stage(
        "tracks",
        "tracks",
        (PART,),
        _track,
        kinds=frozenset({"onnx"}),
        gpus=lambda r: computes_on_gpu(r.tracks.device, onnx=r.tracks.detector in ("faces", "onnx")),
        pool="gpu",
        op_tags=GPU,
        by_video=True,
        describe=_describe,
    ),
)
