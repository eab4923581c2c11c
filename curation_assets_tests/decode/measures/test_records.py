"""What is kept is the same in memory and in a file."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.decode.measures.records import Records


def record(number: int) -> np.ndarray:
    return np.full(10, number % 256, np.uint8)


@given(st.lists(st.sampled_from(["append", "append", "append", "append", "thin", "forget"]), max_size=80), st.data())
def test_any_course_of_events_leaves_what_a_list_holds(events: list[str], data: st.DataObject) -> None:
    kept, expected = Records(memory=70), []
    for number, event in enumerate(events):
        if event == "append":
            kept.append(record(number))
            expected.append(number % 256)
        elif event == "thin":
            kept.thin()
            del expected[1::2]
        else:
            kept.forget(min(2, len(expected)))
            del expected[:2]
    assert len(kept) == len(expected)
    first = data.draw(st.integers(0, len(expected)))
    end = data.draw(st.integers(first, len(expected)))
    found = kept.between(first, end)
    assert found[:, :1].ravel().tolist() == expected[first:end]
    assert len(found) == 0 or (found == found[:, :1]).all()


@pytest.mark.parametrize("count", [3, 30_000])
def test_what_lies_in_memory_does_not_grow(count: int) -> None:
    kept = Records(memory=1000)
    for number in range(count):
        kept.append(record(number))
    assert sum(r.size for r in kept._latest) <= 1000
    assert kept.between(count - 3, count)[:, 0].tolist() == [n % 256 for n in range(count - 3, count)]
    assert kept.between(0, 3)[:, 0].tolist() == [0, 1, 2]
