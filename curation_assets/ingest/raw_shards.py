"""Table raw_shards: how each video's download went, and where its bytes lie."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation_assets.contracts.checks import Check, Finding, media_check, outcomes
from curation_assets.contracts.component import Component, Made, RecipeKey, Stage
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import (
    BOOL,
    DATASET,
    DOUBLE,
    ERROR,
    INT32,
    INT64,
    MEDIA,
    STRING,
    VIDEO_ID,
    Column,
    TableSchema,
)
from curation_assets.engine.pods import pod
from curation_assets.ingest import fetch_report
from curation_assets.ingest.error_classes import ERROR_CLASSES, REFUSED_BY_PROBE, TRANSIENT_ERRORS
from curation_assets.showing.figures import markdown_table
from curation_assets.showing.sheets import contact_sheet
from curation_resources import probe
from curation_resources.progress import tell
from curation_resources.storage import Storage

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe
    from curation_resources.table_headers import TableHeader


CUE = pa.struct([("start_ms", INT64), ("end_ms", INT64), ("text", STRING)])

SUBTITLE_TRACK = pa.struct([("language", STRING), ("automatic", BOOL), ("cues", pa.list_(CUE)), ("encoding", STRING)])


class Subtitles(Section):
    """Which subtitle tracks are fetched from sites. Of files that lie beside videos all are taken, in every language: `captions.languages` chooses among them."""

    languages: list[str] = Field(default=["en"], description="Language codes in order of preference.")
    automatic: bool = Field(True, description="Whether automatic captions are taken where manual ones are missing.")


class Download(Section):
    """How videos are fetched."""

    height: int | None = Field(
        360, ge=64, le=4320, description="Wanted height in pixels: the smallest that reaches it, else the largest."
    )
    audio: bool = Field(True, description="Whether audio is fetched.")
    audio_rate: int | None = Field(
        None, ge=8000, le=192_000, description="Audio sample rate of exported clips, Hz; null keeps it."
    )
    subtitles: Subtitles | None = Field(None, description="Subtitle tracks to fetch; null for none.")
    info: bool = Field(True, description="Whether what the extractor says of the video is kept.")
    timeout_s: float = Field(
        60, gt=0, le=3600, description="Longest silence of a connection, and of one metadata call, seconds."
    )
    total_timeout_s: float = Field(1800, gt=0, description="Longest time one attempt at one video may take, seconds.")
    max_bytes: int = Field(8_000_000_000, ge=1, description="Largest file that is accepted.")
    attempts: int = Field(4, ge=1, le=20, description="Attempts per run for transient errors.")
    backoff_s: float = Field(2.0, ge=0, description="First pause before another attempt; doubles, with jitter.")
    concurrency: int = Field(8, ge=1, le=256, description="Downloads at the same time.")
    per_host: int = Field(4, ge=1, le=256, description="Downloads at the same time from one host.")
    rate_limit: int | None = Field(None, ge=1, description="Bytes per second for each download.")
    proxy: str | None = Field(None, description="Proxy URL; give secrets through the environment as ${NAME}.")
    cookies: str | None = Field(None, description="Path of a cookies.txt file.")
    allow_private: bool | None = Field(
        None,
        description="Whether videos are fetched from addresses of this machine and of private networks too, redirects and what pages name "
        "included; null: only where the list lies here itself, not where it came over the network (`http://`, `s3://`, `hf://`).",
    )
    player_client: list[str] = Field(default=[], description="YouTube player clients that yt-dlp should use.")
    sections_only: bool = Field(False, description="Fetch only the given spans, where the extractor can.")
    store: Literal["reference", "copy"] = Field(
        "reference",
        description="Videos that already lie in storage are referenced where they stand, or copied into our tars.",
    )
    tar_bytes: int = Field(1_000_000_000, ge=1_000_000, description="Size at which a tar is closed and another begun.")


TABLE = TableSchema(
    "raw_shards",
    "a source video: how its download went and where its bytes lie",
    ("video_id",),
    (
        DATASET,
        VIDEO_ID,
        Column("url", STRING, "Where it was fetched from, without credentials.", taken="video_metadata.url"),
        Column("page_url", STRING, "Page that shows the video, for provenance."),
        Column("status", STRING, "Outcome.", nullable=False, allowed=("ok", "failed", "rejected")),
        Column("error_class", STRING, "Class of the failure.", allowed=(*ERROR_CLASSES, "rejected", "removed")),
        ERROR,
        Column("attempts", INT32, "Attempts made so far, over all runs.", volatile=True, minimum=0),
        *MEDIA,
        Column("etag", STRING, "ETag, or size and modification time, of media referenced in place."),
        Column("container", STRING, "Container format as ffmpeg names it."),
        Column("video_codec", STRING, "Codec of the first video stream."),
        Column(
            "audio_codec",
            STRING,
            "Codec of the first audio stream; null without audio. Of several, scores and exports hear the default one.",
        ),
        Column("width", INT32, "Stored width in pixels, before rotation and aspect correction.", minimum=1),
        Column("height", INT32, "Stored height in pixels, before rotation and aspect correction.", minimum=1),
        Column(
            "rotation",
            INT32,
            "Clockwise degrees to turn the picture for display: 0, 90, 180 or 270.",
            minimum=0,
            maximum=270,
        ),
        Column("fps", DOUBLE, "Average frame rate.", minimum=0),
        Column("duration_ms", INT64, "Duration.", minimum=0),
        Column("title", STRING, "Title on the page, or of the source."),
        Column("channel", STRING, "Channel or uploader."),
        Column("upload_date", STRING, "YYYY-MM-DD."),
        Column("licence", STRING, "Licence stated by the page or the source."),
        Column(
            "section_start_ms",
            INT64,
            "Time in the source at which the file begins, where only a section was fetched; null where all of it was.",
            minimum=0,
        ),
        Column(
            "subtitles",
            pa.list_(SUBTITLE_TRACK),
            "Subtitle tracks as cues with times; rolling repeats removed. `encoding` is what was assumed where a file does not say.",
            later=("[].encoding",),
        ),
        Column("info", STRING, "What the extractor or a sidecar says of the video, canonical JSON without secrets."),
        Column(
            "row_fingerprint",
            STRING,
            "Hash of what was asked for; a row is kept while it is unchanged.",
            volatile=True,
        ),
    ),
)


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


MIN_YIELD = 0.5
"""Share of usable videos below which a warning is given."""


def _download_params(recipe: Recipe) -> dict[str, Any]:
    """What raw_shards depends on. A proxy without a scheme becomes a URL, so that the table's metadata hide its password as any URL's."""
    params = recipe.download.model_dump(exclude=OPERATIONAL)
    if params["allow_private"] is None:  # tables of before the key was there
        del params["allow_private"]
    if (
        recipe.source.format == "webdataset" and recipe.download.audio
    ):  # older tables left out the sound that lies beside videos of tars
        params["sound"] = "joined"
    if params["proxy"] and "://" not in params["proxy"]:
        params["proxy"] = f"http://{params['proxy']}"
    return params


def _downloads(recipe: Recipe) -> Download:
    """How the recipe's videos are fetched; whether from private addresses is decided where the recipe leaves it open."""
    from curation_assets.ingest.sources.files import over_network

    if recipe.download.allow_private is not None:
        return recipe.download
    return recipe.download.model_copy(update={"allow_private": not over_network(recipe.source.path)})


def _of_files(recipe: Recipe) -> bool:
    """Whether the source's videos are files that may lie here."""
    brought = recipe.source.chosen()
    return bool(getattr(brought[0], "files", False)) if brought is not None else recipe.source.format in FILES


def _raw_up_to_date(header: TableHeader, shard: Shard) -> bool:
    """Nothing failed that may pass, no URL that was refused has been signed anew since, and no media by a probe that read less."""
    from curation_assets.ingest.fetch_urls import digest, read_fetch_urls

    refused_media = REFUSED_BY_PROBE & set(header.stats.get("errors") or ())
    if header.stats.get("transient") or (refused_media and header.stats.get("probe") != probe.VERSION):
        return False
    refused = header.stats.get("refused_urls")
    return refused is None or refused == digest(read_fetch_urls(shard.storage, shard.key))


def _make_raw(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.ingest.fetch_plan import ShardVideos
    from curation_assets.ingest.fetch_urls import digest, read_fetch_urls
    from curation_assets.ingest.fetching import build_raw_shard
    from curation_assets.ingest.forgotten import read_forgotten

    urls = read_fetch_urls(shard.storage, shard.key)
    made = build_raw_shard(
        ShardVideos(
            shard.table("video_metadata"),
            _downloads(shard.recipe),
            allow_local=_of_files(shard.recipe),
            local_lists=shard.recipe.source.format == "table",
            urls=urls,
            forgotten=read_forgotten(shard.store),
        ),
        shard.storage,
        shard.folder("raw_shards"),
        shard.previous("raw_shards"),
        shard.force,
        lambda p: tell(p.done, p.total, "videos", f"{p.ok} ok, {p.failed} failed, {p.bytes / 1e6:.1f} MB"),
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


def _yield(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    by = outcomes(table)
    wanted = by.get("ok", 0) + by.get("failed", 0)
    share = by.get("ok", 0) / wanted if wanted else 1.0
    metadata = {"yield": round(share, 4), **by}
    return Finding("yield", share >= MIN_YIELD, f"{share:.0%} of the videos came out well", False, metadata)


COMPONENT = Component(
    TABLE,
    "ingest",
    "Downloads videos, or refers to them where they lie, and probes them; what failed says why.",
    keys=(RecipeKey("download", Download),),
    params=_download_params,
    inputs=("video_metadata",),
    complete="video_metadata",
    checks=(
        Check("yield", f"At least {MIN_YIELD:.0%} of the videos came out well.", False, _yield, ("status",)),
        media_check("video_id"),
    ),
    downloads=True,
    words=("title", "channel"),
    counted=fetch_report.COUNTED,
    summary=fetch_report.SUMMARY,
    recounted=fetch_report.recounted,
    told=fetch_report.told,
)

STAGE = Stage(
    "raw_shards",
    (COMPONENT,),
    _make_raw,
    kinds=frozenset({"tar"}),
    pool="network",
    op_tags=pod(cpu=2, memory="4Gi", scratch="50Gi"),
    up_to_date=_raw_up_to_date,
)
