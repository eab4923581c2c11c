"""Which pairs of clips count as the same, given their hashes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from curation_assets.dedup.align import Altered, Comparer, Matches, Samples
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


@pytest.mark.parametrize("speed", [0.95, 1.05, 1.1])
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
