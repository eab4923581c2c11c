"""The time grid of the meters."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curation_assets.decode.measures.slots import Slots


def chosen(times: list[float], fps: float) -> list[float]:
    slots, taken = Slots(fps), []
    for time_ms in times:
        if slots.due(time_ms):
            slots.take(time_ms)
            taken.append(time_ms)
    return taken


@pytest.mark.parametrize("rate", [23.976, 25, 29.97, 60])
def test_no_drift(rate: float) -> None:
    times = [k * 1000 / rate for k in range(int(600 * rate))]
    taken = chosen(times, 4)
    assert len(taken) == 2400
    assert max(t - k * 250 for k, t in enumerate(taken)) <= 1000 / rate + 1e-6


@example(times=[99967, 100000], fps=29.97)
@given(st.lists(st.integers(0, 100_000), min_size=1, unique=True).map(sorted), st.sampled_from([0.5, 2.0, 3.0, 29.97]))
def test_first_of_each_slot_that_has_a_frame(times: list[int], fps: float) -> None:
    taken = chosen([float(t) for t in times], fps)
    first: dict[int, float] = {}
    for t in times:
        first.setdefault(math.floor(t * Fraction(str(fps)) / 1000), float(t))
    assert taken == list(first.values())
