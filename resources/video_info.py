"""What an extractor or a sidecar file says of a video, made fit for a table: bounded, canonical and without secrets."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from curation_resources.provenance import canonical_json
from curation_resources.urls import is_secret_key, redact_text

INFO_BYTES = 64_000
"""Longest `info` of a row, bytes of JSON."""
LEVELS = 32
"""Of objects and lists within each other; what lies deeper is left out."""

_DROPPED = re.compile(
    r"""(?ix) ^(
        _.* | formats | requested_.* | automatic_captions | subtitles | thumbnails? | .*headers? | urls? | .*manifest_url | player_url
      | fragment.* | downloader_options | comments | entries | heatmap | storyboards? | epoch | file_?(name|path) | http_.* | protocol
      | quality | .*preference | autonumber | playlist.* | n_entries | original_url | available_at | hls_.* | section_.*
    )$"""
)


def _clean(value: Any, longest: int, levels: int = LEVELS) -> Any:
    """`value` as JSON without dropped keys and what lies deeper than `levels`, texts cut to `longest` characters and lists to 200 entries."""
    if not levels and isinstance(value, Mapping | list | tuple):
        return None
    if isinstance(value, Mapping):
        cleaned = {
            str(k): _clean(v, longest, levels - 1)
            for k, v in value.items()
            if not _DROPPED.match(str(k)) and not is_secret_key(str(k))
        }
        return {k: v for k, v in cleaned.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_clean(v, longest, levels - 1) for v in value[:200]]
    if isinstance(value, bool | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return redact_text(str(value), longest)


def clean_info(info: Mapping[str, Any], limit: int = INFO_BYTES) -> dict[str, Any]:
    """The part of `info` that is worth keeping for provenance.

    Format lists, media URLs, headers and secrets are left out and URLs within texts are redacted. Above `limit` bytes of JSON long
    texts are cut, and at last the largest entries go.
    """
    cleaned: dict[str, Any] = {}
    for longest in (20_000, 4_000, 500):
        cleaned = _clean(info, longest)
        if len(canonical_json(cleaned).encode()) <= limit:
            return cleaned
    for key in sorted(cleaned, key=lambda k: (-len(canonical_json(cleaned[k])), k)):
        del cleaned[key]
        if len(canonical_json(cleaned).encode()) <= limit:
            break
    return cleaned
