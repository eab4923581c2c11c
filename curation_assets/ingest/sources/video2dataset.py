"""What video2dataset writes beside a video in its tars: address, subtitles, cuts, and the span of a clip (version 1.3, and the older ones of its layout).

A sample is a whole video, or one clip of a video; then `clips` holds its only span, in times of the whole video, and `clip_subtitles` its cues, in
such times too. Here all times are those of the sample's own file.

What belongs here: reading that JSON. What does not: where it comes from (`webdataset.py`), what is done with it (`media.py`, `fetch_rows.py` of the room).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from curation_assets.ingest.sources.times import Span, TimeError, is_missing, parse_span, parse_spans, parse_time
from curation_resources.urls import public_url

MADE_BY = "video2dataset"
_KEYS = frozenset({"key", "status", "error_message", "yt_meta_dict"})
_CLIP_KEY = re.compile(r".+_\d+")
"""Keys of clips: the video's key and the number of the clip."""


def is_sample(info: Mapping[str, Any]) -> bool:
    """Whether the JSON beside a video is video2dataset's; img2dataset's, which is much like it, has no `yt_meta_dict`."""
    return info.keys() >= _KEYS


def origin_of(info: Mapping[str, Any]) -> str | None:
    """The address that the video was fetched from, without secrets; None where that was a file, or is not said."""
    url = info.get("url")
    return public_url(url) if isinstance(url, str) and re.match(r"https?://", url) else None


def failure_of(info: Mapping[str, Any]) -> str | None:
    """Why video2dataset has no video of a sample."""
    said = info.get("error_message") or info.get("status")
    return str(said) if is_sample(info) and info.get("status") != "success" and said else None


def section_of(info: Mapping[str, Any]) -> tuple[int, int] | None:
    """Start and end, milliseconds of the whole video, of a sample that is one clip of it."""
    clips = info.get("clips")
    if not isinstance(clips, list) or len(clips) != 1 or not _CLIP_KEY.fullmatch(str(info.get("key"))):
        return None
    try:
        _, start, end = parse_span(clips[0])
    except TimeError:
        return None
    return start, end


def spans_of(info: Mapping[str, Any]) -> list[Span]:
    """The spans that the sample names within its own file: all of a clip, else the clips or the cuts of a whole video.

    Cuts are frames at the rate that video2dataset says; the end of one is the frame after its last.
    """
    section = section_of(info)
    if section is not None:
        return [(str(info["key"]), 0, section[1] - section[0])]
    try:
        if not is_missing(info.get("clips")) and info["clips"]:
            return parse_spans(info["clips"])
        cuts = info.get("cuts")
        rate = float(cuts["original_fps"]) if isinstance(cuts, Mapping) else 0.0
        if not rate > 0 or not isinstance(cuts, Mapping):
            return []
        frames = [(int(a), int(b)) for a, b in cuts["cuts_original_fps"]]
    except (TimeError, KeyError, TypeError, ValueError):
        return []
    return [(None, round(1000 * a / rate), round(1000 * b / rate)) for a, b in frames if b > a >= 0]


def caption_of(info: Mapping[str, Any], text: str | None) -> str | None:
    """The caption of a sample: its `txt`, but where that is a dict of lines as Python shows it, which captions that are subtitles come as, its words."""
    lines = info.get("clip_subtitles")
    said = lines[0].get("lines") if isinstance(lines, list) and lines and isinstance(lines[0], Mapping) else None
    if not isinstance(said, Mapping) or text != str(said):
        return text
    words = next(iter(said.values()), None)
    return " ".join(map(str, words)) if isinstance(words, list) else None


def subtitles_of(info: Mapping[str, Any]) -> dict[str | None, list[dict[str, Any]]]:
    """Language -> cues (`start_ms`, `end_ms`, `text`), in order of time; those of a clip are cut to it."""
    section = section_of(info)
    begin, length = (0, None) if section is None else (section[0], section[1] - section[0])
    found: dict[str | None, list[dict[str, Any]]] = {}
    for language, line, words in _lines(info, section is not None):
        try:
            start, end = parse_time(line.get("start")) - begin, parse_time(line.get("end")) - begin
        except TimeError:
            continue
        start, end = max(start, 0), end if length is None else min(end, length)
        text = " ".join(w for word in words for w in str(word).split())
        if text and end > start:
            found.setdefault(language, []).append({"start_ms": start, "end_ms": end, "text": text})
    return {language: sorted(cues, key=lambda c: (c["start_ms"], c["end_ms"])) for language, cues in found.items()}


def _lines(info: Mapping[str, Any], of_clip: bool) -> Iterator[tuple[str | None, Mapping[str, Any], list[Any]]]:
    """Language, line and words of each line."""
    lines = info.get("clip_subtitles")
    if of_clip and isinstance(lines, list):
        for line in (x for x in lines if isinstance(x, Mapping)):
            words = line.get("lines")
            for language, said in words.items() if isinstance(words, Mapping) else ():
                yield str(language), line, said if isinstance(said, list) else [said]
        return
    meta = info.get("yt_meta_dict")
    tracks = meta.get("subtitles") if isinstance(meta, Mapping) else None
    by_language: Mapping[Any, Any] = tracks if isinstance(tracks, Mapping) else {None: tracks}
    for language, lines in by_language.items():
        for line in lines if isinstance(lines, list) else ():
            if isinstance(line, Mapping):
                said = line.get("lines", line.get("line"))
                yield None if language is None else str(language), line, said if isinstance(said, list) else [said]
