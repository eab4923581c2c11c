"""The first so many, and the percentiles, that are found by counting are those that sorting gives."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.publish.curating import criteria, percentile_values, radix_selection
from curation_assets.publish.curating.criteria import Candidates, choose, hash_order
from curation_assets.publish.curating.percentile_values import PercentileValues
from curation_assets.publish.curating.radix_selection import first_of_each, keys_of, number_of
from curation_assets.publish.subsets import Select
from curation_resources.growing_array import GrowingArray

NUMBERS = st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 5e-324, -1.0, float("inf")])


@given(st.lists(NUMBERS, min_size=2, max_size=30))
def test_keys_have_the_order_of_their_numbers_and_stand_for_them(values: list[float]) -> None:
    keys = keys_of(np.array(values)).tolist()
    for a, x in zip(values, keys, strict=True):
        assert number_of(x) == a
        assert all((a < b) == (x < y) for b, y in zip(values, keys, strict=True))


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4), st.sampled_from([0.5, -2.0, 0.0, -0.0, 7.0]), st.integers(0, 2))
    ),
    st.lists(st.integers(0, 9), min_size=5, max_size=5),
    st.integers(1, 40),
)
def test_the_first_of_each_group_are_those_of_sorting(
    rows: list[tuple[bool, int, float, int]], wanted: list[int], part: int
) -> None:
    usable, groups = np.array([r[0] for r in rows], bool), np.array([r[1] for r in rows], np.int32)
    scores, order = np.array([r[2] for r in rows]), np.array([r[3] for r in rows], np.uint64) << np.uint64(60)
    with patch.object(radix_selection, "PART", part):
        orders = (lambda p: keys_of(scores[p]), order.__getitem__)
        found = first_of_each(usable, orders, np.array(wanted), groups)
    by = np.lexsort((np.arange(len(rows)), order, scores))
    expected = np.zeros(len(rows), bool)
    for group, count in enumerate(wanted):
        expected[by[usable[by] & (groups[by] == group)][:count]] = True
    assert found.tolist() == expected.tolist()


@given(
    st.lists(st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0, 2.0, -0.0]), max_size=60),
    st.sampled_from([0, 0.1, 20, 33.3, 50, 99.9, 100]),
    st.integers(1, 70),
    st.sampled_from([1, 2, 5, 64]),
    st.integers(0, 2),
)
def test_percentiles_of_a_file_are_those_of_numpy(
    values: list[float], p: float, held: int, sampled: int, deviations: int
) -> None:
    import tempfile

    small = {"HELD": held, "SAMPLED": sampled, "DEVIATIONS": deviations}
    with patch.multiple(percentile_values, **small), tempfile.TemporaryDirectory() as folder:
        found = PercentileValues(Path(folder) / "v.f64")
        for start in range(0, len(values), 7):
            found.add(np.array(values[start : start + 7]))
        assert found.percentile(p) == (float(np.percentile(values, p)) if values else None)


@pytest.mark.parametrize("p", [0, 3, 50, 99.99, 100])
def test_a_percentile_is_found_between_two_values_of_the_sample_and_else_by_counting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, p: float
) -> None:
    monkeypatch.setattr(percentile_values, "HELD", 10_000)
    even = np.random.default_rng(0).permutation(40_000) / 7
    misleading = np.where(np.arange(40_000) % percentile_values.SAMPLED, even, -1.0)
    for name, values in (("even", even), ("misleading", misleading)):
        found = PercentileValues(tmp_path / f"{name}.f64")
        for part in np.array_split(values, 9):
            found.add(part)
        assert found.percentile(p) == float(np.percentile(values, p))
        by_sample = found._near(int(39_999 * p / 100)) is not None
        assert by_sample or name == "misleading"
        assert not by_sample or name == "even" or p == 0


def test_a_value_that_is_no_number_leaves_no_percentile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(percentile_values, "HELD", 2)
    found = PercentileValues(tmp_path / "v.f64")
    found.add(np.array([1.0, np.nan, 3.0]))
    assert np.isnan(found.percentile(50) or 0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.booleans(), st.integers(1, 20))
@settings(max_examples=40)
def test_videos_in_order_are_balanced_part_by_part_as_others_are_at_once(
    seed: int, count: int, strict: bool, part: int
) -> None:
    chance = np.random.default_rng(seed)
    videos = np.sort(chance.integers(0, 20, 70))
    c = Candidates(hash_order(map(str, range(70)), seed), videos)
    other = Candidates(c.order[::-1], videos[::-1])
    select = Select.model_validate({"criterion": "video_balanced", "count": count, "per_video": 2, "strict": strict})
    with patch.object(criteria, "PART", part), patch.object(radix_selection, "PART", part):
        found = choose(c, select)
    expected = choose(other, select)
    assert found.selected.tolist() == expected.selected[::-1].tolist()
    assert found.report == expected.report


def test_more_classes_than_are_counted_are_sorted_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(3)
    c = Candidates(
        hash_order(map(str, range(400)), 1), None, chance.integers(-1, 30, 400), [str(n) for n in range(30)],
        chance.random(400).round(1),
    )  # fmt: skip
    for order_by in ("aesthetic", None):
        select = Select.model_validate(
            {"criterion": "class_balanced", "class_by": "language", "count": 90, "order_by": order_by}
        )
        counted = choose(c, select)
        with monkeypatch.context() as patched:
            patched.setattr(criteria, "MOST_GROUPS", 10)
            sorted_ = choose(c, select)
        assert counted.selected.tolist() == sorted_.selected.tolist()
        assert counted.report == sorted_.report
        assert counted.report["selected"] == 90


def test_an_array_grows_to_what_was_added() -> None:
    found, parts = GrowingArray(np.int32), [np.arange(n) * 3 for n in (0, 5, 4096, 9000, 1)]
    for part in parts:
        found.add(part)
    assert found.whole().tolist() == np.concatenate(parts).tolist()
    assert GrowingArray(np.uint64).whole().shape == (0,)
