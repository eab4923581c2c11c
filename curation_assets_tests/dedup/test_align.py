"""Which pairs of clips count as the same, given their hashes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.dedup.align import MAX_STRETCH, WINDOW_MS, Altered, Comparer, Matches, Samples
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets_tests.dedup.fingerprint_rows import SECOND, clip, near, random_hashes

PARAMS = Dedup()


def _compare(one: dict[str, Any], other: dict[str, Any], flipped: bool = False) -> Matches:
    rows = [one, other]

    def flat(name: str, kind: type) -> Any:
        return np.concatenate([np.array(r[name], kind) for r in rows])

    samples = Samples(
        start=np.append(0, np.cumsum([len(r["hashes"]) for r in rows])),
        hashes=flat("hashes", np.uint64),
        time_ms=np.concatenate([np.array(r["hash_ms"], np.int64) - r["start_ms"] for r in rows]),
        blank=flat("blank", np.bool_),
        duration_ms=np.array([r["duration_ms"] for r in rows]),
        tie=np.array([5, 3], np.uint64),
    )
    comparer = Comparer(samples, PARAMS)
    if flipped:
        comparer = Comparer(
            samples, PARAMS, replace(samples, hashes=flat("flipped_hashes", np.uint64)), Altered.MIRRORED
        )
    return comparer.compare(np.array([0]), np.array([1]))


def _accepted(one: dict[str, Any], other: dict[str, Any]) -> bool:
    both = [_compare(*pair) for pair in ((one, other), (other, one))]
    verdicts = {bool(m.accepted.any()) for m in both}
    assert len(verdicts) == 1, "the order of a pair does not matter"
    return verdicts.pop()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_a_part_is_found_where_it_lies(rng: np.random.Generator) -> None:
    whole = random_hashes(rng, 12)
    match = _compare(clip("w", whole), clip("p", near(rng, whole[4:9], 6), start_ms=77_000))
    assert match.accepted.tolist() == [True]
    assert (match.short.tolist(), match.long.tolist()) == ([1], [0])
    assert match.offset_ms.tolist() == [4 * SECOND]
    assert match.overlap[0] == pytest.approx(5 / 12, abs=0.01)
    assert match.similarity[0] == pytest.approx(1 - 6 / 64)


@pytest.mark.parametrize("speed", [0.8, 0.95, 1.05, 1.1, 1.25])
def test_another_speed(rng: np.random.Generator, speed: float) -> None:
    hashes, times = random_hashes(rng, 60), np.arange(60) * 400
    slow = clip("s", hashes, hash_ms=times.tolist(), duration_ms=24_000)
    fast = clip(
        "f", near(rng, hashes, 4), hash_ms=(times / speed).astype(int).tolist(), duration_ms=int(24_000 / speed)
    )
    assert _compare(slow, fast).coverage.max() > 0.95
    assert _accepted(slow, fast)


def test_a_hash_holds_until_the_next_one(rng: np.random.Generator) -> None:
    """A still scene has few hashes at arbitrary times; a part of it has others."""
    still, other = random_hashes(rng, 2)
    whole = clip("w", [still, other, still], hash_ms=[0, 20_000, 21_000], duration_ms=60_000)
    part = clip("p", near(rng, [still] * 3, 3), hash_ms=[100, 9_000, 17_000], duration_ms=18_000)
    assert _accepted(whole, part)


def test_a_common_beginning_is_no_copy(rng: np.random.Generator) -> None:
    """Two of five frames agree in their places: an intro, not the same clip."""
    intro = random_hashes(rng, 2)
    one, other = (clip(v, intro + random_hashes(rng, 3)) for v in "ab")
    assert not _accepted(one, other)
    assert set(_compare(one, other).matched.tolist()) == {2}


def test_the_same_frames_in_another_order_are_no_copy(rng: np.random.Generator) -> None:
    hashes = random_hashes(rng, 6)
    assert _accepted(clip("a", hashes), clip("b", hashes))
    assert not _accepted(clip("a", hashes), clip("b", [hashes[k] for k in (3, 0, 5, 1, 4, 2)]))


def test_blank_frames_neither_match_nor_count(rng: np.random.Generator) -> None:
    black = random_hashes(rng, 1) * 3
    one = clip("a", black + random_hashes(rng, 3), blank=[True] * 3 + [False] * 3)
    other = clip("b", black + random_hashes(rng, 3), blank=[True] * 3 + [False] * 3)
    assert not _compare(one, other).matched.any()
    faded = clip("c", black + near(rng, one["hashes"][3:], 5), blank=[True] * 3 + [False] * 3)
    assert _accepted(one, faded)


def test_a_still_clip_with_a_fade(rng: np.random.Generator) -> None:
    """Most kept hashes of the faded copy are of its short dim beginning."""
    (still,) = random_hashes(rng, 1)
    one = clip("a", [still] * 3, hash_ms=[0, 3000, 5900], duration_ms=6000)
    other = clip("b", [*random_hashes(rng, 2), still ^ 5], hash_ms=[100, 200, 300], duration_ms=6000)
    assert _accepted(one, other)


def test_frames_beyond_the_distance_agree_only_beside_matches(rng: np.random.Generator) -> None:
    hashes = random_hashes(rng, 6)
    mixed = near(rng, hashes[:2], PARAMS.distance) + near(rng, hashes[2:], PARAMS.agree)
    assert _accepted(clip("a", hashes), clip("b", mixed))
    assert not _accepted(clip("a", hashes), clip("b", near(rng, hashes, PARAMS.distance + 1)))
    assert not _accepted(
        clip("a", hashes), clip("b", near(rng, hashes[:2], 10) + near(rng, hashes[2:], PARAMS.agree + 1))
    )


def test_a_single_comparable_frame_counts_only_for_clips_of_one_length(rng: np.random.Generator) -> None:
    frame = random_hashes(rng, 1)
    assert _accepted(clip("a", frame), clip("b", near(rng, frame, 4)))
    assert not _accepted(clip("a", frame), clip("b", frame + random_hashes(rng, 9)))


def test_mirrored_copies_are_found_when_asked(rng: np.random.Generator) -> None:
    hashes, mirrored = random_hashes(rng, 5), random_hashes(rng, 5)
    one = clip("a", hashes, flipped_hashes=mirrored)
    other = clip("b", near(rng, mirrored, 4), flipped_hashes=near(rng, hashes, 4))
    assert not _accepted(one, other)
    match = _compare(one, other, flipped=True)
    assert match.accepted.any()
    assert (match.altered == Altered.MIRRORED).all()


def test_anchors_are_the_frames_that_hold_longest(rng: np.random.Generator) -> None:
    times = [0, 100, 200, 5000, 5100, 9000]
    samples = Samples(
        start=np.array([0, 6, 6]),
        hashes=np.array(random_hashes(rng, 6), np.uint64),
        time_ms=np.array(times),
        blank=np.array([False, False, False, False, True, False]),
        duration_ms=np.array([9500, 1000]),
        tie=np.array([1, 2], np.uint64),
    )
    assert samples.anchors(2).tolist() == [False, False, True, False, False, True]
    assert samples.anchors(16).tolist() == [True, True, True, True, False, True]


def _best(samples: Samples, one: int, other: int, params: Dedup) -> tuple[int, int, int, float, float] | None:
    """By definition: frames that match and agree, their distances, scale and offset of the best alignment; None if no frame matches under it."""

    def frames(clip: int) -> list[tuple[int, int]]:
        mine = range(samples.start[clip], samples.start[clip + 1])
        return [(int(samples.time_ms[k]), int(samples.hashes[k])) for k in mine if not samples.blank[k]]

    def least(frame: int, at: int) -> int:
        """Distance from what is shown within a window of a time: the frame that holds then, and those before and after it."""
        if not -WINDOW_MS <= at <= samples.duration_ms[other] + WINDOW_MS:
            return 64
        mine = range(samples.start[other], samples.start[other + 1])
        active = max((k for k in mine if samples.time_ms[k] <= max(at, 0)), default=mine.start - 1)
        near = [k for k in (active - 1, active, active + 1) if k in mine]
        if near and active in mine and samples.time_ms[active] <= at - WINDOW_MS:
            near = [k for k in near if k != active - 1]
        near = [k for k in near if k <= active or samples.time_ms[k] <= at + WINDOW_MS]
        return min(((frame ^ int(samples.hashes[k])).bit_count() for k in near if not samples.blank[k]), default=64)

    a, b = frames(one), frames(other)
    met = [(i, v - u) for i, (u, x) in enumerate(a) for v, y in b if (x ^ y).bit_count() <= params.distance]
    if len({i for i, _ in met}) < min(params.matches, len(a)):
        return None
    bins: dict[int, int] = {}
    for _, offset in met:
        bins[offset // (WINDOW_MS // 2)] = min(offset, bins.get(offset // (WINDOW_MS // 2), offset))
    length, full = int(samples.duration_ms[one]), int(samples.duration_ms[other])
    tried = [(1.0, float(offset)) for offset in (*bins.values(), 0)]
    tried += [(1.0, float(full - length))] if full > length else []
    if full / max(1, length) <= MAX_STRETCH and full - length > WINDOW_MS:
        tried.append((full / max(1, length), 0.0))
    found = []
    for scale, offset in tried:
        apart = [least(x, round(scale * u + offset)) for u, x in a]
        agreeing = [d for d in apart if d <= max(params.agree, params.distance)]
        match = sum(d <= params.distance for d in apart)
        found.append((-len(agreeing), -match, sum(agreeing), abs(offset), offset, scale))
    agree, match, total, _, offset, scale = min(found)
    return (-match, -agree, total, scale, offset) if match else None


@settings(max_examples=60)
@given(st.integers(0, 1 << 30))
def test_the_best_alignment_is_that_of_its_definition(seed: int) -> None:
    """Clips of few different pictures, with blank ones, of no frames and of several at one time, aligned and not."""
    rng = np.random.default_rng(seed)
    clips = 8
    counts = rng.integers(0, 13, clips)
    start = np.append(0, np.cumsum(counts))
    pictures = np.array(random_hashes(rng, int(rng.integers(1, 9))), np.uint64)
    hashes = pictures[rng.integers(0, len(pictures), start[-1])]
    for _ in range(int(rng.integers(0, 9))):
        bit = np.uint64(1) << rng.integers(0, 64, start[-1]).astype(np.uint64)
        hashes = np.where(rng.random(start[-1]) < 0.7, hashes ^ bit, hashes)
    times = [np.cumsum(rng.integers(0, 3, n) * rng.choice([40, 75, 150, 360])) for n in counts]
    last = np.array([int(t[-1]) if len(t) else 0 for t in times])
    samples = Samples(
        start,
        hashes,
        np.concatenate(times),
        rng.random(start[-1]) < rng.choice([0, 0.3]),
        last + rng.choice([0, 150, 360, 2000], clips),
        rng.permutation(clips).astype(np.uint64),
    )
    params = Dedup(distance=int(rng.integers(0, 17)), agree=int(rng.integers(0, 25)), matches=int(rng.integers(1, 5)))
    a, b = (side.ravel() for side in np.mgrid[:clips, :clips])
    found = Comparer(samples, params).compare(a, b)
    columns = (found.short, found.long, found.matched, found.scale, found.offset_ms, found.coverage, found.similarity)
    for short, long, match, scale, offset, coverage, similarity in zip(*(c.tolist() for c in columns), strict=True):
        expected = _best(samples, short, long, params)
        assert expected is not None
        comparable = int((~samples.blank[start[short] : start[short + 1]]).sum())
        assert (match, scale, offset) == (expected[0], np.float32(expected[3]), round(expected[4]))
        assert coverage == np.float32(expected[1] / comparable)
        assert similarity == np.float32(1 - expected[2] / expected[1] / 64)
    compared = set(zip(found.short.tolist(), found.long.tolist(), strict=True))
    for x in range(clips):
        for y in range(clips):
            if (samples.duration_ms[x], samples.tie[x]) <= (samples.duration_ms[y], samples.tie[y]):
                assert ((x, y) in compared) == (_best(samples, x, y, params) is not None)
