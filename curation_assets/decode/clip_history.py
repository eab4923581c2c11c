"""What `curation explain` says of clips and their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow.dataset as ds

from curation_assets.contracts.telling import Row, Subject, Told
from curation_assets.ingest.source_words import span_of
from curation_assets.showing.telling import bytes_of, lines_of

NEAR_MS = 2000
"""Cuts so near to a clip's boundaries are shown."""


def in_time(rows: Iterable[Row]) -> list[Row]:
    """Rows by their start, those without one last."""
    return sorted(rows, key=lambda r: (r["start_ms"] is None, r["start_ms"] or 0))


def told_clips(subject: Subject) -> Iterator[Told]:
    """The clips of a video; of one clip its columns, the cuts near its boundaries, and what its source says of its span."""
    clips = in_time(subject.rows("clips"))
    if subject.clip is None:
        lines = [
            (r["clip_id"], f"{r['start_ms']} to {r['end_ms']} ms, {r['origin']}" if r["status"] == "ok" else r["error"])
            for r in clips
        ]
        if lines:
            yield "clips", lines
        return
    (clip,) = clips
    yield "clip", [*lines_of(clip, {"cut_list"}), *_near(subject, clip)]
    for row in subject.rows("video_metadata"):
        span = span_of(clip, row.get("spans"))
        if span is not None:
            yield "its span in the source", lines_of(span)


def _near(subject: Subject, clip: Row) -> Iterator[tuple[str, str]]:
    of_video = ds.field("video_id") == subject.video_id
    lists = subject.store.read("clips", subject.shard, filters=of_video)["cut_list"].to_pylist()
    cuts = sorted((c for cut_list in lists for c in cut_list or []), key=lambda c: c["time_ms"])
    for edge in ("start", "end"):
        for c in cuts:
            if clip[f"{edge}_ms"] is None or abs(c["time_ms"] - clip[f"{edge}_ms"]) > NEAR_MS:
                continue
            verdict = "a boundary" if c["accepted"] else "not taken"
            score = "" if c["score"] is None else f", score {c['score']:.3g}"
            said = f"{c['kind']} at {c['time_ms']} ms (frame {c['frame']}){score}: {verdict}"
            yield f"cut near the {edge}", said


def told_frames(subject: Subject) -> Iterator[Told]:
    """Where the pictures of a clip lie."""
    frames = sorted(subject.rows("frames"), key=lambda r: r["time_ms"]) if subject.clip else []
    if frames:
        yield "sampled frames", [(f"at {r['time_ms']} ms", bytes_of(subject.store, r)) for r in frames]
