"""Selection criteria: what each means, and the promises that hold for all of them (nested, stable, complete)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.publish.curating.criteria import (
    NO_CLASS,
    NO_EMBEDDING,
    NO_SCORE,
    REASONS,
    CandidateChoice,
    Candidates,
    choose,
    hash_order,
    quotas,
    swap,
)
from curation_assets.publish.subsets import Select

SEEDS = st.integers(0, 2**32 - 1)


def select(criterion: str, **values: Any) -> Select:
    return Select.model_validate({"criterion": criterion, **values})


def pool(n: int, seed: int = 0, classes: int = 4, dim: int = 8) -> Candidates:
    """`n` candidates named 0, 1, ...: a video for about three, skewed classes, some of each value unknown."""
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(n, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[chance.random(n) < 0.05] = np.nan
    scores = chance.random(n).round(2)
    scores[chance.random(n) < 0.05] = np.nan
    return Candidates(
        hash_order(map(str, range(n)), seed),
        chance.integers(0, max(1, n // 3), n),
        np.minimum(chance.geometric(0.5, n) - 1, classes) - (chance.random(n) < 0.05),
        [f"c{k}" for k in range(classes + 1)],
        scores,
        vectors.astype(np.float16),
    )


def taken(choice: CandidateChoice) -> set[int]:
    return set(np.flatnonzero(choice.selected).tolist())


def least_distance(vectors: np.ndarray) -> float:
    v = vectors.astype(np.float64)
    distance = 1 - v @ v.T
    np.fill_diagonal(distance, np.inf)
    return float(distance.min())


def part(c: Candidates, index: np.ndarray) -> Candidates:
    values = (None if v is None else v[index] for v in (c.order, c.videos, c.classes))
    order, videos, classes = values
    assert order is not None
    assert c.scores is not None
    assert c.vectors is not None
    return Candidates(order, videos, classes, c.labels, c.scores[index], c.vectors[index])


@given(SEEDS, st.integers(0, 60), st.integers(1, 40))
def test_random_takes_the_smallest_hashes_so_new_candidates_only_displace(seed: int, old: int, count: int) -> None:
    c = pool(old + 20, seed)
    before = taken(choose(part(c, np.arange(old)), select("random", count=count, seed=seed)))
    after = taken(choose(c, select("random", count=count, seed=seed)))
    assert len(before) == min(old, count)
    assert {i for i in after if i < old} <= before
    new = [c.order[i] for i in after if i >= old]
    assert all(c.order[i] > max(new) for i in before - after), "displaced only by smaller hashes"
    assert len(before - after) == max(0, len(new) - (min(count, len(c)) - len(before)))


CRITERIA = [
    ("random", "count", {}),
    ("max_motion", "count", {}),
    ("video_balanced", "count", {"per_video": 2}),
    ("cluster_balanced", "count", {}),
    ("class_balanced", "count", {"temperature": 0.5}),
    ("class_balanced", "per_class", {"order_by": "aesthetic"}),
    ("class_balanced", "count", {"per_class": 9, "temperature": 0.5}),
    ("class_balanced", "per_class", {"count": 1000}),
    ("video_balanced", "count", {"per_video": 1, "strict": True}),
]


@pytest.mark.parametrize(("criterion", "size", "more"), CRITERIA)
@given(seed=SEEDS, sizes=st.lists(st.integers(1, 80), min_size=2, max_size=3, unique=True))
@settings(max_examples=40)
def test_a_smaller_subset_lies_within_a_larger_one(
    criterion: str, size: str, more: dict[str, Any], seed: int, sizes: list[int]
) -> None:
    c = pool(60, seed)
    found = [taken(choose(c, select(criterion, seed=seed, **{size: n}, **more))) for n in sorted(sizes)]
    assert all(a <= b for a, b in pairwise(found))


@given(SEEDS)
@settings(max_examples=25)
def test_minimum_redundancy_subsets_nest_class_by_class(seed: int) -> None:
    c = pool(120, seed, classes=2)
    chosen = [
        choose(c, select("min_redundancy", per_class=n, nest=[m for m in (5, 15, 25) if m != n], epochs=3, seed=seed))
        for n in (5, 15, 25)
    ]
    small, middle, large = (taken(x) for x in chosen)
    assert small < middle < large
    assert c.classes is not None
    for n, found in zip((5, 15, 25), (small, middle, large), strict=True):
        sizes = Counter(c.classes[list(found)].tolist())
        usable = Counter(c.classes[chosen[0].reasons == 0].tolist())
        assert sizes == {k: min(n, v) for k, v in usable.items()}


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 300), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_quotas_add_up_respect_sizes_and_never_shrink(sizes: list[int], total: int, temperature: float) -> None:
    found = quotas(sizes, total, temperature)
    assert sum(found) == min(total, sum(sizes))
    assert all(0 <= q <= s for q, s in zip(found, sizes, strict=True))
    assert all(a <= b for a, b in zip(found, quotas(sizes, total + 1, temperature), strict=True))


def test_quotas_follow_the_temperature() -> None:
    assert quotas([800, 200], 100, 1.0) == [80, 20]
    assert quotas([800, 200], 100, 0.0) == [50, 50]
    assert quotas([810, 90], 40, 0.5) == [30, 10]
    assert quotas([53, 24, 23], 7, 1.0) == [3, 2, 2]  # D'Hondt's divisors would favour the largest: 4, 2, 1


@given(SEEDS, st.integers(1, 3), st.integers(1, 60))
def test_video_balanced_takes_at_most_k_of_a_video_before_any_gets_more(seed: int, per_video: int, count: int) -> None:
    c = pool(45, seed)
    choice = choose(c, select("video_balanced", count=count, per_video=per_video, seed=seed))
    assert c.videos is not None
    there, got = Counter(c.videos.tolist()), Counter(c.videos[choice.selected].tolist())
    fair = sum(min(per_video, n) for n in there.values())
    assert sum(got.values()) == min(count, len(c))
    assert choice.report["shortfall"] == max(0, count - len(c))
    assert choice.report["beyond_per_video"] == max(0, min(count, len(c)) - fair)
    if count <= fair:
        assert max(got.values()) <= per_video
    else:
        assert all(got[v] >= min(per_video, n) for v, n in there.items())
        rounds = {v: n for v, n in got.items() if n < there[v]}
        assert max(got.values()) - min(rounds.values(), default=max(got.values())) <= 1, "filled round by round"


@given(SEEDS, st.integers(1, 3), st.integers(1, 60))
def test_strictly_balanced_videos_give_no_more_than_asked_and_what_is_missing_is_told(
    seed: int, most: int, count: int
) -> None:
    c = pool(45, seed)
    assert c.videos is not None
    choice = choose(c, select("video_balanced", count=count, per_video=most, strict=True, seed=seed))
    got = Counter(c.videos[choice.selected].tolist())
    fair = sum(min(most, n) for n in Counter(c.videos.tolist()).values())
    assert max(got.values()) <= most
    assert sum(got.values()) == min(count, fair)
    assert choice.report["shortfall"] == count - min(count, fair)
    loose = taken(choose(c, select("video_balanced", count=count, per_video=most, seed=seed)))
    assert taken(choice) <= loose


@given(SEEDS, st.integers(1, 60), st.integers(1, 20), st.sampled_from([None, 0.0, 0.5]))
def test_class_balanced_keeps_to_both_the_whole_and_each_class(
    seed: int, count: int, per_class: int, temperature: float | None
) -> None:
    c = pool(60, seed)
    assert c.classes is not None
    choice = choose(c, select("class_balanced", count=count, per_class=per_class, temperature=temperature, seed=seed))
    there = Counter(c.classes[c.classes >= 0].tolist())
    got = Counter(c.classes[choice.selected].tolist())
    room = sum(min(per_class, n) for n in there.values())
    assert all(n <= per_class for n in got.values())
    assert sum(got.values()) == min(count, room)
    assert choice.report["shortfall"] == count - min(count, room)


def test_class_balanced_takes_the_best_of_each_class_and_reports_what_is_short() -> None:
    c = pool(200, 3)
    assert c.classes is not None
    assert c.scores is not None
    choice = choose(c, select("class_balanced", per_class=12, order_by="aesthetic"))
    for k, label in enumerate(c.labels):
        members = np.flatnonzero((c.classes == k) & ~np.isnan(c.scores))
        mine = np.array([i for i in members if choice.selected[i]], int)
        assert len(mine) == min(12, len(members)) == choice.report["per_class"][label]
        assert choice.report["shortfalls"].get(label, 0) == 12 - len(mine)
        rest = np.setdiff1d(members, mine)
        assert not len(rest) or c.scores[mine].min() >= c.scores[rest].max()


@given(SEEDS, st.sampled_from([1, 7, 40, 1000]))
@settings(max_examples=30)
def test_classes_sorted_some_at_a_time_are_those_that_counting_finds(seed: int, at_once: int) -> None:
    """As few as one candidate at a time, classes with more than that, without any, and candidates of equal places."""
    from curation_assets.publish.curating import class_members, criteria

    c = pool(150, seed, classes=12)
    c = replace(c, order=c.order % 5, labels=[f"c{k:02d}" for k in range(20)])
    for size in ({"per_class": 6}, {"per_class": 4, "order_by": "aesthetic"}, {"count": 50, "temperature": 0.5}):
        asked = select("class_balanced", seed=seed, **size)
        counted = choose(c, asked)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(criteria, "MOST_GROUPS", 1)
            patch.setattr(class_members, "SORTED", at_once)
            patch.setattr(class_members, "PART", 11)
            found = choose(c, asked)
        assert taken(found) == taken(counted)
        assert found.report == counted.report
    asked = select("min_redundancy", per_class=5, nest=[9], epochs=2)
    whole = choose(c, asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(class_members, "SORTED", at_once)
        found = choose(c, asked)
    assert taken(found) == taken(whole)
    assert found.report == whole.report


def test_what_is_unknown_is_excluded_and_counted() -> None:
    c = pool(300, 5)
    assert c.classes is not None
    assert c.scores is not None
    assert c.vectors is not None
    no_class, no_score = c.classes < 0, np.isnan(c.scores)
    no_vector = np.isnan(c.vectors[:, 0])
    motion = choose(c, select("max_motion", count=300))
    assert motion.report["excluded"] == {NO_SCORE: int(no_score.sum())}
    assert (motion.selected == ~no_score).all()
    spread = choose(c, select("min_redundancy", per_class=300))
    assert spread.report["excluded"] == {
        NO_CLASS: int(no_class.sum()),
        NO_EMBEDDING: int((no_vector & ~no_class).sum()),
    }
    assert (spread.selected == ~(no_class | no_vector)).all()
    assert {REASONS[r] for r in spread.reasons[no_class]} == {NO_CLASS}
    with pytest.raises(ValueError, match="needs embeddings"):
        choose(Candidates(c.order, classes=c.classes, labels=c.labels), select("min_redundancy", per_class=1))


def test_max_motion_takes_the_most_moving() -> None:
    c = Candidates(hash_order("abcd", 0), scores=np.array([0.1, np.nan, 0.9, 0.5]))
    assert taken(choose(c, select("max_motion", count=2))) == {2, 3}


def test_cluster_balanced_weighs_a_candidate_by_the_inverse_root_of_its_cluster() -> None:
    """Drawing a single candidate: a cluster of 100 wins over 100 clusters of one with odds sqrt(100) to 100."""
    classes = np.r_[np.zeros(100, int), np.arange(1, 101)]
    wins = 0
    for seed in range(2000):
        c = Candidates(hash_order(map(str, range(200)), seed), classes=classes)
        wins += next(iter(taken(choose(c, select("cluster_balanced", count=1, seed=seed))))) < 100
    assert abs(wins / 2000 - 10 / 110) < 0.025  # four standard deviations


@given(SEEDS, st.integers(2, 12), st.integers(0, 40))
@settings(max_examples=60)
def test_swapping_never_lowers_the_least_distance_and_keeps_its_limits(seed: int, size: int, most: int) -> None:
    chance = np.random.default_rng(seed)
    vectors = chance.normal(size=(60, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    members = chance.permutation(60)
    kept, swaps, passes = swap(vectors, members, size, 5, most)
    assert len(set(kept.tolist())) == size
    assert set(kept.tolist()) <= set(members.tolist())
    assert swaps <= most
    assert passes <= 5
    before, after = least_distance(vectors[members[:size]]), least_distance(vectors[kept])
    assert after >= before - 1e-6
    if swaps == 0:
        assert kept.tolist() == members[:size].tolist()
    again = swap(vectors, members, size, 5, swaps)
    assert again[0].tolist() == kept.tolist(), "the limit alone does not change what came before it"


def test_swapping_spreads_a_crowd_and_stops_when_nothing_helps() -> None:
    angles = np.r_[np.linspace(0, 0.05, 20), np.linspace(0, 1.9 * np.pi, 8)]
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    kept, swaps, passes = swap(vectors, np.arange(28), 6, 5, 1000)
    assert least_distance(vectors[:6]) < 1e-4
    assert least_distance(vectors[kept]) > 0.3
    assert (swaps > 0, passes < 5) == (True, True)
    assert swap(vectors, np.arange(28), 6, 1, 1000)[2] == 1
    assert swap(vectors, np.arange(28), 6, 5, 0)[1:] == (0, 0)
    assert swap(vectors, np.arange(4), 6, 5, 9)[0].tolist() == [0, 1, 2, 3]


def one_by_one(vectors: np.ndarray, members: np.ndarray, size: int, epochs: int) -> list[int]:
    """The algorithm as published, without blocks or kept distances."""
    inside, outside = members[:size].tolist(), members[size:].tolist()
    for _ in range(epochs):
        before = list(inside)
        for place, candidate in enumerate(outside):
            v = vectors[inside]
            distance = 1 - v @ v.T
            np.fill_diagonal(distance, np.inf)
            a, b = np.unravel_index(distance.argmin(), distance.shape)
            if (1 - v @ vectors[candidate]).min() > distance[a, b]:
                leaving = min((a, b), key=lambda i: np.sort(distance[i])[1])
                outside[place], inside[leaving] = inside[leaving], candidate
        if inside == before:
            break
    return sorted(inside)


def test_blocks_give_what_one_candidate_at_a_time_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    from curation_assets.publish.curating import criteria

    chance = np.random.default_rng(4)
    vectors = chance.normal(size=(150, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for block in (1, 7, 2048):
        monkeypatch.setattr(criteria, "SWAP_ROWS", block)
        assert sorted(swap(vectors, np.arange(150), 10, 5, 1000)[0].tolist()) == one_by_one(
            vectors, np.arange(150), 10, 5
        )


@given(st.text(), SEEDS)
def test_places_depend_on_the_id_and_the_seed_alone(name: str, seed: int) -> None:
    name = name.encode("utf-8", "replace").decode()
    assert hash_order(["x", name], seed)[1] == hash_order([name], seed)[0]
    assert hash_order([name], seed)[0] != hash_order([name], seed + 1)[0]
