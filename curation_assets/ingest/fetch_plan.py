"""Which videos of a shard are asked for, and which rows of earlier runs still answer what is asked.

What belongs here: the decision for each line of the source. What does not: how a video is had (`fetch_attempt.py`), what a row says
(`fetch_rows.py`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation_assets.ingest.error_classes import TRANSIENT_ERRORS
from curation_assets.ingest.fetch_fingerprints import StoredVideo, failure_fingerprint, request_fingerprints
from curation_assets.ingest.fetch_rows import Row, refreshed_row, rejected_row, row_without_secret
from curation_assets.ingest.fetch_urls import MissingSecret, fetch_url
from curation_assets.ingest.forgotten import Forgotten
from curation_assets.ingest.raw_shards import Download
from curation_resources.downloader import local_path
from curation_resources.media import MediaRef
from curation_resources.urls import STORAGE_SCHEMES, scheme_of


@dataclass(frozen=True)
class ShardVideos:
    """The videos of a shard, and what is asked for of them.

    Attributes:
        metadata: `video_metadata` of the shard.
        options: the recipe's `download` section.
        allow_local: whether the source is one of files (folder, webdataset), so that local paths may be read.
        local_lists: whether the source is a list whose rows may name local files, if the list lies here itself.
        urls: video_id -> full URL, where the one in `metadata` has its secrets taken out (`fetch_urls.read_fetch_urls`).
        forgotten: the tombstones: nothing is kept of a video whose channel or whose bytes, which are known only once it was fetched, are theirs.
    """

    metadata: pa.Table
    options: Download
    allow_local: bool = False
    local_lists: bool = False
    urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    forgotten: Forgotten = field(default_factory=Forgotten)


@dataclass(frozen=True)
class FinishedRow:
    """A row for which nothing is to be fetched.

    Attributes:
        row: fits `raw_shards`.
        adopted: whether a run that was killed has made it.
    """

    row: Row
    adopted: bool = False


@dataclass(frozen=True)
class VideoRequest:
    """A video that is to be had, and what its row will be compared by.

    Attributes:
        metadata: its row of `video_metadata`.
        url: in full, with what is secret.
        extra: what its source says of it beyond the columns: references, files beside it.
        fingerprint: of what was asked for.
        refusal_fingerprint: of what was asked for and how.
        stored: where it lies, if it is in storage already.
        previous: its earlier row, if that is of the same request.
    """

    metadata: Row
    url: str = field(repr=False)
    extra: Mapping[str, Any]
    fingerprint: str
    refusal_fingerprint: str
    stored: StoredVideo | None
    previous: Row | None

    @property
    def video_id(self) -> str:
        """Whose row it will be."""
        return str(self.metadata["video_id"])

    @property
    def listed_only(self) -> bool:
        """Whether of a video that lies in storage only a list says so, and nobody has seen it; those of folders and tars were there when they were indexed."""
        return not self.extra.get("media")


def reference_of(metadata: Row, extra: Mapping[str, Any], allow_local: bool, local_lists: bool) -> MediaRef | None:
    """Where the video lies in storage, if it does.

    References in `extra` count only if the source is one of files, a local path only if that or a list that lies here itself names it.
    """
    media = extra.get("media")
    if allow_local and isinstance(media, Mapping) and media.get("tar"):
        return MediaRef(str(media["tar"]), media.get("offset"), media.get("size"), media.get("etag"))
    url = str(metadata["url"] or "")
    if scheme_of(url) in STORAGE_SCHEMES:
        return MediaRef(url)
    named_here = local_lists and os.path.isabs(url) and "://" not in str(metadata.get("source") or "://")
    path = local_path(url) if allow_local or named_here else None
    return MediaRef(str(Path(path).expanduser().absolute())) if path else None


def stored_video(metadata: Row, extra: Mapping[str, Any], videos: ShardVideos) -> StoredVideo | None:
    """Where the video lies in storage, if it does, and the sound beside it; that counts only if the source is one of files, and sound is asked for."""
    media = reference_of(metadata, extra, videos.allow_local, videos.local_lists)
    if media is None or not videos.allow_local or not isinstance(extra.get("media"), Mapping):
        return None if media is None else StoredVideo(media)
    said, made_by = extra.get("audio"), extra.get("made_by")
    sound = None
    if videos.options.audio and isinstance(said, Mapping) and said.get("tar"):
        sound = MediaRef(str(said["tar"]), said.get("offset"), said.get("size"), said.get("etag"))
    return StoredVideo(media, sound, str(made_by) if made_by else None)


def still_answers(row: Row | None, fingerprint: str, refusal: str) -> bool:
    """Whether a row of an earlier run still answers what is asked: it is ok, or its failure is one that stays."""
    if row is None:
        return False
    if row["status"] == "ok":
        return bool(row["row_fingerprint"] == fingerprint)
    asked = failure_fingerprint(refusal, row["error_class"])
    return bool(row["row_fingerprint"] == asked) and row["error_class"] not in TRANSIENT_ERRORS


def _is_looked_at(row: Row) -> bool:
    """Whether the row of a video that lies in storage is held against what is there now: a reference to it, and a file that was not there."""
    return bool(row["error_class"] == "gone" or (row["status"] == "ok" and row["etag"] is not None))


def same_request(row: Row | None, fingerprint: str, refusal: str) -> Row | None:
    """The earlier row if it is about the same request: its attempts count on, and its bytes may still be right."""
    if row is None or row["row_fingerprint"] not in (
        fingerprint,
        refusal,
        failure_fingerprint(refusal, row["error_class"]),
    ):
        return None
    return row


def plan_fetches(
    videos: ShardVideos, earlier: Mapping[str, Row], adopted: Mapping[str, Row]
) -> Iterator[FinishedRow | VideoRequest]:
    """For each video, by video_id: its row, or what is to be asked for.

    Args:
        videos: of the shard.
        earlier: video_id -> row of the table in force.
        adopted: video_id -> row that a killed run has made.
    """
    options = videos.options
    for metadata in videos.metadata.sort_by("video_id").to_pylist():
        if metadata["status"] != "ok":
            yield FinishedRow(rejected_row(metadata))
            continue
        try:
            extra = json.loads(metadata["extra"] or "{}")
        except ValueError:
            extra = {}
        extra = extra if isinstance(extra, dict) else {}
        stored = stored_video(metadata, extra, videos)
        url = str(metadata["url"] or "")
        missing = None
        if stored is None:
            try:
                url = fetch_url(url, videos.urls.get(metadata["video_id"]))
            except MissingSecret as error:
                missing = error
        prints = request_fingerprints(metadata, url, stored, options)
        before, left = earlier.get(metadata["video_id"]), adopted.get(metadata["video_id"])
        chosen = next((r for r in (before, left) if still_answers(r, *prints)), None)
        looked_at = stored is not None and chosen is not None and _is_looked_at(chosen)
        if chosen is not None and not looked_at:
            yield FinishedRow(refreshed_row(chosen, metadata), chosen is left)
        elif missing is not None:
            yield FinishedRow(row_without_secret(metadata, missing))
        else:
            previous = chosen or same_request(before, *prints) or same_request(left, *prints)
            named = extra if videos.allow_local else {}  # a list's own column of such a name is no reference
            yield VideoRequest(metadata, url, named, *prints, stored, previous)
