"""One pass over one video: what `clips`, `frames`, `motion_scores`, `quality_scores` and `clip_fingerprints` say of it."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

import cv2

from curation_assets.decode.clip_rows import clip_rows
from curation_assets.decode.clip_spans import ClipSpan, GivenSpan, RejectedSpan, SubtitleCue, clip_spans
from curation_assets.decode.clips import Clips
from curation_assets.decode.frames import Frames
from curation_assets.decode.lone_clips import Meters, look_again
from curation_assets.decode.measures.fingerprints import Fingerprinter
from curation_assets.decode.measures.motion import MotionMeter
from curation_assets.decode.measures.quality import QualityMeter
from curation_assets.decode.motion_scores import Motion
from curation_assets.decode.quality_scores import Quality
from curation_assets.decode.reading.media import MediaError, OpenVideo, Source
from curation_assets.decode.reading.picture import AnalysisPicture
from curation_assets.decode.reading.reader import Decoding, Irregular, Shown, every_frame, reference_test, sparse_frames
from curation_assets.decode.reading.sampling import FrameSampler, JpegWriter
from curation_assets.decode.shots import CutList, ShotDetector, make_detector
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_resources.faults import Fault

Table = Literal["clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints"]
TABLES: tuple[Table, ...] = ("clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints")

JUMP, JUMP_FACTOR = 6.0, 2.0
"""Mean absolute difference of two consecutive small pictures, levels, from which a clip may begin there, if it is also so many times
the one before; a generous guess that decides only which frames are encoded ahead (see `sampling`)."""


STILL, STILL_MS = 0.25, 250
"""Mean absolute difference of tiny pictures, levels, below which a picture is not hashed again for so long."""


@dataclass(frozen=True)
class AnalysisParams:
    """The sections of a recipe that the pass depends on."""

    clips: Clips = field(default_factory=Clips)
    frames: Frames = field(default_factory=Frames)
    motion: Motion = field(default_factory=Motion)
    quality: Quality = field(default_factory=Quality)
    dedup: Dedup = field(default_factory=Dedup)


@dataclass(frozen=True)
class VideoFacts:
    """What is known of a video before it is decoded.

    Attributes:
        dataset, video_id: keys of its rows.
        sha256: of its bytes, if known.
        spans: given by the source.
        cues: its subtitles.
    """

    dataset: str
    video_id: str
    sha256: str | None = None
    spans: Sequence[GivenSpan] = ()
    cues: Sequence[SubtitleCue] = ()


@dataclass
class VideoStats:
    """What a video cost.

    Attributes:
        video_id: which.
        frames: shown; `decoded` of them by the first and `decoded_again` by the second decoder, `blended` by none.
        seconds: of video.
        cpu_s, wall_s: of the pass.
        network_frames: pictures that the shot network was asked about.
        fetched: sampled frames that were got by seeking.
        looked_again: frames got by seeking for clips between the points of the measuring grids.
        clips: number of clips.
        warnings: what was out of the ordinary.
    """

    video_id: str
    frames: int = 0
    decoded: int = 0
    decoded_again: int = 0
    blended: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    network_frames: int = 0
    fetched: int = 0
    looked_again: int = 0
    clips: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass
class VideoAnalysis:
    """The rows of one video.

    Attributes:
        rows: for each wanted table its rows, sorted by key. Rows of `frames` have `offset`, `size` and `sha256` of a JPEG in the spool
            file that the pass was handed, and no `tar` yet.
        stats: what it cost.
        error: why there are no clips, if the video could not be decoded.
        fault: set if that is no property of the video, so that it is to be tried again.
    """

    rows: dict[str, list[dict[str, Any]]]
    stats: VideoStats
    error: str | None = None
    fault: Fault | None = None


class _Consumers(Meters):
    """Everything that is fed from one decode of a video."""

    def __init__(self, params: AnalysisParams, wanted: frozenset[str], rate: float) -> None:
        detecting = params.clips.from_ in ("detect", "both")
        self.detector: ShotDetector | None = make_detector(params.clips, rate) if detecting else None
        # Detectors that read BGR are PySceneDetect's: their hue and edges change with the way to it.
        self.exact = params.clips.mode == "exact" or (self.detector is not None and self.detector.needs == "bgr")
        super().__init__(
            MotionMeter(params.motion) if "motion_scores" in wanted else None,
            QualityMeter(params.quality) if wanted & {"quality_scores", "clip_fingerprints"} else None,
            Fingerprinter(params.dedup) if "clip_fingerprints" in wanted else None,
        )
        self._params = params
        self.sampler: FrameSampler | None = None
        self.vectors = self.motion is not None and params.motion.estimator == "codec"
        self._jumps = _Jumps()
        self._still = _Still()
        self._reference_ms: int | None = None

    @property
    def every_frame(self) -> bool:
        """Whether no frame may be left out."""
        return self.exact or self.vectors or (self.detector is not None and self.detector.every_frame)

    def take(self, shown: Shown) -> None:
        """Hands a frame to all who want it."""
        picture, time_ms = shown.picture, shown.time_ms
        if self.detector is not None and self.detector.needs != "none":
            self.detector.push(shown.index, time_ms, picture)
        if shown.frame is None:
            return
        if self.motion is not None:
            self._move(self.motion, shown)
        if shown.faithful:
            if self.quality is not None and self.quality.wants(time_ms):
                self.quality.push(time_ms, picture)
            if self.prints is not None and self.prints.wants(time_ms) and not self._still.since_last(time_ms, picture):
                self.prints.push(time_ms, picture.luma)
        if self.sampler is not None:
            if self.detector is not None and self._jumps.at(self.detector.needs, shown):
                self.sampler.boundary(time_ms)
            self.sampler.push(shown)

    def missing(self, clip: ClipSpan) -> Meters:
        """New meters for what nothing was measured of within the clip; motion vectors cannot be had a second time."""
        span = clip.start_ms, clip.end_ms
        new = Meters()
        if self.motion is not None and not self.vectors and not self.motion.knows(*span):
            new.motion = MotionMeter(self._params.motion)
        if self.quality is not None and not self.quality.knows(*span):
            new.quality = QualityMeter(self._params.quality)
        if self.prints is not None and not self.prints.knows(*span):
            new.prints = Fingerprinter(self._params.dedup)
        return new

    def _move(self, motion: MotionMeter, shown: Shown) -> None:
        if not motion.wants(shown.time_ms):
            return
        if not self.vectors:
            motion.push(shown.time_ms, shown.picture.luma)
        elif shown.frame is not None:
            vectors = shown.frame.side_data.get("MOTION_VECTORS")
            if vectors is not None and self._reference_ms is not None and shown.time_ms > self._reference_ms:
                past_ms = shown.time_ms - self._reference_ms
                motion.push_vectors(shown.time_ms, vectors.to_ndarray(), shown.frame.width, shown.frame.height, past_ms)
        if shown.faithful:
            self._reference_ms = shown.time_ms


class _Still:
    """Tells pictures that do not differ from the last one that was taken, so that they need not be hashed."""

    def __init__(self) -> None:
        self._taken: Any = None
        self._taken_ms = 0

    def since_last(self, time_ms: int, picture: AnalysisPicture) -> bool:
        """Whether the picture is still that of the last time that this was False, less than `STILL_MS` ago."""
        tiny = picture.tiny_rgb
        recent = self._taken is not None and time_ms - self._taken_ms < STILL_MS
        if recent and cv2.norm(self._taken, tiny, cv2.NORM_L1) < STILL * tiny.size:
            return True
        self._taken, self._taken_ms = tiny, time_ms
        return False


class _Jumps:
    """Guesses where a shot may begin, from one decoded frame to the next."""

    def __init__(self) -> None:
        self._before: Any = None
        self._usual = 0.0

    def at(self, needs: str, shown: Shown) -> bool:
        """Whether the picture jumped before this frame; looks at the view that the detector has paid for."""
        picture, change = shown.picture, shown.change
        view = picture.bgr if needs == "bgr" else picture.tiny_rgb
        before, self._before = self._before, view
        if before is None or view is None or before.shape != view.shape:
            return False
        if change is None:
            change = cv2.norm(before, view, cv2.NORM_L1) / view.size
        usual, self._usual = self._usual, change
        return change > JUMP and change > JUMP_FACTOR * usual


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
    spans = clip_spans(cuts, params.clips, list(facts.spans), list(facts.cues), timeline)
    clips = [s for s in spans if isinstance(s, ClipSpan)]
    stats.clips = len(clips)
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in wanted}
    keys = {c: _keys(facts, c) for c in clips}
    if "clips" in wanted:
        rows["clips"] = clip_rows(spans, [_keys(facts, s) for s in spans], found, cuts)
    if consumers.sampler is not None:
        stats.fetched = consumers.sampler.fetch(source, found, [(c.start_ms, c.end_ms) for c in clips])
        rows["frames"] = _frame_rows(keys, consumers.sampler, spool)
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
) -> tuple[Decoding, _Consumers]:
    """One pass over the video; the consumers have seen all of it afterwards."""
    found = Decoding()
    with OpenVideo(source, deinterlace=params.clips.interlaced == "deinterlace") as video:
        consumers = _Consumers(params, wanted, float(video.rate))
        try:
            for shown in _frames(video, found, consumers, sparse=sparse):
                if shown.index == 0 and "frames" in wanted:
                    writer = JpegWriter(params.frames, spool)
                    planned = [] if consumers.detector is not None else _planned(facts, video)
                    shortest = round(params.clips.min_s * 1000)
                    consumers.sampler = FrameSampler(params.frames, writer, shortest_ms=shortest, planned=planned)
                consumers.take(shown)
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


def _frames(video: OpenVideo, found: Decoding, consumers: _Consumers, *, sparse: bool) -> Iterator[Shown]:
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
    keys: Mapping[ClipSpan, dict[str, Any]], sampler: FrameSampler, spool: BinaryIO
) -> list[dict[str, Any]]:
    """Rows of `frames` with offsets in the spool; clips that overlap share their samples."""
    digests: dict[int, str] = {}
    rows = []
    for clip, key in keys.items():
        length_ms = max(1, clip.end_ms - clip.start_ms)
        for sample in sampler.choose(clip.start_frame, clip.end_frame):
            if sample.frame not in digests:
                spool.seek(sample.offset)
                digests[sample.frame] = hashlib.sha256(spool.read(sample.size)).hexdigest()
            rows.append(
                {
                    **key,
                    "time_ms": sample.time_ms,
                    "frame": sample.frame,
                    "position": (sample.time_ms - clip.start_ms) / length_ms,
                    "offset": sample.offset,
                    "size": sample.size,
                    "sha256": digests[sample.frame],
                    "width": sample.width,
                    "height": sample.height,
                }
            )
    return rows
