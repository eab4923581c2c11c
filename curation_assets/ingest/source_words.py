"""What the source says of a clip: the words of the given span that it comes from, and of its video where it comes from none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

Row = Mapping[str, Any]
SPAN_WORDS = "span_words"
"""Where the stats of a `video_metadata` table say of how many videos the source says something of spans; not there for none."""
WORDS = ("caption", "captions", "licence", "extra")


def has_words(spans: Sequence[Row] | None) -> bool:
    """Whether the source says something of any of the spans."""
    return any(span.get(name) is not None for span in spans or () for name in WORDS)


def span_of(clip: Row, spans: Sequence[Row] | None) -> Row | None:
    """The given span that a row of `clips` comes from; None if it comes from none.

    Rows that were made before `source_span` was kept are known by the times that were asked for: no two spans have the same.
    """
    place = clip.get("source_span")
    if spans and place is not None:
        return spans[place] if place < len(spans) else None
    if spans and clip.get("origin") in ("given", "split"):
        asked = clip.get("requested_start_ms"), clip.get("requested_end_ms")
        return next((s for s in spans if (s["start_ms"], s["end_ms"]) == asked), None)
    return None


def captions_of(row: Row) -> list[str]:
    """The captions of a span, or of a row of `video_metadata`."""
    return list(row.get("captions") or ([row["caption"]] if row.get("caption") else []))


def source_captions(clip: Row, video: Row) -> list[str]:
    """The captions that the source gives a clip: those of its span, else of its video.

    Where the source has captions for spans, a clip whose span has none has none: those of the video are about other spans.
    """
    spans = video.get("spans") or []
    span = span_of(clip, spans)
    if span is not None and any(s.get("caption") for s in spans):
        return captions_of(span)
    return captions_of(video)


def said_of(clip: Row, video: Row) -> dict[str, Any]:
    """What an exported record says of a clip's given span: `clip_id`, `start_ms`, `end_ms` and its words, `extra` as an object.

    Empty where the clip comes from no span, or the source says nothing of any.
    """
    spans = video.get("spans")
    span = span_of(clip, spans) if has_words(spans) else None
    if span is None:
        return {}
    said = {name: value for name, value in span.items() if value is not None}
    if "extra" in said:
        said["extra"] = json.loads(said["extra"])
    return said


def extras_of(clip: Row, video: Row) -> dict[str, Any]:
    """The columns of the source that are not mapped: those of the clip's span, and those of its video that the span does not have."""
    span = span_of(clip, video.get("spans"))
    extra: dict[str, Any] = {}
    for row in (video, span or {}):
        said = json.loads(row.get("extra") or "{}")
        extra |= said if isinstance(said, dict) else {}
    return extra


def licence_of(clip: Row, video: Row, otherwise: str | None) -> str | None:
    """The licence of the clip's span, else `otherwise`."""
    span = span_of(clip, video.get("spans"))
    return (span or {}).get("licence") or otherwise


def by_clip(clips: Iterable[Row], metadata: pa.Table) -> dict[str, dict[str, Any]]:
    """clip_id -> `said_of`, of the clips of which there is something to say."""
    videos = {row["video_id"]: row for row in metadata.select(["video_id", "spans"]).to_pylist()}
    said = {clip["clip_id"]: said_of(clip, videos.get(clip["video_id"], {})) for clip in clips}
    return {clip_id: words for clip_id, words in said.items() if words}
