"""Clip spans: properties over random cuts, timelines and requests, and the cases that real lists of spans have."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.decode.clip_spans import ClipSpan, GivenSpan, RejectedSpan, SubtitleCue, clip_spans
from curation_assets.decode.clips import Clips
from curation_assets.decode.reading.timeline import Timeline
from curation_assets.decode.shots.cuts import Cut, CutList


def timeline(frames: int, step_ms: float = 40.0, start_ms: int = 0) -> Timeline:
    times = start_ms + np.floor(np.arange(frames + 1) * step_ms).astype(np.int64)
    return Timeline(times[:-1], int(times[-1]), 1000 / step_ms)


def cut_list(*frames: int) -> CutList:
    return CutList(tuple(Cut(f, 0, 1.0, "cut", True, f, f) for f in sorted(frames)), "test")


def params(**values: object) -> Clips:
    return Clips.model_validate({"min_s": 0, "max_s": 1000, **values})


def span(start: int | None, end: int | None, name: str | None = None) -> GivenSpan:
    return {"clip_id": name, "start_ms": start, "end_ms": end}


def clips_of(rows: list[ClipSpan | RejectedSpan]) -> list[ClipSpan]:
    return [r for r in rows if isinstance(r, ClipSpan)]


def rejected_of(rows: list[ClipSpan | RejectedSpan]) -> list[RejectedSpan]:
    return [r for r in rows if isinstance(r, RejectedSpan)]


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """Constant and variable frame rates, with a start that need not be zero."""
    steps = draw(st.lists(st.integers(1, 900), min_size=1, max_size=60))
    times = draw(st.integers(0, 3000)) + np.cumsum([0, *steps])
    return Timeline(times[:-1].astype(np.int64), int(times[-1]), 1000 * len(steps) / float(times[-1] - times[0]))


SECONDS = st.integers(0, 80).map(lambda tenth: tenth / 10)


@given(
    timelines(), st.lists(st.integers(0, 70)), SECONDS, SECONDS, st.sampled_from(["split", "first", "drop"]), SECONDS
)
@settings(max_examples=300)
def test_detected_clips_keep_lengths_and_never_overlap(
    line: Timeline, cuts: list[int], shortest: float, longest: float, longer: str, trim: float
) -> None:
    recipe = params(
        min_s=min(shortest, longest), max_s=max(shortest, longest, 0.1), longer=longer, trim_start_s=trim / 8
    )
    rows = clip_spans(cut_list(*set(cuts)), recipe, [], [], line)
    clips = clips_of(rows)
    assert rows, "a video never vanishes"
    assert all(a.end_frame <= b.start_frame for a, b in itertools.pairwise(clips))
    assert len({r.clip_id("v") for r in rows}) == len(rows)
    for clip in clips:
        assert 0 <= clip.start_frame < clip.end_frame <= len(line)
        assert (clip.start_ms, clip.end_ms) == (line.time_of(clip.start_frame), line.time_of(clip.end_frame))
        assert 1000 * recipe.min_s <= clip.end_ms - clip.start_ms <= 1000 * recipe.max_s + 1e-6
        assert not any(clip.start_frame < c < clip.end_frame for c in cuts), "a clip spans a boundary"


@given(timelines(), st.lists(st.integers(0, 70)))
@settings(max_examples=150)
def test_without_limits_the_clips_cover_the_video(line: Timeline, cuts: list[int]) -> None:
    clips = clips_of(clip_spans(cut_list(*set(cuts)), params(), [], [], line))
    assert clips[0].start_frame == 0
    assert clips[-1].end_frame == len(line)
    assert all(a.end_frame == b.start_frame and a.end_ms == b.start_ms for a, b in itertools.pairwise(clips))
    assert [c.start_frame for c in clips[1:]] == sorted({c for c in cuts if 0 < c < len(line)})


@given(
    timelines(),
    st.lists(st.tuples(st.integers(-500, 40_000), st.integers(-500, 40_000)), max_size=12),
    st.lists(st.integers(1, 60)),
    st.sampled_from(["given", "both"]),
    SECONDS,
)
@settings(max_examples=300)
def test_every_given_span_is_accounted_for(
    line: Timeline, wanted: list[tuple[int, int]], cuts: list[int], origin: str, longest: float
) -> None:
    recipe = params(**{"from": origin, "min_s": 0.2, "max_s": max(longest, 0.3)})
    rows = clip_spans(cut_list(*set(cuts)), recipe, [span(a, b) for a, b in wanted], [], line)
    expected: set[int | None] = set(range(len(wanted)))
    assert {r.request for r in rows} == (expected or {None})
    assert len({r.clip_id("v") for r in rows}) == len(rows)
    for clip in clips_of(rows):
        a, b = wanted[clip.request or 0]
        assert (clip.requested_start_ms, clip.requested_end_ms) == (a, b)
        assert a <= clip.start_ms < clip.end_ms <= line.end_ms
        assert line.times_ms[clip.end_frame - 1] < b, "no frame begins after the span"
        if origin == "both":
            assert not any(clip.start_frame < c < clip.end_frame for c in cuts)


def test_a_video_without_cuts_is_one_clip() -> None:
    assert clip_spans(cut_list(), params(), [], [], timeline(100)) == [ClipSpan(0, 100, 0, 4000, 0, 4000, "detected")]


def test_long_scenes_are_split_equally() -> None:
    clips = clips_of(clip_spans(cut_list(), params(min_s=2, max_s=10), [], [], timeline(25 * 25)))
    assert [c.origin for c in clips] == ["split"] * 3
    assert [c.end_frame - c.start_frame for c in clips] == [209, 208, 208]
    assert {c.requested_end_ms for c in clips} == {25_000}


def test_a_split_that_would_be_too_short_takes_full_pieces_and_leaves_the_rest() -> None:
    clips = clips_of(clip_spans(cut_list(), params(min_s=8, max_s=10), [], [], timeline(25 * 15)))
    assert [(c.start_ms, c.end_ms) for c in clips] == [(0, 10_000)]


@pytest.mark.parametrize(("longer", "expected"), [("first", [(0, 10_000)]), ("drop", [])])
def test_longer_scenes_first_and_drop(longer: str, expected: list[tuple[int, int]]) -> None:
    rows = clip_spans(cut_list(), params(max_s=10, longer=longer), [], [], timeline(25 * 25))
    assert [(c.start_ms, c.end_ms) for c in clips_of(rows)] == expected
    assert bool(rejected_of(rows)) == (not expected)


def test_trims_and_transitions() -> None:
    dissolve = CutList((Cut(50, 2000, 0.9, "dissolve", True, 45, 56), Cut(80, 3200, 0.2, "cut", False, 80, 80)), "test")
    trimmed = clips_of(clip_spans(dissolve, params(trim_start_s=0.4, trim_end_s=0.2), [], [], timeline(100)))
    assert [(c.start_frame, c.end_frame) for c in trimmed] == [(10, 45), (60, 95)]
    assert [(c.requested_start_ms, c.requested_end_ms) for c in trimmed] == [(0, 2000), (2000, 4000)]
    clean = clips_of(clip_spans(dissolve, params(transitions="trim"), [], [], timeline(100)))
    assert [(c.start_frame, c.end_frame) for c in clean] == [(0, 45), (56, 100)]


def test_neighbouring_shots_make_one_clip_that_names_them() -> None:
    cuts = cut_list(10, 25, 50, 60, 70, 95)
    run = clips_of(clip_spans(cuts, params(shots=3), [], [], timeline(100)))
    assert [(c.start_frame, c.end_frame, c.origin) for c in run] == [
        (0, 50, "joined"),
        (50, 95, "joined"),
        (95, 100, "detected"),
    ]
    assert [c.shots for c in run] == [((0, 10), (10, 25), (25, 50)), ((50, 60), (60, 70), (70, 95)), ((95, 100),)]
    short = clips_of(clip_spans(cuts, params(shots=9, max_s=1.0, min_s=0.3), [], [], timeline(100)))
    assert [(c.start_frame, c.end_frame, len(c.shots or ())) for c in short] == [
        (0, 25, 2),
        (25, 50, 1),
        (50, 70, 2),
        (70, 95, 1),
    ]
    assert (short[0].requested_start_ms, short[0].requested_end_ms) == (0, 1000)
    split = clips_of(clip_spans(cut_list(10), params(shots=2, max_s=2.0), [], [], timeline(100)))
    assert [(c.start_frame, c.end_frame, c.origin, c.shots) for c in split] == [
        (0, 10, "detected", ((0, 10),)),
        (10, 55, "split", ((10, 55),)),
        (55, 100, "split", ((55, 100),)),
    ]
    assert all(c.shots is None for c in clips_of(clip_spans(cuts, params(), [], [], timeline(100))))
    with pytest.raises(ValueError, match="`shots` is for `from: detect`"):
        params(shots=2, **{"from": "whole"})


@given(timelines(), st.lists(st.integers(0, 70)), SECONDS, SECONDS, st.integers(2, 5))
@settings(max_examples=60)
def test_runs_of_shots_are_in_order_within_bounds_and_lose_no_shot_that_is_long_enough(
    line: Timeline, cuts: list[int], shortest: float, longest: float, most: int
) -> None:
    shortest, longest = min(shortest, longest), max(shortest, longest, 0.1)
    found = clips_of(clip_spans(cut_list(*set(cuts)), params(shots=most, min_s=shortest, max_s=longest), [], [], line))
    for a, b in itertools.pairwise(found):
        assert a.end_frame <= b.start_frame
    for clip in found:
        assert clip.shots is not None
        assert 1 <= len(clip.shots) <= most
        assert (clip.shots[0][0], clip.shots[-1][1]) == (clip.start_frame, clip.end_frame)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(clip.shots))
        assert len(clip.shots) == 1 or clip.end_ms - clip.start_ms <= 1000 * longest
    if shortest == 0 and longest > 1:  # no frame is shown for longer
        assert sum(c.end_frame - c.start_frame for c in found) == len(line)


def test_awkward_given_spans_are_clamped_or_rejected_with_a_reason() -> None:
    wanted = [
        span(3000, 9000, "late end"),
        span(-500, 1000, "early start"),
        span(2000, 2000, "empty"),
        span(2500, 1500, "inverted"),
        span(4000, 5000, "beyond"),
        span(None, 1000, "unknown"),
        span(3010, 3030, "between frames"),
        span(2990, 4000, "twin"),
        span(1000, 1500, "short"),
    ]
    rows = clip_spans(None, params(**{"from": "given", "min_s": 0.6}), wanted, [], timeline(100))
    assert [(c.source_clip_id, c.start_ms, c.end_ms) for c in clips_of(rows)] == [
        ("early start", 0, 1000),
        ("late end", 3000, 4000),
    ]
    reasons = {r.source_clip_id: r.reason for r in rejected_of(rows)}
    assert reasons == {
        "empty": "its length is zero",
        "inverted": "it ends at 1500 ms before it starts at 2500 ms",
        "beyond": "it starts at 4000 ms, and the video ends at 4000 ms",
        "unknown": "its start or end is missing",
        "between frames": "no frame begins between 3010 and 3030 ms",
        "twin": "gives the same clip 3000..4000 ms as given span late end",
        "short": "it lasts 0.5 s, and clips may last 0.6 to 1000 s",
    }


def test_both_cuts_given_spans_at_detected_boundaries() -> None:
    rows = clip_spans(
        cut_list(30, 60), params(**{"from": "both"}), [span(800, 2000, "a"), span(1200, 2400, "b")], [], timeline(100)
    )
    assert [(c.source_clip_id, c.start_frame, c.end_frame) for c in clips_of(rows)] == [
        ("a", 20, 30),
        ("a", 30, 50),
        ("b", 30, 60),
    ]


def test_subtitles_whole_and_fixed() -> None:
    line = timeline(250)
    cue: SubtitleCue = {"start_ms": 1000, "end_ms": 3000, "text": "hello"}
    (clip,) = clips_of(clip_spans(None, params(**{"from": "subtitles"}), [], [cue], line))
    assert (clip.start_ms, clip.end_ms, clip.text, clip.origin) == (1000, 3000, "hello", "subtitles")
    (whole,) = clips_of(clip_spans(None, params(**{"from": "whole", "max_s": 2}), [], [], line))
    assert (whole.start_frame, whole.end_frame, whole.origin) == (0, 250, "whole")
    fixed = clips_of(clip_spans(None, params(**{"from": "fixed", "max_s": 4, "min_s": 2, "stride_s": 3}), [], [], line))
    assert [(c.start_ms, c.end_ms) for c in fixed] == [(0, 4000), (3000, 7000), (6000, 10_000)]


@pytest.mark.parametrize("origin", ["given", "both", "subtitles"])
def test_nothing_asked_for_is_said(origin: str) -> None:
    (row,) = clip_spans(cut_list(), params(**{"from": origin}), [], [], timeline(10))
    assert isinstance(row, RejectedSpan)
    assert row.reason.startswith(("the source gives no", "there are no subtitles"))


def test_a_video_whose_scenes_are_all_too_short_says_so() -> None:
    (row,) = clip_spans(cut_list(20, 50), params(min_s=2), [], [], timeline(75))
    assert isinstance(row, RejectedSpan)
    assert row.reason == "its 3 scenes last 0.8 to 1.2 s, and clips may last 2 to 1000 s"
