"""Group decode: the five tables that come from one decode of each video."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.engine.component import Made, Part, Stage
from curation_assets.engine.pods import pod
from curation_assets.engine.shard import Shard
from curation_assets.recipes import Recipe
from curation_assets.showing.clips import clip_sheet
from curation_assets.showing.figures import counts, histograms, markdown_table
from curation_resources.tars import TarWriter, new_token

HASHING = {"method", "frames", "fps", "flipped", "step", "center", "crops"}
"""Parameters of the dedup section that decide the hashes; the others decide what is done with them."""
DECODED = "4"
"""Code version of which clips and pictures there are."""
MEASURED = "3"
"""Code version of how the motion of each clip is measured."""
LOOKED_AT = "4"
"""Code version of `quality_scores`."""
HASHED = "4"
"""Code version of the fingerprints."""
SHOWN = 20
"""Videos out of the ordinary that an event lists."""
SCORES = {
    "motion_scores": ("motion", "motion_p90", "still_fraction", "camera_motion", "object_motion"),
    "quality_scores": (
        "sharpness",
        "edge_blur",
        "brightness",
        "contrast",
        "colorfulness",
        "over_exposed",
        "under_exposed",
        "border",
        "blank",
        "frozen",
    ),
}


def _asked_for(metadata: pa.Table) -> pa.Table:
    """What of `video_metadata` decides how a video is cut: the given spans and their ids, not what is said of them."""
    spans = [
        s and [{name: span[name] for name in ("clip_id", "start_ms", "end_ms")} for span in s]
        for s in metadata["spans"].to_pylist()
    ]
    kind = pa.list_(pa.struct([("clip_id", pa.string()), ("start_ms", pa.int64()), ("end_ms", pa.int64())]))
    return metadata.select(["video_id", "status"]).append_column("spans", pa.array(spans, kind))


def _make(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.decode.analysis import AnalysisParams
    from curation_assets.decode.shard import analyse_shard
    from curation_assets.decode.shots import check_installed

    r = shard.recipe
    check_installed(r.clips)
    params = AnalysisParams(clips=r.clips, frames=r.frames, motion=r.motion, quality=r.quality, dedup=r.dedup)
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


def _describe(shard: Shard, asset: str, table: pa.Table) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    if asset == "frames":
        sheet = clip_sheet(shard.storage, table)
        return {}, {} if sheet is None else {"clips": sheet}
    if asset in SCORES:
        return {}, {"distributions": histograms(table, SCORES[asset])}
    if asset == "clip_fingerprints":
        return {"methods": counts(table, "method")}, {}
    clips = table.filter(pc.equal(table["status"], "ok"))
    lengths = pc.divide(pc.subtract(clips["end_ms"], clips["start_ms"]).cast(pa.float64()), 1000.0)
    stats = {"clips": clips.num_rows, "hours": round((pc.sum(lengths).as_py() or 0) / 3600, 4)}
    metadata: dict[str, Any] = {"length_s": histograms(pa.table({"length_s": lengths}), ["length_s"])}
    errors = table.filter(pc.not_equal(table["status"], "ok"))
    if errors.num_rows:
        rows = errors.slice(0, SHOWN).select(["video_id", "status", "error"]).to_pylist()
        metadata["not_ok"] = markdown_table(("video", "status", "error"), [tuple(row.values()) for row in rows])
    return stats, metadata


def _part(
    asset: str, about: str, complete: str, own: Callable[[Recipe], Any] = lambda r: None, code_version: str = DECODED
) -> Part:
    def params(recipe: Recipe) -> Any:
        params = {"clips": recipe.clips.model_dump(by_alias=True)}
        return params if asset == "clips" else {**params, asset: own(recipe)}

    return Part(
        asset,
        f"{about} From the one decode of each video.",
        params=params,
        inputs=("raw_shards", "video_metadata"),
        complete=complete,
        code_version=code_version,
    )


STAGES = (
    Stage(
        "decode",
        "decode",
        (
            _part("clips", "Videos cut at shot boundaries, or as the recipe says.", "raw_shards"),
            _part(
                "frames",
                "Sampled pictures of each clip, which all models look at.",
                "clips",
                lambda r: r.frames.model_dump(),
            ),
            _part(
                "motion_scores",
                "How much moves in each clip, and whether it is the camera.",
                "clips",
                lambda r: r.motion.model_dump(),
                MEASURED,
            ),
            _part(
                "quality_scores",
                "Sharpness, blur, exposure, colour, borders, blank or frozen pictures of each clip.",
                "clips",
                lambda r: r.quality.model_dump(),
                LOOKED_AT,
            ),
            _part(
                "clip_fingerprints",
                "Perceptual hashes, by which near-duplicates are found.",
                "clips",
                lambda r: {**r.dedup.model_dump(include=HASHING), "quality": r.quality.model_dump()},
                HASHED,
            ),
        ),
        _make,
        kinds=frozenset({"ffmpeg"}),
        pool="cpu",
        op_tags=pod(cpu=8, memory="12Gi", scratch="20Gi"),
        by_video=True,
        reads={"video_metadata": _asked_for},
        describe=_describe,
    ),
)
