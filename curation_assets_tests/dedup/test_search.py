"""The search of near hashes: against all pairs, and independent of what else is stored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.dedup.search import agreement, expected_recall, near_pairs, tables
from curation_assets_tests.dedup.fingerprint_rows import near, random_hashes

Hashes = NDArray[np.uint64]


def _crowd(seed: int, families: int, bits: int) -> Hashes:
    """Families of hashes around common centres, some of which are themselves near each other."""
    rng = np.random.default_rng(seed)
    centres = random_hashes(rng, families)
    centres += near(rng, centres[::3], 12)
    members = [h for c in centres for h in near(rng, [c] * 4, bits)]
    return np.unique(np.array(centres + members, np.uint64))


def _all_pairs(hashes: Hashes, distance: int) -> set[tuple[int, int]]:
    i, j = np.triu_indices(len(hashes), 1)
    close = np.bitwise_count(hashes[i] ^ hashes[j]) <= distance
    return {(int(a), int(b)) for a, b in zip(hashes[i[close]], hashes[j[close]], strict=True)}


def _found(hashes: Hashes, distance: int, new: NDArray[np.bool_] | None = None) -> set[tuple[int, int]]:
    i, j = near_pairs(hashes, distance, new)
    assert (i < j).all()
    return {(int(a), int(b)) for a, b in zip(hashes[i], hashes[j], strict=True)}


@pytest.mark.parametrize("distance", [1, 6, 10])
def test_recall_is_what_is_promised_and_nothing_else_is_found(distance: int) -> None:
    rng = np.random.default_rng(distance)
    originals = random_hashes(rng, 3000)
    copies = near(rng, originals, distance)
    hashes = np.unique(np.array(originals + copies, np.uint64))
    found = _found(hashes, distance)
    assert found <= _all_pairs(hashes, distance)
    hits = sum((min(a, b), max(a, b)) in found for a, b in zip(originals, copies, strict=True))
    assert hits / len(originals) == pytest.approx(expected_recall(distance, 1), abs=0.02)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 5), st.data())
def test_a_pair_is_found_whatever_else_is_there(seed: int, bits: int, data: st.DataObject) -> None:
    hashes = _crowd(seed, 30, bits)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(hashes), max_size=len(hashes))), np.bool_)
    everything, some = _found(hashes, 10), set(hashes[chosen].tolist())
    assert _found(hashes[chosen], 10) == {p for p in everything if set(p) <= some}
    assert _found(hashes, 10, chosen) == {p for p in everything if set(p) & some}


def test_near_hashes_are_found_more_surely() -> None:
    assert agreement(0) == 1
    assert agreement(4) > agreement(8) > agreement(10) > 0
    assert 1 - (1 - agreement(6)) ** tables(10) > 0.9999
    assert expected_recall(10, 2) >= 0.995


def test_nothing_to_find() -> None:
    assert _found(np.array([], np.uint64), 10) == set()
    assert _found(np.array([7], np.uint64), 10) == set()
    assert _found(np.array([6, 7], np.uint64), 0) == set()
    assert _found(np.array([6, 7], np.uint64), 10, np.zeros(2, np.bool_)) == set()


def test_a_crowded_bucket_is_searched_to_its_end() -> None:
    """Sixteen thousand hashes that share all but 14 bits: no cap, most pairs of neighbours."""
    low = np.arange(0, 1 << 15, 2, dtype=np.uint64)
    hashes = np.sort(low | np.uint64(0xABCDEF << 32))
    i, _ = near_pairs(hashes, 1)
    assert len(i) >= 0.8 * 14 * len(hashes) / 2
