"""Group tracks: objects followed through clips."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.assets.scores import GPU, passing_clips
from curation_assets.materialize import Made, Part, Shard, Stage
from curation_assets.metadata import contact_sheet, counts, histograms, markdown_table
from curation_assets.recipes import Recipe
from resources.devices import computes_on_gpu
from resources.journal import Journal
from resources.storage import MediaRef, StorageError
from resources.tables import Provenance

HOW = {"batch", "device"}
"""Parameters that change how fast tracking is, and nothing in the table."""
DRAWN = 12
"""Clips on the contact sheet."""


def _track(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.stages.tracks import open_detector, track_shard

    params = shard.recipe.tracks
    made_from = Provenance(
        "tracks",
        params.model_dump(exclude=HOW),
        {"clips": str(shard.store.header("clips", shard.key))},
        _weights(shard.recipe),
    )
    with Journal(shard.storage, shard.folder("tracks"), made_from.fingerprint) as journal:
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
    return {"tracks": Made(table, numbers, metadata)}


def _describe(shard: Shard, asset: str, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    seconds = pc.divide(pc.subtract(table["end_ms"], table["start_ms"]).cast(pa.float64()), 1000.0)
    metadata: dict[str, Any] = {
        "labels": counts(table, "label"),
        "distributions": histograms(
            pa.table({"seconds": seconds, "area": table["area"], "score": table["score"]}), ("seconds", "area", "score")
        ),
    }
    sheet = contact_sheet(_drawn(shard, table), columns=4, width=160)
    if sheet is not None:
        metadata["tracks"] = sheet
    return {"tracks": table.num_rows}, metadata


def _drawn(shard: Shard, tracks: pa.Table) -> list[tuple[bytes, str]]:
    """Sampled frames of clips with the boxes of their tracks drawn in."""
    from PIL import Image

    from curation_assets.stages.tracks import draw_boxes

    by_clip: dict[str, list[dict[str, Any]]] = {}
    for row in tracks.select(["clip_id", "label", "frame_ms", "boxes", "width"]).to_pylist():
        by_clip.setdefault(row["clip_id"], []).append(row)
    frames: dict[str, list[dict[str, Any]]] = {}
    for row in shard.table("frames").select(["clip_id", "time_ms", "tar", "offset", "size"]).to_pylist():
        frames.setdefault(row["clip_id"], []).append(row)
    pictures = []
    for clip, found in list(by_clip.items())[:DRAWN]:
        seen = [(abs(t - f["time_ms"]), f["time_ms"], f) for f in frames.get(clip, []) for t in found[0]["frame_ms"]]
        if not seen:
            continue
        _, time_ms, frame = min(seen, key=lambda s: s[:2])
        try:
            image = Image.open(
                io.BytesIO(shard.storage.read_media(MediaRef(frame["tar"], frame["offset"], frame["size"])))
            ).convert("RGB")
        except (StorageError, OSError):
            continue
        scale = image.width / found[0]["width"]
        boxes = []
        for number, row in enumerate(found):
            nearest = int(np.argmin([abs(t - time_ms) for t in row["frame_ms"]]))
            boxes.append(([v * scale for v in row["boxes"][nearest]], row["label"] or "", number))
        buffer = io.BytesIO()
        Image.fromarray(draw_boxes(np.asarray(image), boxes)).save(buffer, "JPEG", quality=80)
        pictures.append((buffer.getvalue(), clip))
    return pictures


def _weights(recipe: Recipe) -> dict[str, str]:
    from curation_assets.stages.tracks import detector_identity

    return {"detector": detector_identity(recipe.tracks)}


STAGES = (
    Stage(
        "tracks",
        "tracks",
        (
            Part(
                "tracks",
                "Objects followed through clips, with their boxes.",
                params=lambda r: r.tracks.model_dump(exclude=HOW),
                inputs=("clips", "frames", "raw_shards"),
                rules=lambda r: r.tracks.where,
                weights=_weights,
            ),
        ),
        _track,
        kinds=frozenset({"onnx"}),
        gpus=lambda r: computes_on_gpu(r.tracks.device, onnx=r.tracks.detector in ("faces", "onnx")),
        pool="gpu",
        op_tags=GPU,
        by_video=True,
        describe=_describe,
    ),
)
