"""Texts that are there already: what the source says of a clip, and what is said in it by the video's subtitles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from curation_assets.ingest.source_words import source_captions, span_of
from curation_assets.ingest.subtitle_tracks import best_track

MIN_OVERLAP_MS = 250
"""A cue belongs to a clip if they share so much time, or half of the shorter of the two."""


class SourceTexts:
    """What the source says of a clip: a caption of its span; else, unless there are captions for other spans, the video's caption, its title
    in the source, or that on the page."""

    def __init__(self, metadata: pa.Table, raw: pa.Table, several: str) -> None:
        self._several = several
        self._titles = dict(zip(raw["video_id"].to_pylist(), raw["title"].to_pylist(), strict=True))
        names = [n for n in ("video_id", "caption", "captions", "title", "spans") if n in metadata.column_names]
        self._videos = {row["video_id"]: row for row in metadata.select(names).to_pylist()}

    def of(self, clip: Mapping[str, Any]) -> str | None:
        """The text of a clip, a row of `clips`; None where the source says nothing of it."""
        video = self._videos.get(clip["video_id"], {})
        found = source_captions(clip, video)
        if found:
            return _chosen(found, self._several)
        if span_of(clip, video.get("spans")) is not None and any(s.get("caption") for s in video["spans"]):
            return None
        return video.get("title") or self._titles.get(clip["video_id"]) or None


def _chosen(captions: Sequence[str], several: str) -> str:
    """What becomes of several captions of one span."""
    if several == "join":
        return "\n\n".join(captions)
    return max(captions, key=len) if several == "longest" else captions[0]


def best_cues(raw: pa.Table, languages: Sequence[str]) -> dict[str, list[Mapping[str, Any]]]:
    """The cues of each video's best subtitle track."""
    chosen = {}
    for row in raw.select(["video_id", "subtitles"]).to_pylist():
        track = best_track(row["subtitles"] or [], languages)
        if track is not None:
            chosen[row["video_id"]] = track["cues"] or []
    return chosen


def clip_subtitles(clip: Mapping[str, Any], cues: Sequence[Mapping[str, Any]]) -> str:
    """What is said in a clip: the text of its own cue where the clip was made from one, else of the cues that overlap it.

    A cue that shares less than `MIN_OVERLAP_MS` with the clip, and less than half of the shorter of the two, belongs to the neighbour.
    """
    if clip.get("origin") == "subtitles" and clip.get("text"):
        return str(clip["text"])
    said: list[str] = []
    for cue in cues:
        shared = min(cue["end_ms"], clip["end_ms"]) - max(cue["start_ms"], clip["start_ms"])
        shorter = min(cue["end_ms"] - cue["start_ms"], clip["end_ms"] - clip["start_ms"])
        text = " ".join((cue["text"] or "").split())
        if shared > 0 and shared >= min(MIN_OVERLAP_MS, shorter / 2) and text:
            said.append(text)
    return " ".join(said)
