from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.engine.shard_keys import parse_shard_key, shard_key


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
