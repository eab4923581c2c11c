"""The search of near hashes: against all pairs, in pieces, and independent of what else is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.dedup import bits as dedup_bits
from curation_assets.dedup import grouped, search, worth
from curation_assets.dedup.buckets import GROUP, Side, set_apart
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.search import Means, Plan, Search, agreement, candidates, expected_recall, halves, tables
from curation_assets.dedup.worth import Worth
from curation_assets_tests.dedup.fingerprint_rows import near, random_hashes

Hashes = NDArray[np.uint64]
Pair = tuple[int, int]

ANY = Worth(np.uint64(10), np.uint64(14), 1, 0.0, 0.0, np.uint64(0), 256)
"""Every pair of clips of which one frame matches."""


def _side(clips: Sequence[Sequence[int]], common: Sequence[int] = (), base: int = 0) -> Side:
    """The hashes of clips, of which some are common."""
    counts = [len(c) for c in clips]
    side = Side(
        np.array([h for c in clips for h in c], np.uint64),
        np.append(0, np.cumsum(counts)).astype(np.int64),
        np.array(counts, np.uint8),
        np.array(counts, np.int32),
        np.array(sorted(common), np.uint64),
        np.zeros(1, np.int64),
        np.empty(0, np.uint32),
        np.empty(0, np.uint32),
        np.arange(len(clips), dtype=np.uint64),
        base,
        1,
    )
    group, member = set_apart(side.hashes, side.start, side.indexed, side.common, True)
    begins = np.searchsorted(group[np.argsort(group, kind="stable")], np.arange(len(common) + 1))
    member = member[np.argsort(group, kind="stable")].astype(np.uint32)
    ranks = (np.arange(len(group)) - np.repeat(begins[:-1], np.diff(begins))).astype(np.uint32)
    return side._replace(group_start=begins, members=member + np.uint32(base), ranks=ranks)


def _single(hashes: Hashes) -> Side:
    return _side([[int(h)] for h in hashes])


def _plan(bits: int, distance: int = 10, frames: int = 1, free: int = (1 << 64) - 1) -> Plan:
    return Plan(bits, tables(distance, bits, frames, free.bit_count()), free)


def _found(
    hashes: Hashes,
    distance: int,
    bits: int,
    new: NDArray[np.bool_] | None = None,
    rounds: int = 1,
    count: int | None = None,
) -> set[Pair]:
    """Pairs of values."""
    fresh = np.ones(len(hashes), np.bool_) if new is None else new
    plan = _plan(bits, distance)
    plan = plan if count is None else Plan(bits, count, plan.free)
    worth = ANY._replace(distance=np.uint64(distance))
    pairs = candidates(Search(_single(hashes), None, fresh, plan, worth, rounds), Means(1))
    a, b = halves(pairs)
    assert (a < b).all()
    assert len(np.unique(pairs)) == len(pairs)
    return {tuple(sorted((int(x), int(y)))) for x, y in zip(hashes[a], hashes[b], strict=True)}  # type: ignore[misc]


def _crowd(seed: int, families: int, bits: int) -> Hashes:
    """Families of hashes around common centres, some of which are themselves near each other."""
    rng = np.random.default_rng(seed)
    centres = random_hashes(rng, families)
    centres += near(rng, centres[::3], 12)
    members = [h for c in centres for h in near(rng, [c] * 4, bits)]
    return np.unique(np.array(centres + members, np.uint64))


def _all_pairs(hashes: Hashes, distance: int) -> set[Pair]:
    i, j = np.triu_indices(len(hashes), 1)
    close = np.bitwise_count(hashes[i] ^ hashes[j]) <= distance
    return {tuple(sorted((int(a), int(b)))) for a, b in zip(hashes[i[close]], hashes[j[close]], strict=True)}  # type: ignore[misc]


@pytest.mark.parametrize(("distance", "bits"), [(1, 16), (6, 12), (10, 14), (10, 3), (10, 0)])
def test_recall_is_what_is_promised_and_nothing_else_is_found(distance: int, bits: int) -> None:
    rng = np.random.default_rng(distance)
    originals = random_hashes(rng, 3000)
    copies = near(rng, originals, distance)
    hashes = np.unique(np.array(originals + copies, np.uint64))
    count = 1 + tables(distance, bits, 1) // 3
    found = _found(hashes, distance, bits, count=count)
    every = _all_pairs(hashes, distance)
    assert found <= every
    assert bits or found == every
    hits = sum((min(a, b), max(a, b)) in found for a, b in zip(originals, copies, strict=True))
    expected = expected_recall(distance, 1, bits, count)
    assert hits / len(originals) >= expected - 0.025
    assert bits < 12 or hits / len(originals) <= expected + 0.025, "keys of few bits are of several choices of bits"


@settings(max_examples=10)
@given(
    st.integers(0, 1000),
    st.integers(1, 5),
    st.sampled_from([0, 6, 11]),
    st.sampled_from([(1 << 19, 0), (400, 0), (1, 0), (1, 1 << 40)]),
    st.data(),
)
def test_a_pair_is_found_whatever_else_is_there(
    seed: int, near_bits: int, bits: int, cache: tuple[int, int], data: st.DataObject
) -> None:
    """Also if few are new, which is another way through the hashes, as they lie or in groups, and if the search is done piece by piece."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouped, "CACHE_BYTES", cache[0])
        patch.setattr(grouped, "LARGE_BYTES", cache[1])
        patch.setattr(grouped, "MANY_TABLES", search.MAX_TABLES)
        _found_whatever_else_is_there(seed, near_bits, bits, data)


def _found_whatever_else_is_there(seed: int, near_bits: int, bits: int, data: st.DataObject) -> None:
    hashes = _crowd(seed, 30, near_bits)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(hashes), max_size=len(hashes))), np.bool_)
    everything, some = _found(hashes, 10, bits), set(hashes[chosen].tolist())
    assert _found(hashes[chosen], 10, bits) == {p for p in everything if set(p) <= some}
    few = chosen & (np.arange(len(hashes)) % 7 == 0)
    for new in (chosen, few):
        assert _found(hashes, 10, bits, new) == {p for p in everything if set(p) & set(hashes[new].tolist())}
    assert _found(hashes, 10, bits, rounds=5) == everything


@settings(max_examples=6)
@given(st.integers(0, 1000), st.sampled_from([0, 6, 11]), st.integers(1, 150), st.booleans())
def test_blocks_find_what_all_find_together(seed: int, bits: int, cut: int, few: bool) -> None:
    """Blocks searched in themselves and against each other; a common hash is shown in both, and the best of its clips lie in either."""
    rng = np.random.default_rng(seed)
    hashes, card = _crowd(seed, 30, 3).tolist(), random_hashes(rng, 1)
    clips = [[h, *card] if k % 5 == 0 else [h] for k, h in enumerate(rng.permutation(hashes).tolist())]
    fresh = np.arange(len(clips)) % 7 == 0 if few else np.ones(len(clips), np.bool_)
    worth = ANY._replace(most=4)

    def found(left: Side, right: Side | None) -> list[int]:
        return candidates(Search(left, right, fresh, _plan(bits), worth), Means(1)).tolist()  # type: ignore[no-any-return]

    whole = _side(clips, card)
    one, two = _side(clips[:cut], card), _side(clips[cut:], card, cut)
    two = two._replace(ranks=two.ranks + np.uint32(len(one.members)), tie=two.tie + np.uint64(cut))
    parts = found(one, None) + found(two, None) + found(one, two)
    assert sorted(parts) == found(whole, None)
    assert len(parts) > 10


@pytest.mark.parametrize("kind", ["copies", "every_pair"])
def test_what_few_take_of_each_table_fits_into_the_cache(kind: Literal["copies", "every_pair"]) -> None:
    plan = Plan.of(16, "phash", Dedup(search=kind))
    masks = [int(plan.key(table).mask) for table in range(plan.count)]
    assert grouped.shared_bits(masks, 1000) == 0
    for few in (100_000, 300_000):
        bits = int(grouped.shared_bits(masks, few))
        if few * grouped.FEW_BYTES <= grouped.LARGE_BYTES and plan.count <= grouped.MANY_TABLES:
            assert (bits, kind) == (0, "copies")
            continue
        taken = [few * grouped.FEW_BYTES >> (mask & bits).bit_count() for mask in masks]
        assert max(taken) <= grouped.CACHE_BYTES or bits.bit_count() == grouped.MOST_BITS
        assert sorted(taken)[len(taken) // 2] <= grouped.CACHE_BYTES
        assert bits.bit_count() <= grouped.MOST_BITS


def test_hashes_in_groups_are_those_of_the_clips() -> None:
    rng = np.random.default_rng(8)
    card = random_hashes(rng, 1)
    clips = [[*random_hashes(rng, 5), *card] for _ in range(50)]
    side, mask = _side(clips, card, 100), 0b1001 << 40
    held = grouped.grouped(side, np.uint64(mask))
    expected = [(h, 100 + k) for k, clip in enumerate(clips) for h in clip[:-1]] + [(card[0], int(GROUP))]
    assert sorted(zip(held.hashes.tolist(), held.clips.tolist(), strict=True)) == sorted(expected)
    for group in range(4):
        mine = held.hashes[held.at[group] : held.at[group + 1]].tolist()
        assert mine
        assert {(h >> 40 & 1) + 2 * (h >> 43 & 1) for h in mine} == {group}


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_bits_are_picked_alike_with_and_without_the_instruction(value: int, mask: int) -> None:
    expected = [value >> place & 1 for place in range(64) if mask >> place & 1]
    picked = dedup_bits.picked(np.uint64(value), np.uint64(mask))
    assert picked == sum(bit << place for place, bit in enumerate(expected))


def test_bits_that_never_differ_are_not_in_keys() -> None:
    free = (1 << 64) - 1 - (1 << 63)
    assert all(not int(_plan(18, free=free).key(table).mask) >> 63 for table in range(50))
    assert Plan.of(18, "phash", Dedup()).free == free
    assert tables(10, 18, 2, 63) > tables(10, 18, 2, 64)


def test_two_sides_are_searched_against_each_other() -> None:
    rng = np.random.default_rng(4)
    frames = random_hashes(rng, 400)
    mirrored = near(rng, frames[1:], 3) + near(rng, frames[:1], 3)
    left, right = _side([[h] for h in mirrored]), _side([[h] for h in frames])
    for fresh in (np.ones(400, np.bool_), np.arange(400) < 20):
        pairs = candidates(Search(left, right, fresh, _plan(5, 3), ANY), Means(2))
        expected = {(k, (k + 1) % 400) for k in range(400) if fresh[k] or fresh[(k + 1) % 400]}
        assert set(zip(*(side.tolist() for side in halves(pairs)), strict=True)) == expected


def test_a_pair_that_cannot_match_is_not_proposed() -> None:
    """One near frame of eight is no reason to compare two clips; half of what must agree is."""
    rng = np.random.default_rng(5)
    one, other = random_hashes(rng, 8), random_hashes(rng, 8)
    alike = near(rng, one[:1], 2) + other[1:]
    partly = near(rng, one[:3], 2) + other[3:]
    worth = search.worth(Dedup())
    for clips, proposed in (([one, alike], 0), ([one, partly], 1), ([one, near(rng, one, 9)], 1), ([one, one[:1]], 1)):
        pairs = candidates(Search(_side(clips), None, np.ones(2, np.bool_), _plan(0), worth), Means(1))
        assert len(pairs) == proposed


def test_a_common_hash_proposes_the_best_with_all_others() -> None:
    rng = np.random.default_rng(6)
    card, like = random_hashes(rng, 1), random_hashes(rng, 1)
    clips = [[*card, h] for h in random_hashes(rng, 30)] + [[*near(rng, card, 2), *like], [*card]]
    side = _side(clips, common=card)
    for fresh in (np.ones(32, np.bool_), np.arange(32) == 31):
        pairs = candidates(Search(side, None, fresh, _plan(0), ANY._replace(most=4)), Means(1))
        a, b = halves(pairs)
        shows = [k for k in range(32) if k != 30]
        expected = {(x, y) for x in shows[:4] for y in shows if x < y} | {(min(30, x), max(30, x)) for x in shows}
        assert set(zip(a.tolist(), b.tolist(), strict=True)) == {(x, y) for x, y in expected if fresh[x] or fresh[y]}


def test_nearer_hashes_are_found_more_surely() -> None:
    assert agreement(0, 18) == 1
    assert agreement(4, 18) > agreement(8, 18) > agreement(10, 18) > 0
    for bits in range(0, 25):
        assert expected_recall(10, 2, bits, tables(10, bits)) >= 0.995
    assert [search.key_bits(n) for n in (0, 1, 500, 1 << 20, 1 << 21, 160_000_000)] == [0, 0, 0, 11, 12, 18]


def test_copies_are_promised_for_a_tenth_of_the_tables() -> None:
    every, copies = (Plan.of(18, "phash", Dedup(search=kind)) for kind in ("every_pair", "copies"))
    assert copies.recall(6, 4) >= 0.995
    assert every.recall(10, 2) >= 0.995
    assert 9 * copies.count < every.count


def test_nothing_to_find() -> None:
    for few in ([], [7], [6, 1 << 40]):
        assert _found(np.array(few, np.uint64), 1, 0) == set()
    assert _found(np.array([6, 7], np.uint64), 0, 4) == set()
    assert _found(np.array([6, 7], np.uint64), 10, 4, np.zeros(2, np.bool_)) == set()


def test_nothing_is_read_of_a_block_whose_clips_have_no_hashes() -> None:
    """It may have common hashes, which others show. Compiled code would read what lies before the array; Python's says so."""
    card = random_hashes(np.random.default_rng(9), 1)
    shown, empty = _side([[h, *card] for h in (6, 7)], card), _side([[], []], card, 2)
    met, fresh = np.array([int(GROUP) << 32 | int(GROUP)], np.uint64), np.ones(4, np.bool_)
    for left, right in ((shown, empty), (empty, shown)):
        worth._touch.py_func(met, left, right, fresh, np.zeros(1, np.uint64))
    assert not len(candidates(Search(shown, empty, fresh, _plan(0), ANY), Means(1)))


def test_a_crowded_bucket_is_searched_to_its_end() -> None:
    """Sixteen thousand hashes that share all but 14 bits: no cap, most pairs of neighbours."""
    low = np.arange(0, 1 << 15, 2, dtype=np.uint64)
    hashes = np.sort(low | np.uint64(0xABCDEF << 32))
    assert len(_found(hashes, 1, 20, count=5)) >= 0.8 * 14 * len(hashes) / 2
