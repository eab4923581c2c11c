"""What the outcome of fetching a video is remembered by: what was asked for, and for failures also how it was asked."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from curation_assets.ingest.error_classes import REFUSED_BY_PROBE
from curation_assets.ingest.fetch_rows import Row
from curation_assets.ingest.raw_shards import Download
from curation_resources.media import MediaRef
from curation_resources.probe import VERSION as PROBE_VERSION
from curation_resources.provenance import canonical_json
from curation_resources.urls import redact

CODE_VERSION = "1"
"""Raised by hand when the same request would give another row."""


def digest_of(value: Any) -> str:
    """32 hexadecimal digits over a value that JSON can hold."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


def section_s(metadata: Row, options: Download) -> tuple[float, float] | None:
    """Start and end in seconds of the part that the given spans need, if only that is to be fetched; None where no span can be cut."""
    spans = metadata.get("spans") or []
    if not options.sections_only or not spans:
        return None
    start, end = max(0, min(s["start_ms"] for s in spans)), max(s["end_ms"] for s in spans)
    return (start / 1000, end / 1000) if end > start else None


@dataclass(frozen=True)
class StoredVideo:
    """A video that lies in storage already.

    Attributes:
        media: its bytes.
        sound: the file of sound beside it that is to be joined to it, if it has none itself.
        made_by: the tool that made the tar, where its JSON says more than others.
    """

    media: MediaRef
    sound: MediaRef | None = None
    made_by: str | None = None


def request_fingerprints(metadata: Row, url: str, stored: StoredVideo | None, options: Download) -> tuple[str, str]:
    """Two fingerprints of a request, of 32 digits: of what is asked for, and of what is asked for and how.

    An ok row is compared by the first, a failure by the second: it is asked again also when the way has changed.

    Signatures and tokens of a URL are part of the second only, so that a list that is signed anew does not fetch everything anew.
    """
    asked: dict[str, Any] = {"version": CODE_VERSION, "url": redact(str(metadata["url"] or ""))}
    reference = stored.media if stored is not None else None
    if stored is not None and stored.sound is not None:
        asked["sound"] = [redact(stored.sound.tar), stored.sound.offset, stored.sound.etag]
    if stored is not None and stored.made_by is not None:
        asked["made_by"] = stored.made_by
    if reference is not None:
        asked |= {"tar": redact(reference.tar), "offset": reference.offset, "store": options.store}
        asked["etag"] = (
            reference.etag if options.store == "copy" or (stored and stored.sound) else None
        )  # references are compared with what is there now
    else:
        asked |= options.model_dump(include={"height", "audio", "info"}) | {"section": section_s(metadata, options)}
        asked["subtitles"] = options.subtitles.model_dump() if options.subtitles else None
    way = options.model_dump(include={"max_bytes", "proxy", "cookies", "player_client"})
    if options.allow_private is False:
        way["allow_private"] = False
    etag = reference.etag if reference is not None else None
    return digest_of(asked), digest_of([asked, way, url, etag, _ytdlp_version()])


def failure_fingerprint(fingerprint: str, error_class: str | None) -> str:
    """What a failure of a class is remembered by, given the second of `request_fingerprints`.

    Media that were looked into are looked into once more by a `probe` that reads more than the one that refused them.
    """
    return digest_of([fingerprint, PROBE_VERSION]) if error_class in REFUSED_BY_PROBE else fingerprint


@lru_cache(maxsize=1)
def _ytdlp_version() -> str:
    """Part of what a failure is remembered by: a newer extractor may read what this one could not."""
    return version("yt-dlp")
