from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.engine.shard_keys import named, parse_shard_key, ranged, shard_key


@given(st.from_regex(r"[a-z0-9][a-z0-9_]*", fullmatch=True), st.integers(0, 10**12))
def test_a_key_is_read_as_it_was_made(dataset: str, number: int) -> None:
    assert parse_shard_key(shard_key(dataset, number)) == (dataset, number)


def test_keys_have_at_least_five_digits() -> None:
    assert shard_key("hdvila", 7) == "hdvila-00007"
    assert shard_key("hdvila", 123_456) == "hdvila-123456"


@pytest.mark.parametrize(
    "key", ["hdvila-7", "hdvila-0123456", "Hdvila-00001", "hdvila_00001", "-00001", "a-00001 ", "a-0000\u0661"]
)
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="no shard key"):
        parse_shard_key(key)


@pytest.mark.parametrize(("dataset", "number"), [("a", -1), ("A", 0), ("", 0), ("a-b", 0)])
def test_what_makes_no_key_is_refused(dataset: str, number: int) -> None:
    with pytest.raises(ValueError, match="no shard key"):
        shard_key(dataset, number)


@given(st.lists(st.booleans(), max_size=40))
def test_ranges_name_what_they_were_made_of(chosen: list[bool]) -> None:
    order = [shard_key("ab"[n % 2], n) for n in range(len(chosen))]
    keys = [k for k, taken in zip(order, chosen, strict=True) if taken]
    said = list(ranged(keys, order))
    assert named(said, order) == keys
    assert len(said) == sum(taken and not before for before, taken in zip([False, *chosen], chosen, strict=False))


def test_a_command_line_has_room_for_the_shards_of_hdvila() -> None:
    order = [shard_key("hdvila", n) for n in range(33_000)]
    assert list(ranged(order, order)) == ["hdvila-00000..hdvila-32999"]
    assert named(["hdvila-00007", "hdvila-32998..hdvila-32999"], order) == [order[7], *order[-2:]]


def test_ranges_that_name_no_shards_are_given_back() -> None:
    order = [shard_key("a", n) for n in range(3)]
    wrong = ["a-00002..a-00001", "a-00001..b-00002", "a-00003", "a-00001..a-00002..a-00000"]
    with pytest.raises(LookupError) as refused:
        named(["a-00001", *wrong], order)
    assert list(refused.value.args) == wrong
