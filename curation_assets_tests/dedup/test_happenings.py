"""Clips that agree for a while, or wherever nothing happens, are other clips; and which of a pair is asked for first never matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.decode.measures.course import CELLS
from curation_assets.dedup.align import Altered
from curation_assets.dedup.courses import Course
from curation_assets.dedup.happenings import changes_alone, worst_time
from curation_assets.dedup.second_look import Verdict, verdict

WHOLE = (0.0, 0.0, 1.0, 1.0)
SPANS = 16
SIDE = 96
Pictures = NDArray[np.float32]


def _pictures(seed: int, spans: int = SPANS) -> Pictures:
    """Footage in motion, 96 x 96 a span."""
    rng = np.random.default_rng(seed)
    wide = cv2.resize(rng.uniform(30, 220, (6, 12)).astype(np.float32), (2 * SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.array([wide[:, 4 * k : 4 * k + SIDE] for k in range(spans)])


def _clip(pictures: Pictures, box: tuple[float, float, float, float] = WHOLE) -> Course:
    stored = np.asarray(pictures.clip(0, 255), np.uint8)
    cells = np.array([cv2.resize(p, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for p in stored])
    return Course(cells, 250 * len(stored), box, np.asarray(np.median(stored, axis=0), np.uint8))


def _after_intro(seed: int, spans: int, dim: float = 1.0) -> Course:
    """So many spans of one intro, other footage after it."""
    return _clip(np.concatenate([_pictures(1, spans), dim * _pictures(seed, SPANS - spans)]))


@pytest.mark.parametrize("dim", [1.0, 0.5, 0.2])
@pytest.mark.parametrize("spans", [6, 8, 10])
def test_an_intro_that_is_shared_makes_no_copies_also_where_what_follows_is_dim(spans: int, dim: float) -> None:
    """Spans of another contrast were taken for a fade and left out: half of the time, in which all is other."""
    for seed in range(2, 6):
        one, other = _after_intro(seed, spans), _after_intro(seed + 10, spans, dim)
        assert verdict(one, other, Altered.NOT, 1.0, 0) is Verdict.OTHER
        assert verdict(one, one, Altered.NOT, 1.0, 0) is Verdict.SAME


def test_a_fade_is_of_the_same_pictures() -> None:
    for seed in range(2, 6):
        pictures = _pictures(seed)
        gain = np.minimum(1, (np.arange(SPANS) + 0.5) / 5)[:, None, None]
        faded = _clip(16 + (pictures - 16) * gain)
        assert verdict(_clip(pictures), faded, Altered.NOT, 1.0, 0) is Verdict.SAME


def _walked(seed: int, *, size: int = 8) -> Course:
    """One room with noise, through which somebody of a twelfth of the side goes: down, or from the left to the right."""
    rng = np.random.default_rng(seed)
    room = cv2.resize(np.random.default_rng(0).uniform(60, 180, (7, 7)).astype(np.float32), (SIDE, SIDE))
    pictures = room[None] + rng.normal(0, 2, (SPANS, SIDE, SIDE)).astype(np.float32)
    for k, picture in enumerate(pictures):
        x, y = (30, 5 + 4 * k) if seed % 2 else (30 + 3 * k, 70)
        picture[y : y + size, x : x + size // 2] = 240
    return _clip(pictures)


def test_two_who_walk_through_one_room_are_other_clips_and_what_a_logo_hides_is_not() -> None:
    for seed in range(4):
        assert verdict(_walked(seed), _walked(seed + 1), Altered.NOT, 1.0, 0) is Verdict.OTHER
        assert verdict(_walked(seed), _walked(seed + 2), Altered.NOT, 1.0, 0) is Verdict.SAME, (
            "the same way, other noise"
        )
    x = _clip(_pictures(3)).cells.astype(float)
    hidden = x.copy()
    hidden[:, 5:9, 5:9] = 235.0
    assert changes_alone(x, hidden) == 0.0, "only one of them has a logo"
    assert changes_alone(hidden, x) == 0.0


@given(st.integers(0, 500), st.integers(1, 15))
@settings(max_examples=20)
def test_the_worst_time_is_that_of_what_is_other(seed: int, begin: int) -> None:
    x = _clip(_pictures(seed)).cells.astype(float)
    y = x * 0.7 + 20
    assert worst_time(x, y) > 0.9
    y[begin:] = _clip(_pictures(seed + 1000)).cells[begin:]
    assert worst_time(x, y) == pytest.approx(worst_time(y, x))
    if SPANS - begin >= SPANS // 4:
        assert worst_time(x, y) < 0.5
    y[:] = 16
    assert worst_time(x, y) == 1.0, "nothing is known of a black clip"


CHANGES: dict[str, Callable[[Pictures], Course]] = {
    "itself": _clip,
    "half": lambda p: _clip(np.array([cv2.resize(cv2.resize(v, (48, 48)), (SIDE, SIDE)) for v in p])),
    "cut": lambda p: _clip(np.array([cv2.resize(v[4:90, 7:93], (SIDE, SIDE)) for v in p])),
    "within a border": lambda p: _clip(p, (0.1, 0.15, 0.8, 0.7)),
    "graded": lambda p: _clip(40 + 0.6 * p),
    "excerpt": lambda p: replace(_clip(p[3:]), duration_ms=250 * (SPANS - 3)),
}


@given(
    st.integers(0, 300),
    st.booleans(),
    st.booleans(),
    st.sampled_from(("One", "Two", "Four")),
    st.sampled_from(("One", "Two", "Four")),
    st.sampled_from(tuple(CHANGES)),
    st.sampled_from((Altered.NOT, Altered.REVERSED)),
)
@settings(max_examples=30)
def test_swapping_a_pair_never_changes_the_verdict(
    seed: int, moves: bool, other: bool, a: str, b: str, change: str, altered: Altered
) -> None:
    """Small titles before still and moving pictures, one of them at half the size, cut, in a border, graded or shorter."""
    clips = []
    for word, footage in ((a, seed), (b, seed + other)):
        pictures = _pictures(footage)
        pictures = pictures if moves else np.repeat(pictures[:1], SPANS, axis=0)
        title = np.zeros((SIDE, SIDE), np.uint8)
        cv2.putText(title, f"Chapter {word}", (12, 52), cv2.FONT_HERSHEY_DUPLEX, 0.35, (235,), 1, cv2.LINE_AA)
        clips.append(np.maximum(pictures, title))
    one, two = _clip(clips[0]), CHANGES[change](clips[1])
    offset = two.duration_ms - one.duration_ms
    back = one.duration_ms - (two.duration_ms - offset) if altered is Altered.REVERSED else -offset
    assert verdict(one, two, altered, 1.0, offset) is verdict(two, one, altered, 1.0, back)
