"""The rows of `raw_shards` by how a video fared: rejected, taken down, failed with a class, or there with what its page and its bytes say."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from curation_assets.ingest.fetch_urls import MissingSecret
from curation_assets.ingest.sources.video2dataset import origin_of, section_of, subtitles_of
from curation_assets.ingest.subtitles import parse_subtitles
from curation_assets.schemas import schema
from curation_resources.probe import Probe
from curation_resources.provenance import canonical_json
from curation_resources.urls import redact, redact_text
from curation_resources.video_info import clean_info

Row = dict[str, Any]


def blank_row(metadata: Row, fingerprint: str | None) -> Row:
    """A row of `raw_shards` with what the source says and nothing else.

    Args:
        metadata: the video's row of `video_metadata`.
        fingerprint: what the row will be compared by; None where no later run keeps it.
    """
    return {
        **dict.fromkeys(schema("raw_shards").names),
        "dataset": metadata["dataset"],
        "video_id": metadata["video_id"],
        "url": redact(metadata["url"]) if metadata["url"] else None,
        "title": metadata["title"],
        "licence": metadata["licence"],
        "attempts": 0,
        "row_fingerprint": fingerprint,
    }


def rejected_row(metadata: Row) -> Row:
    """The row of a source line that cannot be used."""
    removed = metadata["status"] == "removed"
    reason = metadata["error"] or ("the source no longer lists it" if removed else "the source's line cannot be used")
    error_class = "removed" if removed else "rejected"
    return {**blank_row(metadata, None), "status": "rejected", "error_class": error_class, "error": redact_text(reason)}


def taken_down_row(metadata: Row, why: str) -> Row:
    """The row of a video that tombstones refuse: that there is such a line in the source, and nothing of what it says."""
    said = {"title": None, "licence": None, "status": "rejected", "error_class": "removed"}
    return {**blank_row(metadata, None), **said, "error": why}


def row_without_secret(metadata: Row, error: MissingSecret) -> Row:
    """The row of a video whose URL cannot be fetched because its secret part is not at hand; it is tried again once it is."""
    return {**blank_row(metadata, None), "status": "failed", "error_class": "storage", "error": str(error)}


def probed_columns(found: Probe) -> Row:
    """The columns that the bytes themselves give: codecs, size in pixels, rate, duration in milliseconds."""
    return {k: v for k, v in dataclasses.asdict(found).items() if k not in ("thumbnail", "extension")}


def _page_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of the page, also where it is nested as video2dataset has it."""
    nested = info.get("yt_meta_dict")
    inner = nested.get("info") if isinstance(nested, Mapping) else None
    return {**(inner if isinstance(inner, Mapping) else {}), **info}


def described_columns(info: Mapping[str, Any], metadata: Row, keep_info: bool) -> Row:
    """The columns that an extractor's or a sidecar's information gives."""
    said = _page_of(info)

    def text(*keys: str) -> str | None:
        return next((redact_text(str(said[k]), 1000) for k in keys if said.get(k)), None)

    day = str(said.get("upload_date") or "")
    return {
        "title": text("title") or metadata["title"],
        "channel": text("channel", "uploader", "creator"),
        "upload_date": f"{day[:4]}-{day[4:6]}-{day[6:8]}" if len(day) == 8 and day.isdigit() else None,
        "licence": text("license", "licence") or metadata["licence"],
        "info": canonical_json(clean_info(info)) if keep_info and info else None,
    }


def sample_columns(info: Mapping[str, Any]) -> Row:
    """The columns that video2dataset's JSON gives besides: address, the section that a clip is, subtitles, each where it says so."""
    origin, section, cues = origin_of(info), section_of(info), subtitles_of(info)
    found: Row = {"page_url": origin} if origin else {}
    found |= {"section_start_ms": section[0]} if section else {}
    tracks = [{"language": name, "automatic": False, "encoding": None, "cues": own} for name, own in cues.items()]
    return found | ({"subtitles": tracks} if tracks else {})


def subtitle_track(language: str | None, automatic: bool, text: str, encoding: str | None = None) -> Row:
    """An element of `subtitles`: the cues of a WebVTT or SubRip text, with times in milliseconds.

    Args:
        language: its tag, if that is known.
        automatic: whether a machine made it.
        text: of the file.
        encoding: that was assumed for it; None if it says so itself.
    """
    return {
        "language": language,
        "automatic": automatic,
        "encoding": encoding,
        "cues": [dataclasses.asdict(c) for c in parse_subtitles(text)],
    }


def refreshed_row(row: Row, metadata: Row) -> Row:
    """A kept row with what the source says of it now, where no page says more."""
    info = _page_of(json.loads(row["info"])) if row.get("info") else {}
    kept = {name: row.get(name) for name in schema("raw_shards").names}
    if not info.get("title") and metadata["title"]:
        kept["title"] = metadata["title"]
    if not (info.get("license") or info.get("licence")) and metadata["licence"]:
        kept["licence"] = metadata["licence"]
    return kept


def table_of_rows(rows: Sequence[Row]) -> pa.Table:
    """The rows as a table of schema `raw_shards`, by video_id."""
    return pa.Table.from_pylist(sorted(rows, key=lambda r: r["video_id"]), schema=schema("raw_shards").arrow)
