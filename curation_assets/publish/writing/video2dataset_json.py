"""What a sample's JSON says under the names that video2dataset 1.3 has for it, so that readers of its tars find it.

`yt_meta_dict` has what the extractor says of the video, and of whole videos their subtitles; `clip_subtitles` has those of a clip, `clips` its span,
`cuts` the shots of its whole video; all times are those of the whole video. `requested` and `source_clip_id` say what the source asked for.

What belongs here: that form. What does not: reading it (`ingest/sources/video2dataset.py`), what every record says (`samples.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa

from curation_assets.ingest.sources.video2dataset import is_sample
from curation_assets.ingest.subtitle_tracks import track_of_each_language
from curation_assets.rules.language import SOURCE

CLIP_COLUMNS = (
    "video_id", "clip_id", "status", "origin", "requested_start_ms", "requested_end_ms", "source_clip_id", "fps", "end_frame", "cut_list", "shots",
)  # fmt: skip
"""What is read of `clips`."""


@dataclass(frozen=True)
class ShotsOfVideo:
    """The shots that were found in a video.

    Attributes:
        fps: frames per second.
        spans: first frame of each, and the one past its last.
    """

    fps: float
    spans: Sequence[tuple[int, int]]


def shots_of(clips: pa.Table, videos: Mapping[str, Mapping[str, Any]]) -> dict[str, ShotsOfVideo]:
    """video_id -> its shots, of the videos in which a detector looked for them.

    Where only clips of a video are known, its last frame is told by its duration and rate.

    Args:
        clips: rows of `clips`, with `CLIP_COLUMNS`.
        videos: video_id -> row of `raw_shards`.
    """
    found: dict[str, ShotsOfVideo] = {}
    ends: dict[str, int] = {}
    rows = clips.select(list(CLIP_COLUMNS)).to_pylist()
    for row in rows:
        if row["end_frame"] is not None:
            ends[row["video_id"]] = max(ends.get(row["video_id"], 0), row["end_frame"])
    for row in rows:
        video = videos.get(row["video_id"], {})
        if row["shots"] is not None and row["origin"] == "whole":
            found[row["video_id"]] = ShotsOfVideo(
                row["fps"], [(s["start_frame"], s["end_frame"]) for s in row["shots"]]
            )
        elif row["cut_list"] is not None and video.get("fps"):
            last = max(ends.get(row["video_id"], 0), round((video.get("duration_ms") or 0) * video["fps"] / 1000))
            edges = [0, *(c["frame"] for c in row["cut_list"] if c["accepted"]), last]
            found[row["video_id"]] = ShotsOfVideo(video["fps"], [(a, b) for a, b in pairwise(edges) if b > a])
    return found


@dataclass(frozen=True)
class ToldOfClip:
    """What the JSON of a sample is made from, beside its record.

    Attributes:
        clip: row of `clips`.
        video: row of `raw_shards`.
        shots: of its video, if they were looked for.
    """

    clip: Mapping[str, Any]
    video: Mapping[str, Any]
    shots: ShotsOfVideo | None


def video2dataset_json(
    record: Mapping[str, Any], told: ToldOfClip, public: Callable[[Any], Any] = lambda value: value
) -> dict[str, Any]:
    """`record` with video2dataset's fields; columns that the export chose stand at the top too, as its additional columns do.

    Args:
        public: takes local paths out of what is published.
    """
    clip, video = told.clip, told.video
    later = video.get("section_start_ms") or 0
    start, end = (record["export"][name] + later for name in ("start_ms", "end_ms"))
    whole = clip.get("origin") == "whole"
    said = {
        "url": record["source"].get("url"),
        "caption": record.get("text"),
        "status": "success",
        "error_message": None,
        "yt_meta_dict": {"info": public(_page(video.get("info")))},
        "source_clip_id": clip.get("source_clip_id"),
    }
    asked = [ms for name in ("start", "end") if (ms := clip.get(f"requested_{name}_ms")) is not None]
    if len(asked) == 2:
        said["requested"] = [(ms + later) / 1000 for ms in asked]
    tracks = track_of_each_language(video.get("subtitles") or ())
    cues = [(t["language"], c) for t in tracks for c in t["cues"] or ()]
    if whole:
        lines: dict[str, list[dict[str, Any]]] = {}
        for language, cue in cues:
            lines.setdefault(language or "und", []).append({**_times(cue, later), "lines": [cue["text"]]})
        said["yt_meta_dict"]["subtitles"] = lines
    else:
        said["clips"] = [[start / 1000, end / 1000]]
        said["clip_subtitles"] = list(_within(cues, start - later, end - later, later))
    if told.shots is not None:
        said["cuts"] = {"original_fps": told.shots.fps, "cuts_original_fps": [list(s) for s in told.shots.spans]}
    columns = {n.removeprefix(SOURCE): v for n, v in record.get("columns", {}).items()}
    return {**columns, **record, **said}


def _page(info: str | None) -> Any:
    """What the extractor says of a video; of a video that came in a tar of video2dataset, what it said there."""
    said = json.loads(info) if info else {}
    return (said.get("yt_meta_dict") or {}).get("info") or {} if isinstance(said, Mapping) and is_sample(said) else said


def _within(
    cues: Iterable[tuple[str | None, Mapping[str, Any]]], start: int, end: int, later: int
) -> Iterable[dict[str, Any]]:
    """The cues that are shown within a clip, in order of time."""
    shown = [(language, cue) for language, cue in cues if cue["start_ms"] < end and cue["end_ms"] > start]
    for language, cue in sorted(shown, key=lambda s: (s[1]["start_ms"], s[1]["end_ms"])):
        yield {**_times(cue, later), "lines": {language or "und": [cue["text"]]}}


def _times(cue: Mapping[str, Any], later: int) -> dict[str, str]:
    return {name: _clock(cue[f"{name}_ms"] + later) for name in ("start", "end")}


def _clock(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
