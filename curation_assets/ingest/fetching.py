"""raw_shards: from the videos of a shard to their bytes in storage, with a ledger of how each one went.

What belongs here: the run over a shard's videos, from their metadata to the table and its tars. What does not: which rows are kept or
asked for (`fetch_plan.py`), how one video is had (`fetch_attempt.py`), what killed runs left (`fetch_ledgers.py`), how one URL is
downloaded (`curation_resources.downloader`), and the commit of the table.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from curation_assets.contracts.door import brought, named
from curation_assets.ingest.fetch_attempt import THUMBNAILS, VideoFetcher, VideoFolders
from curation_assets.ingest.fetch_ledgers import (
    CHECKPOINT_S,
    CheckpointedTars,
    adoptable,
    rows_of_killed_runs,
    rows_with_media,
)
from curation_assets.ingest.fetch_plan import ShardVideos, VideoRequest, plan_fetches
from curation_assets.ingest.fetch_rows import Row, table_of_rows
from curation_assets.ingest.raw_shards import Download
from curation_resources.download_errors import DownloadError
from curation_resources.downloader import Downloader, DownloadOptions, run_bounded
from curation_resources.media import MediaRef
from curation_resources.probe import probe
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.unwritable import Unwritable
from curation_resources.urls import host_of

DOWNLOADERS = "downloaders"
"""Kind of entry points by which installed packages bring ways to fetch, as `downloader.OtherDownloader` has them."""


@dataclass(frozen=True)
class FetchProgress:
    """How far a shard is: rows done of total, rows ok and failed, bytes of media written in this run."""

    done: int
    total: int
    ok: int
    failed: int
    bytes: int


@dataclass(frozen=True)
class RawStats:
    """What a run did for a shard.

    Attributes:
        rows, ok, failed, rejected: number of rows, and of those of each status.
        by_class: number of rows by error class; `ok` for those without.
        kept: rows taken over from the table in force.
        adopted: rows taken over from a run that was killed.
        fetched: rows that were downloaded, copied or looked into now.
        bytes: bytes of all ok media; `fetched_bytes` of those written now.
        video_s: seconds of video of all ok rows.
        seconds: wall time of the run.
    """

    rows: int
    ok: int
    failed: int
    rejected: int
    by_class: Mapping[str, int]
    kept: int
    adopted: int
    fetched: int
    bytes: int
    fetched_bytes: int
    video_s: float
    seconds: float


@dataclass(frozen=True)
class RawShard:
    """A shard that is ready to be committed.

    Attributes:
        table: fits `schema("raw_shards")`.
        tars: the own tars that the table names.
        stats: counts.
        thumbnails: (video_id, small JPEG) of the first ok videos.
    """

    table: pa.Table
    tars: tuple[str, ...]
    stats: RawStats
    thumbnails: tuple[tuple[str, bytes], ...] = field(repr=False, default=())


def _download_options(options: Download) -> DownloadOptions:
    shared = {f.name for f in dataclasses.fields(DownloadOptions)} & set(Download.model_fields)
    values = {name: getattr(options, name) for name in shared} | {"allow_private": options.allow_private is not False}
    if options.subtitles:
        values |= {
            "subtitle_languages": tuple(options.subtitles.languages),
            "automatic_subtitles": options.subtitles.automatic,
        }
    return DownloadOptions(**values | {"player_client": tuple(options.player_client)})


def _host(request: VideoRequest) -> str | None:
    """What a job's concurrency is bounded by: its host; None for storage."""
    return None if request.stored is not None else host_of(request.url)


def build_raw_shard(
    videos: ShardVideos,
    storage: Storage,
    folder: str,
    previous: pa.Table | None = None,
    force: bool = False,
    progress: Callable[[FetchProgress], None] | None = None,
    checkpoint_s: float = CHECKPOINT_S,
) -> RawShard:
    """Brings the videos of a shard into storage.

    Rows of `previous` are kept while what was asked for is unchanged and they are ok or failed for good; failures that may pass are
    tried again, alone; everything else is new. Videos that lie in storage are referenced where they stand, unless `options.store` says
    otherwise.

    Args:
        videos: and what is asked for of them.
        storage: where tars go and references are resolved.
        folder: media folder of the shard, relative to the storage root.
        previous: the table in force, if there is one.
        force: makes every row anew.
        progress: called after each row.
        checkpoint_s: how often at least a tar is closed and its rows are written down, seconds.

    Raises:
        ValueError: the cookies file or the proxy of the recipe cannot be used.
        StorageError, OSError: the tars cannot be written.
        Unwritable: storage, or the folder for temporary files, is full; finished rows are written down where that can be done.
    """
    began, options = time.monotonic(), videos.options
    earlier = {} if force or previous is None else rows_with_media(previous.to_pylist(), storage)
    adopted = {} if force else adoptable(rows_of_killed_runs(storage, folder), videos.forgotten)
    finished: list[Row] = []
    requests: list[VideoRequest] = []
    counts: Counter[str] = Counter()
    for planned in plan_fetches(videos, earlier, adopted):
        if isinstance(planned, VideoRequest):
            requests.append(planned)
        else:
            finished.append(planned.row)
            counts["adopted" if planned.adopted else "kept"] += planned.row["status"] != "rejected"

    tars = CheckpointedTars(storage, folder, options.tar_bytes, checkpoint_s)
    tally = Counter(r["status"] for r in finished)

    def report() -> None:
        if progress:
            progress(
                FetchProgress(sum(tally.values()), videos.metadata.num_rows, tally["ok"], tally["failed"], tars.bytes)
            )

    report()
    scratch = VideoFolders()
    try:
        with Downloader(
            _download_options(options), [brought(DOWNLOADERS, n) for n in sorted(named(DOWNLOADERS))]
        ) as downloader:
            fetcher = VideoFetcher(options, storage, downloader, scratch, videos.forgotten)
            results = run_bounded(requests, fetcher.fetch, _host, options.concurrency, options.per_host)
            try:
                for request, done in results:
                    row = tars.add(done, request.metadata)
                    scratch.clear(request.video_id)
                    finished.append(row)
                    tally[row["status"]] += 1
                    counts["kept" if done.kept else "fetched"] += 1
                    report()
            except BaseException as error:
                downloader.close()  # first, so that closing `results` does not wait for downloads under way
                if isinstance(error, Unwritable):  # the disk that is full may be another than the tars'
                    with contextlib.suppress(OSError, StorageError):
                        tars.checkpoint()
                raise
            finally:
                results.close()
            tars.checkpoint()
            table = table_of_rows(finished)
            thumbnails = _thumbnails(finished, fetcher)
    finally:
        scratch.close()
    own = sorted({r["tar"] for r in finished if r["tar"] and r["etag"] is None})
    return RawShard(table, tuple(own), _stats(finished, counts, tars.bytes, time.monotonic() - began), thumbnails)


def _stats(rows: Sequence[Row], counts: Mapping[str, int], fetched_bytes: int, seconds: float) -> RawStats:
    status = Counter(r["status"] for r in rows)
    ok = [r for r in rows if r["status"] == "ok"]
    return RawStats(
        rows=len(rows),
        ok=status["ok"],
        failed=status["failed"],
        rejected=status["rejected"],
        by_class=dict(sorted(Counter(r["error_class"] or "ok" for r in rows).items())),
        kept=counts.get("kept", 0),
        adopted=counts.get("adopted", 0),
        fetched=counts.get("fetched", 0),
        bytes=sum(r["size"] or 0 for r in ok),
        fetched_bytes=fetched_bytes,
        video_s=sum(r["duration_ms"] or 0 for r in ok) / 1000,
        seconds=seconds,
    )


def _thumbnails(rows: Sequence[Row], fetcher: VideoFetcher) -> tuple[tuple[str, bytes], ...]:
    """Small pictures of the first ok videos; those of kept rows are made now, and one that cannot be made is left out."""
    pictures = []
    for row in sorted((r for r in rows if r["status"] == "ok"), key=lambda r: r["video_id"])[:THUMBNAILS]:
        picture = fetcher.thumbnails.get(row["video_id"], b"")
        if not picture:
            with (
                contextlib.suppress(DownloadError, StorageError, OSError),
                fetcher.open_reference(MediaRef(row["tar"], row["offset"], row["size"])) as stream,
            ):
                picture = probe(stream, thorough=False, thumbnail=True).thumbnail
        if picture:
            pictures.append((row["video_id"], picture))
    return tuple(pictures)
