"""Which spans of a video become clips: from shot boundaries, given spans, both, subtitles, a stride, or the whole.

Spans are half-open in frames, [start_frame, end_frame). A clip starts when its first frame is shown and ends when the frame after its
last is shown, or with the video. A time between two frames is moved to the later one, so spans that touch in time touch in frames.

How the lengths of the recipe apply:

- detected scenes, after trimming: `min_s` and `max_s` hold for the clip itself;
- given spans and cues: they hold for what was asked for, after clamping to the video; the clip may differ by a frame;
- `whole` is one clip, whatever its length; `fixed` makes clips of `max_s`, the last one shorter but at least `min_s`.

`longer: split` makes equal pieces of at most `max_s`. Where equal pieces would be shorter than `min_s`, it takes as many pieces of
`max_s` as fit and leaves out the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypedDict

from curation_assets.decode.clips import Clips
from curation_assets.decode.reading.timeline import Timeline
from curation_assets.decode.shots.cuts import CutList

Joins = Callable[[Sequence[tuple[int, int]]], Sequence[bool]]
"""Shots in order, as frames -> for each but the first whether it continues the one before."""

Origin = Literal["detected", "given", "whole", "split", "fixed", "subtitles", "joined"]


class GivenSpan(TypedDict):
    """A span that the source asks for, as in `video_metadata.spans`. Null means unknown."""

    clip_id: str | None
    start_ms: int | None
    end_ms: int | None


class SubtitleCue(TypedDict):
    """A cue, as in `raw_shards.subtitles`."""

    start_ms: int
    end_ms: int
    text: str


@dataclass(frozen=True)
class ClipSpan:
    """A clip.

    Attributes:
        start_frame, end_frame: its frames in display order, end exclusive.
        start_ms, end_ms: when its first frame is shown, and when its last one ends.
        requested_start_ms, requested_end_ms: the scene, given span, cue or stride that it comes from, before trimming, clamping,
            splitting and snapping.
        origin: how the span was found; `split` for a piece of a longer one, `joined` for several neighbouring shots.
        request: position in the given spans or cues; None for other origins.
        source_clip_id: the given span's own id.
        text: the cue's text.
        shots: the shots that it consists of, first frame of each and one past its last; None where that was not asked for.
    """

    start_frame: int
    end_frame: int
    start_ms: int
    end_ms: int
    requested_start_ms: int
    requested_end_ms: int
    origin: Origin
    request: int | None = None
    source_clip_id: str | None = None
    text: str | None = None
    shots: tuple[tuple[int, int], ...] | None = None

    def clip_id(self, video_id: str) -> str:
        """`<video_id>_<start_ms>_<end_ms>`, which changes exactly when the bounds do."""
        return f"{video_id}_{self.start_ms}_{self.end_ms}"


@dataclass(frozen=True)
class RejectedSpan:
    """A given span, cue or video that gave no clip, or one that another row has.

    Attributes:
        reason: one sentence.
        number: counts the rejected spans of a video, from 0.
        requested_start_ms, requested_end_ms, request, source_clip_id, text: as in `ClipSpan`; None where the source does not say.
    """

    reason: str
    number: int
    requested_start_ms: int | None = None
    requested_end_ms: int | None = None
    request: int | None = None
    source_clip_id: str | None = None
    text: str | None = None

    def clip_id(self, video_id: str) -> str:
        """Id of its row, which no clip has."""
        return f"{video_id}_rejected_{self.number}"


@dataclass(frozen=True)
class _Request:
    """A given span or cue."""

    number: int
    start_ms: int | None
    end_ms: int | None
    origin: Origin
    source_clip_id: str | None = None
    text: str | None = None


class _Rejected(Exception):
    """A request that gives no clip; its message is the reason."""


def clip_spans(
    cuts: CutList | None,
    params: Clips,
    given: Sequence[GivenSpan],
    cues: Sequence[SubtitleCue],
    timeline: Timeline,
    joins: Joins | None = None,
) -> list[ClipSpan | RejectedSpan]:
    """The clips of a video, and what was asked for in vain.

    Args:
        cuts: shot boundaries; None (for origins other than `detect` and `both`) means none.
        params: the recipe's section.
        given: spans in any order, overlapping or beyond the end.
        cues: subtitle cues.
        timeline: presentation times of all frames.
        joins: says which shots continue the one before, for `stitch`.

    Returns:
        Clips in order of time, then rejected spans. Every given span, or cue, appears in at least one of them. No two clips have the
        same times. A video that gives nothing at all has one rejected span that says why.
    """
    rejected: list[RejectedSpan] = []

    def reject(reason: str, request: _Request | None = None) -> None:
        if request is None:
            rejected.append(RejectedSpan(reason, len(rejected), timeline.start_ms, timeline.end_ms))
        else:
            asked = request.start_ms, request.end_ms, request.number, request.source_clip_id, request.text
            rejected.append(RejectedSpan(reason, len(rejected), *asked))

    clips: dict[tuple[int, int], ClipSpan] = {}
    if not len(timeline):
        reject("the video has no frames")
    elif params.from_ in ("given", "both", "subtitles"):
        requests = _requests(params, given, cues)
        scenes = [(0, len(timeline))]
        if params.from_ == "both":
            scenes = [(scene.start, scene.end) for scene in _scenes(cuts, params, timeline)]
        for request in requests:
            try:
                for clip in _fulfil(request, scenes, params, timeline):
                    first = clips.setdefault((clip.start_ms, clip.end_ms), clip)
                    if first is not clip:
                        reject(f"gives the same clip {clip.start_ms}..{clip.end_ms} ms as {_name(first)}", request)
            except _Rejected as reason:
                reject(str(reason), request)
        if not requests:
            reject("there are no subtitles" if params.from_ == "subtitles" else "the source gives no spans")
    else:
        for clip in _unasked(cuts, params, timeline, joins):
            clips.setdefault((clip.start_ms, clip.end_ms), clip)
        if not clips:
            reject(_why_none(cuts, params, timeline))
    return [*sorted(clips.values(), key=lambda c: (c.start_ms, c.end_ms)), *rejected]


def _requests(params: Clips, given: Sequence[GivenSpan], cues: Sequence[SubtitleCue]) -> list[_Request]:
    if params.from_ == "subtitles":
        return [_Request(n, c["start_ms"], c["end_ms"], "subtitles", text=c["text"]) for n, c in enumerate(cues)]
    return [_Request(n, s["start_ms"], s["end_ms"], "given", s["clip_id"]) for n, s in enumerate(given)]


def _name(clip: ClipSpan) -> str:
    kind = "cue" if clip.text is not None else "given span"
    return f"{kind} {clip.source_clip_id or clip.request}"


def _unasked(cuts: CutList | None, params: Clips, timeline: Timeline, joins: Joins | None) -> Iterator[ClipSpan]:
    """Clips that nobody asked for: scenes, the whole video, or a stride."""
    if params.from_ == "whole":
        yield _clip(timeline, 0, len(timeline), timeline.start_ms, timeline.end_ms, "whole")
    elif params.from_ == "fixed":
        yield from _strides(params, timeline)
    elif params.shots > 1 or joins is not None:
        scenes = _scenes(cuts, params, timeline)
        continues = joins([(s.start, s.end) for s in scenes]) if joins is not None else [True] * (len(scenes) - 1)
        yield from _runs(scenes, [False, *continues], params, timeline)
    else:
        for scene in _scenes(cuts, params, timeline):
            found = timeline.time_of(scene.found_start), timeline.time_of(scene.found_end)
            for start, end in _pieces((scene.start, scene.end), params, timeline):
                origin: Origin = "detected" if (start, end) == (scene.start, scene.end) else "split"
                yield _clip(timeline, start, end, *found, origin)


def _runs(scenes: Sequence[_Scene], continues: Sequence[bool], params: Clips, timeline: Timeline) -> Iterator[ClipSpan]:
    """Runs of neighbouring shots: from the first on, as many as continue each other and `shots` and `max_s` allow. A shot that is longer by itself is divided
    as ever."""
    most = len(scenes) if params.shots == 1 else params.shots
    run: list[_Scene] = []
    for scene, joined in (*zip(scenes, continues, strict=False), (None, False)):
        if scene is not None and len(run) < most and (joined or not run):
            first = run[0] if run else scene
            if not run or timeline.time_of(scene.end) - timeline.time_of(first.start) <= 1000 * params.max_s:
                run.append(scene)
                continue
        yield from _run(run, params, timeline)
        run = [] if scene is None else [scene]


def _run(run: Sequence[_Scene], params: Clips, timeline: Timeline) -> Iterator[ClipSpan]:
    """The clip of a run of shots, or those of one shot that is too long; none if it is too short."""
    if not run:
        return
    start, end = run[0].start, run[-1].end
    found = timeline.time_of(run[0].found_start), timeline.time_of(run[-1].found_end)
    for a, b in _pieces((start, end), params, timeline):
        origin: Origin = "split" if (a, b) != (start, end) else "joined" if len(run) > 1 else "detected"
        shots = tuple((s.start, s.end) for s in run) if (a, b) == (start, end) else ((a, b),)
        yield replace(_clip(timeline, a, b, *found, origin), shots=shots)


def _strides(params: Clips, timeline: Timeline) -> Iterator[ClipSpan]:
    stride_ms = max(1.0, 1000 * (params.stride_s or params.max_s))
    length_ms = 1000 * params.max_s
    for n in range(math.ceil((timeline.end_ms - timeline.start_ms) / stride_ms)):
        asked_start = timeline.start_ms + round(n * stride_ms)
        asked_end = min(round(asked_start + length_ms), timeline.end_ms)
        if asked_end - asked_start < 1000 * params.min_s:
            continue
        start, end = timeline.frame_from(asked_start), timeline.frame_from(asked_end)
        if timeline.time_of(start) < timeline.time_of(end):
            yield _clip(timeline, start, end, asked_start, asked_end, "fixed")


@dataclass(frozen=True)
class _Scene:
    """A detected scene: the frames [start, end) that remain of [found_start, found_end) after trimming."""

    start: int
    end: int
    found_start: int
    found_end: int


def _scenes(cuts: CutList | None, params: Clips, timeline: Timeline) -> list[_Scene]:
    """Detected scenes, trimmed as the recipe says; empty ones are left out."""
    boundaries = [c for c in (cuts.accepted if cuts is not None else ()) if 0 < c.frame < len(timeline)]
    frames = [0, *(c.frame for c in boundaries), len(timeline)]
    starts, ends = frames[:-1], frames[1:]
    if params.transitions == "trim":
        starts = [0, *(max(c.frame, c.transition_end) for c in boundaries)]
        ends = [*(min(c.frame, c.transition_start) for c in boundaries), len(timeline)]
    scenes = []
    for start, end, (found_start, found_end) in zip(starts, ends, pairwise(frames), strict=True):
        if params.trim_start_s:
            start = timeline.frame_from(timeline.time_of(start) + round(1000 * params.trim_start_s))
        if params.trim_end_s:
            end = min(end, timeline.frame_from(timeline.time_of(end) - round(1000 * params.trim_end_s)))
        if start < end:
            scenes.append(_Scene(start, end, found_start, found_end))
    return scenes


def _fulfil(request: _Request, scenes: Sequence[tuple[int, int]], params: Clips, timeline: Timeline) -> list[ClipSpan]:
    """The clips of a given span or cue; raises `_Rejected` if there are none."""
    start_ms, end_ms = _clamped(request, timeline)
    start, end = timeline.frame_from(start_ms), timeline.frame_from(end_ms)
    if timeline.time_of(start) >= timeline.time_of(end):
        raise _Rejected(f"no frame begins between {start_ms} and {end_ms} ms")
    parts = [(max(a, start), min(b, end)) for a, b in scenes if max(a, start) < min(b, end)]
    whole = parts == [(start, end)]
    if not parts:
        raise _Rejected("nothing is left of it after trimming the scenes")
    clips, lengths_ms = [], []
    for part in parts:
        asked = (start_ms, end_ms) if whole else (timeline.time_of(part[0]), timeline.time_of(part[1]))
        lengths_ms.append(asked[1] - asked[0])
        for a, b in _pieces(part, params, timeline, lengths_ms[-1]):
            origin: Origin = request.origin if (a, b) == part else "split"
            clip = _clip(timeline, a, b, request.start_ms or 0, request.end_ms or 0, origin)
            clips.append(
                replace(clip, request=request.number, source_clip_id=request.source_clip_id, text=request.text)
            )
    if not clips:
        raise _Rejected(_length_reason(lengths_ms, params))
    return clips


def _clamped(request: _Request, timeline: Timeline) -> tuple[int, int]:
    start, end = request.start_ms, request.end_ms
    if start is None or end is None:
        raise _Rejected("its start or end is missing")
    if start > end:
        raise _Rejected(f"it ends at {end} ms before it starts at {start} ms")
    if start == end:
        raise _Rejected("its length is zero")
    if start >= timeline.end_ms:
        raise _Rejected(f"it starts at {start} ms, and the video ends at {timeline.end_ms} ms")
    if end <= timeline.start_ms:
        raise _Rejected(f"it ends at {end} ms, and the video starts at {timeline.start_ms} ms")
    return max(start, timeline.start_ms), min(end, timeline.end_ms)


def _pieces(
    span: tuple[int, int], params: Clips, timeline: Timeline, asked_ms: int | None = None
) -> list[tuple[int, int]]:
    """What becomes of a span in frames: itself, pieces of it, or nothing, as `min_s`, `max_s` and `longer` say.

    `asked_ms` is the length that decides; by default the span's own.
    """
    start, end = span
    start_ms, end_ms = timeline.time_of(start), timeline.time_of(end)
    length_ms = end_ms - start_ms if asked_ms is None else asked_ms
    min_ms, max_ms = 1000 * params.min_s, 1000 * params.max_s
    if length_ms < min_ms or end_ms <= start_ms:
        return []
    if length_ms <= max_ms:
        return [span]
    if params.longer == "drop":
        return []
    count = 1 if params.longer == "first" else math.ceil((end_ms - start_ms) / max_ms)
    if params.longer == "split":
        for pieces in (count, count + 1):
            equal = _divided(
                start, end, [start_ms + k * (end_ms - start_ms) / pieces for k in range(1, pieces)], timeline
            )
            if all(max(1, min_ms) <= length <= max_ms for length in _lengths(equal, timeline)):
                return equal
    return _full_pieces(start, end, count, params, timeline)


def _full_pieces(start: int, end: int, count: int, params: Clips, timeline: Timeline) -> list[tuple[int, int]]:
    """Up to `count` pieces of `max_s` from the start of a span, and the rest if it is long enough."""
    pieces: list[tuple[int, int]] = []
    while start < end and len(pieces) < count:
        limit = timeline.time_of(start) + math.floor(1000 * params.max_s)
        stop = end if timeline.end_ms <= limit else min(end, _last_from(timeline, limit))
        if stop <= start:
            start += 1
            continue
        if timeline.time_of(stop) - timeline.time_of(start) >= max(1, 1000 * params.min_s):
            pieces.append((start, stop))
        start = stop
    return pieces


def _last_from(timeline: Timeline, time_ms: int) -> int:
    """Last frame that is shown at or before `time_ms`, as an exclusive end."""
    return timeline.frame_at(time_ms)


def _divided(start: int, end: int, times_ms: Iterable[float], timeline: Timeline) -> list[tuple[int, int]]:
    edges = [start, *(timeline.frame_from(round(t)) for t in times_ms), end]
    return list(pairwise(edges))


def _lengths(spans: Iterable[tuple[int, int]], timeline: Timeline) -> list[int]:
    return [timeline.time_of(b) - timeline.time_of(a) for a, b in spans]


def _clip(timeline: Timeline, start: int, end: int, asked_start_ms: int, asked_end_ms: int, origin: Origin) -> ClipSpan:
    return ClipSpan(start, end, timeline.time_of(start), timeline.time_of(end), asked_start_ms, asked_end_ms, origin)


def _why_none(cuts: CutList | None, params: Clips, timeline: Timeline) -> str:
    if params.from_ == "whole":
        return "the video lasts no time"
    if params.from_ == "fixed":
        return _length_reason([timeline.end_ms - timeline.start_ms], params)
    lengths_ms = _lengths([(s.start, s.end) for s in _scenes(cuts, params, timeline)], timeline)
    return _length_reason(lengths_ms, params) if lengths_ms else "nothing is left of its scenes after trimming"


def _length_reason(lengths_ms: Sequence[int], params: Clips) -> str:
    """Why none of the scenes of these lengths makes a clip."""
    shortest, longest = (f"{length / 1000:g}" for length in (min(lengths_ms), max(lengths_ms)))
    allowed = f"clips may last {params.min_s:g} to {params.max_s:g} s"
    if len(lengths_ms) == 1:
        return f"it lasts {longest} s, and {allowed}"
    return f"its {len(lengths_ms)} scenes last {shortest} to {longest} s, and {allowed}"
