"""One pass over one video: what `clips`, `frames`, `motion_scores`, `quality_scores` and `clip_fingerprints` say of it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from curation_assets.decode.analysis_results import TABLES, AnalysisParams, VideoAnalysis, VideoFacts, VideoStats
from curation_assets.decode.clip_rows import clip_rows
from curation_assets.decode.clip_spans import ClipSpan, RejectedSpan, clip_spans
from curation_assets.decode.frame_meters import FrameMeters
from curation_assets.decode.lone_clips import look_again
from curation_assets.decode.reading.media import MediaError, OpenVideo, Source
from curation_assets.decode.reading.reader import every_frame
from curation_assets.decode.reading.reference_frames import reference_test
from curation_assets.decode.reading.sampling import EncodedFrame, FrameSampler, JpegWriter
from curation_assets.decode.reading.shown_frames import Decoding, Irregular, ShownFrame
from curation_assets.decode.reading.sparse_reader import sparse_frames
from curation_assets.decode.shots import CutList, ShotDetector
from curation_assets.decode.stitching import joins_of
from curation_resources.model_input import ModelInput


def analyse_video(
    source: Source, params: AnalysisParams, facts: VideoFacts, wanted: Iterable[str], spool: BinaryIO
) -> VideoAnalysis:
    """Decodes a video once and makes its rows of the `wanted` tables.

    Args:
        source: path or seekable binary stream.
        params: sections of the recipe.
        facts: what is known already.
        wanted: names out of `TABLES`.
        spool: file open for reading and writing to which the JPEGs of sampled frames are appended.

    Returns:
        The rows. A video that cannot be decoded has one row of `clips`, with status `failed` and the reason.
    """
    tables = frozenset(wanted)
    if unknown := tables - set(TABLES):
        raise ValueError(f"unknown tables {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    stats = VideoStats(facts.video_id)
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        rows = _analyse(source, params, facts, tables, spool, stats)
        error = None
    except MediaError as problem:
        error = f"{facts.video_id}: {problem}"
        rows = failed_rows(facts, tables, error)
    stats.cpu_s, stats.wall_s = time.process_time() - cpu, time.perf_counter() - wall
    return VideoAnalysis(rows, stats, error)


def failed_rows(facts: VideoFacts, tables: Iterable[str], error: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of a video that has no clips because something went wrong: one of `clips`, none of the others."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in tables}
    if "clips" in rows:
        rows["clips"].append(
            {
                "dataset": facts.dataset,
                "video_id": facts.video_id,
                "clip_id": f"{facts.video_id}_failed",
                "status": "failed",
                "error": error,
            }
        )
    return rows


def _analyse(
    source: Source,
    params: AnalysisParams,
    facts: VideoFacts,
    wanted: frozenset[str],
    spool: BinaryIO,
    stats: VideoStats,
) -> dict[str, list[dict[str, Any]]]:
    begin = spool.seek(0, os.SEEK_END)
    try:
        found, consumers = _decode(source, params, facts, wanted, spool, stats, sparse=True)
    except Irregular as irregular:
        stats.warnings.append(f"decoded in full: {irregular}")
        spool.seek(begin)
        spool.truncate()
        found, consumers = _decode(source, params, facts, wanted, spool, stats, sparse=False)
    timeline = found.timeline
    if timeline is None or not len(timeline):
        raise MediaError("no frame could be decoded" + (f": {stats.warnings[-1]}" if stats.warnings else ""))
    stats.frames, stats.seconds = len(timeline), (timeline.end_ms - timeline.start_ms) / 1000
    stats.decoded += found.decoded
    stats.decoded_again, stats.blended = found.decoded_again, found.blended
    cuts = _cuts(consumers.detector, stats)
    joins = None
    if params.clips.stitch is not None and params.stitching is not None:
        joins = joins_of(source, found, params.clips.stitch, params.stitching)
    spans = clip_spans(cuts, params.clips, list(facts.spans), list(facts.cues), timeline, joins)
    clips = [s for s in spans if isinstance(s, ClipSpan)]
    stats.clips = len(clips)
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in wanted}
    keys = {c: _keys(facts, c) for c in clips}
    if "clips" in wanted:
        rows["clips"] = clip_rows(spans, [_keys(facts, s) for s in spans], found, cuts)
    if consumers.sampler is not None:
        stats.fetched = consumers.sampler.fetch(source, found, [(c.start_ms, c.end_ms) for c in clips])
        rows["frames"] = _frame_rows(keys, consumers.sampler, params.inputs, spool)
    lone = {c: meters for c in clips if (meters := consumers.missing(c)).any}
    stats.looked_again = look_again(source, found, lone)
    for c in clips:
        span, own = (c.start_ms, c.end_ms), lone.get(c, consumers)
        motion, quality, prints = (
            own.motion or consumers.motion,
            own.quality or consumers.quality,
            own.prints or consumers.prints,
        )
        scores = quality.scores(*span, timeline.times_ms[c.start_frame : c.end_frame]) if quality is not None else None
        if motion is not None:
            rows["motion_scores"].append({**keys[c], **motion.scores(*span)})
        if "quality_scores" in wanted and scores is not None:
            rows["quality_scores"].append({**keys[c], **scores})
        if prints is not None and scores is not None:
            rows["clip_fingerprints"].append(
                {
                    **keys[c],
                    **prints.rows(*span, _box(scores["crop"])),
                    "height": found.display_at(c.start_frame).size[1],
                    "duration_ms": c.end_ms - c.start_ms,
                    "quality": scores["sharpness"],
                    "video_sha256": facts.sha256,
                    "start_ms": c.start_ms,
                }
            )
    return rows


def _decode(
    source: Source,
    params: AnalysisParams,
    facts: VideoFacts,
    wanted: frozenset[str],
    spool: BinaryIO,
    stats: VideoStats,
    *,
    sparse: bool,
) -> tuple[Decoding, FrameMeters]:
    """One pass over the video; the consumers have seen all of it afterwards."""
    found = Decoding()
    with OpenVideo(source, deinterlace=params.clips.interlaced == "deinterlace") as video:
        consumers = FrameMeters(params, wanted, float(video.rate))
        try:
            for shown in _frames(video, found, consumers, sparse=sparse):
                if shown.index == 0 and "frames" in wanted:
                    writer = JpegWriter(params.frames, spool, params.inputs)
                    cut = params.clips.from_ in ("detect", "both")
                    planned = [] if cut else _planned(facts, video)
                    shortest = round(params.clips.min_s * 1000)
                    consumers.sampler = FrameSampler(params.frames, writer, shortest_ms=shortest, planned=planned)
                consumers.take(shown)
            consumers.measure()
        except Irregular:
            stats.decoded += found.decoded
            raise
        if video.errors:
            stats.warnings.append(f"{video.errors} damaged packets: {video.error}")
    if found.timeline is not None and (lost := found.losses.between(0, len(found.timeline))):
        stats.warnings.append(f"{lost} frames are lost")
    if consumers.sampler is not None and found.timeline is not None:
        consumers.sampler.finish(found.timeline.end_ms)
    return found, consumers


def _frames(video: OpenVideo, found: Decoding, consumers: FrameMeters, *, sparse: bool) -> Iterator[ShownFrame]:
    if sparse and not consumers.every_frame and reference_test(video.context) is not None:
        return sparse_frames(video, found)
    return every_frame(video, found, exact=consumers.exact, vectors=consumers.vectors)


def _planned(facts: VideoFacts, video: OpenVideo) -> list[tuple[int, int]]:
    """Spans that probably become clips: those given, those of the cues, and the whole video."""
    whole = [(0, round(video.container.duration / 1000))] if video.container.duration else []
    spans = [(s["start_ms"], s["end_ms"]) for s in facts.spans] + [(c["start_ms"], c["end_ms"]) for c in facts.cues]
    return [(a, b) for a, b in spans + whole if a is not None and b is not None and b > a]


def _cuts(detector: ShotDetector | None, stats: VideoStats) -> CutList | None:
    if detector is None:
        return None
    cuts = detector.finish()
    stats.network_frames = int(cuts.stats.get("network_frames", 0))
    return cuts


def _box(crop: Mapping[str, float] | None) -> tuple[float, float, float, float] | None:
    return (crop["x"], crop["y"], crop["w"], crop["h"]) if crop is not None else None


def _keys(facts: VideoFacts, span: ClipSpan | RejectedSpan) -> dict[str, Any]:
    return {"dataset": facts.dataset, "video_id": facts.video_id, "clip_id": span.clip_id(facts.video_id)}


def _frame_rows(
    keys: Mapping[ClipSpan, dict[str, Any]], sampler: FrameSampler, inputs: Sequence[ModelInput], spool: BinaryIO
) -> list[dict[str, Any]]:
    """Rows of `frames` with offsets in the spool; clips that overlap share their samples."""
    known: dict[int, dict[str, Any]] = {}
    rows = []
    for clip, key in keys.items():
        length_ms = max(1, clip.end_ms - clip.start_ms)
        for sample in sampler.choose(clip.start_frame, clip.end_frame):
            if sample.frame not in known:
                known[sample.frame] = _pictures(sample, inputs, spool)
            position = (sample.time_ms - clip.start_ms) / length_ms
            rows.append({**key, "time_ms": sample.time_ms, "position": position, **known[sample.frame]})
    return rows


def _pictures(sample: EncodedFrame, inputs: Sequence[ModelInput], spool: BinaryIO) -> dict[str, Any]:
    """What a row of `frames` says of a sample's JPEG in the spool, and of the pictures for models behind it."""
    spool.seek(sample.offset)
    row: dict[str, Any] = {
        "frame": sample.frame,
        "offset": sample.offset,
        "size": sample.size,
        "sha256": hashlib.sha256(spool.read(sample.size)).hexdigest(),
        "width": sample.width,
        "height": sample.height,
    }
    at, made = sample.size, []
    for one, size in zip(inputs, sample.inputs, strict=True):
        digest = hashlib.sha256(spool.read(size)).hexdigest()
        made.append({"fit": one.fit.name, "format": one.format, "offset": at, "size": size, "sha256": digest})
        at += size
    return {**row, "inputs": made or None}
