"""Group ingest, by shard: what the sources say of each video, and its bytes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow.compute as pc

from curation_assets.engine.component import Made, Part, Stage
from curation_assets.engine.pods import pod
from curation_assets.engine.shard import Shard
from curation_assets.recipes import Download, Recipe
from curation_assets.schemas import REFUSED_BY_PROBE, TRANSIENT_ERRORS
from curation_assets.showing.figures import counts, markdown_table
from curation_assets.showing.sheets import contact_sheet
from curation_resources import probe
from curation_resources.progress import tell
from curation_resources.tables import TableHeader


def _make_metadata(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.ingest.normal_form import video_metadata_table
    from curation_assets.ingest.source_words import SPAN_WORDS, has_words

    table = video_metadata_table(shard.slice("dataset_index"))
    stats: dict[str, Any] = {"ok": 0, "rejected": 0, "removed": 0} | counts(table, "status")
    if worded := sum(map(has_words, table["spans"].to_pylist())):
        stats[SPAN_WORDS] = worded
    return {"video_metadata": Made(table, stats)}


FILES = ("folder", "webdataset")
"""Source formats whose videos are files; besides them only tables that lie here themselves may name local paths."""
OPERATIONAL = {
    "timeout_s",
    "total_timeout_s",
    "attempts",
    "backoff_s",
    "concurrency",
    "per_host",
    "rate_limit",
    "tar_bytes",
    "audio_rate",
}
"""Download parameters that change how long it takes, not what comes of it."""


def _download_params(recipe: Recipe) -> dict[str, Any]:
    """What raw_shards depends on. A proxy without a scheme becomes a URL, so that the table's metadata hide its password as any URL's."""
    params = recipe.download.model_dump(exclude=OPERATIONAL)
    if params["allow_private"] is None:  # tables of before the key was there
        del params["allow_private"]
    if params["proxy"] and "://" not in params["proxy"]:
        params["proxy"] = f"http://{params['proxy']}"
    return params


def _downloads(recipe: Recipe) -> Download:
    """How the recipe's videos are fetched; whether from private addresses is decided where the recipe leaves it open."""
    from curation_assets.ingest.sources.files import over_network

    if recipe.download.allow_private is not None:
        return recipe.download
    return recipe.download.model_copy(update={"allow_private": not over_network(recipe.source.path)})


def _raw_up_to_date(header: TableHeader, shard: Shard) -> bool:
    """Nothing failed that may pass, no URL that was refused has been signed anew since, and no media by a probe that read less."""
    from curation_assets.ingest.fetch_urls import digest, read_fetch_urls

    refused_media = REFUSED_BY_PROBE & set(header.stats.get("errors") or ())
    if header.stats.get("transient") or (refused_media and header.stats.get("probe") != probe.VERSION):
        return False
    refused = header.stats.get("refused_urls")
    return refused is None or refused == digest(read_fetch_urls(shard.storage, shard.key))


def _make_raw(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.ingest.fetch_urls import digest, read_fetch_urls
    from curation_assets.ingest.fetching import build_raw_shard
    from curation_assets.ingest.forgotten import read_forgotten

    urls = read_fetch_urls(shard.storage, shard.key)
    made = build_raw_shard(
        shard.table("video_metadata"),
        _downloads(shard.recipe),
        shard.storage,
        shard.folder("raw_shards"),
        shard.previous("raw_shards"),
        shard.force,
        lambda p: tell(p.done, p.total, "videos", f"{p.ok} ok, {p.failed} failed, {p.bytes / 1e6:.1f} MB"),
        allow_local=shard.recipe.source.format in FILES,
        local_lists=shard.recipe.source.format == "table",
        urls=urls,
        forgotten=read_forgotten(shard.store),
    )
    s = made.stats
    transient = sum(n for c, n in s.by_class.items() if c in TRANSIENT_ERRORS)
    errors = {c: n for c, n in s.by_class.items() if c != "ok"}
    stats = {
        "yield": round(s.ok / s.rows, 4) if s.rows else 1.0,
        "hours": round(s.video_s / 3600, 4),
        **{
            k: getattr(s, k)
            for k in ("ok", "failed", "rejected", "kept", "adopted", "fetched", "bytes", "fetched_bytes")
        },
        "video_s": round(s.video_s, 1),
        "MB_per_s": round(s.fetched_bytes / 1e6 / max(s.seconds, 1e-3), 2),
        "transient": transient,
        "errors": errors,
        "probe": probe.VERSION,
    }
    metadata: dict[str, Any] = {}
    sheet = contact_sheet([(jpeg, video_id) for video_id, jpeg in made.thumbnails])
    if sheet is not None:
        metadata["first_frames"] = sheet
    bad = made.table.filter(pc.not_equal(made.table["status"], "ok"))
    if urls.keys() & set(bad["video_id"].to_pylist()):
        stats["refused_urls"] = digest(urls)
    if bad.num_rows:
        rows = bad.slice(0, 20).select(["video_id", "status", "error_class", "error"]).to_pylist()
        metadata["not_ok"] = markdown_table(("video_id", "status", "class", "error"), [tuple(r.values()) for r in rows])
    return {"raw_shards": Made(made.table, stats, metadata)}


STAGES = (
    Stage(
        "video_metadata",
        "ingest",
        (
            Part(
                "video_metadata",
                "What the sources say of each video, in one form whatever theirs was.",
                slices=("dataset_index",),
            ),
        ),
        _make_metadata,
    ),
    Stage(
        "raw_shards",
        "ingest",
        (
            Part(
                "raw_shards",
                "Downloads videos, or refers to them where they lie, and probes them; what failed says why.",
                params=_download_params,
                inputs=("video_metadata",),
                complete="video_metadata",
            ),
        ),
        _make_raw,
        kinds=frozenset({"tar"}),
        pool="network",
        op_tags=pod(cpu=2, memory="4Gi", scratch="50Gi"),
        up_to_date=_raw_up_to_date,
    ),
)
