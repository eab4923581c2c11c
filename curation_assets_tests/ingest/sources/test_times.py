from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.ingest.sources.times import TimeError, Unit, parse_spans, parse_time


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("00:00:17.759", "s", 17_759),
        ("00:00:17,759", "s", 17_759),
        ("00:04:52", "s", 292_000),
        ("00:04:52.", "s", 292_000),
        ("00:00:00.5", "s", 500),
        ("00:00:00.123456", "s", 123),
        ("00:00:00.1235", "s", 124),
        ("00:00:59.9996", "s", 60_000),
        ("123:00:00.000", "s", 442_800_000),
        ("90:30", "s", 5_430_000),
        ("-00:00:05.250", "s", -5_250),
        (" 00:00:01.000 ", "ms", 1_000),
        (76.827, "s", 76_827),
        (69, "s", 69_000),
        ("69.5", "s", 69_500),
        ("69,5", "s", 69_500),
        (1500, "ms", 1_500),
        (1_500_499, "us", 1_500),
        (1_500_500, "us", 1_501),
        (-3, "s", -3_000),
    ],
)
def test_times(value: object, unit: Unit, expected: int) -> None:
    assert parse_time(value, unit) == expected


@pytest.mark.parametrize(
    "value",
    ["", "abc", "00:61:00", "00:00:60", "1:2:3:4", "00:00:1", "00:00:01.1234567", "::", "nan", "inf", math.nan, math.inf, None, True,
     [1], "1e400", 1e300, 10**30, "00:00:0\u0661.000", "00:00:01.\u0661\u0662\u0663"],
)  # fmt: skip
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(TimeError):
        parse_time(value)


@given(st.integers(0, 10**9), st.integers(0, 6), st.sampled_from(".,"))
def test_clocks_are_exact_at_every_number_of_digits(ms: int, digits: int, mark: str) -> None:
    micros = ms * 1000 // 10 ** (6 - digits) * 10 ** (6 - digits)
    seconds, rest = divmod(micros, 10**6)
    fraction = mark + f"{rest:06d}"[:digits] if digits else ""
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
    assert parse_time(clock) == (micros + 500) // 1000


@given(st.integers(-(10**9), 10**9))
def test_units_agree(ms: int) -> None:
    assert (
        parse_time(ms, "ms")
        == parse_time(ms * 1000, "us")
        == parse_time(ms / 1000, "s")
        == parse_time(str(ms / 1000))
        == ms
    )


SPANS = [[1.5, 2.25], [3, 4]]
MILLISECONDS = [(None, 1500, 2250), (None, 3000, 4000)]


@pytest.mark.parametrize(
    "value",
    [SPANS, json.dumps(SPANS), repr(SPANS), "[(1.5, 2.25), (3, 4)]", "(['00:00:01.500', '2.25'], ['3', '00:04'])",
     [*[{"start": 1.5, "end": 2.25}, {"span": ["00:00:01.500", 2.25]}][:1], (3, 4)]],
)  # fmt: skip
def test_spans_as_lists_json_and_python_literals(value: object) -> None:
    assert parse_spans(value) == MILLISECONDS


@pytest.mark.parametrize(
    "value", ["[69, 79]", [69, 79], "('69', '79')", '["00:01:09", "00:01:19"]', {"start": 69, "end": 79}]
)
def test_a_bare_pair_is_one_span(value: object) -> None:
    assert parse_spans(value, clip_ids="a") == [("a", 69_000, 79_000)]


@pytest.mark.parametrize("value", [None, "", "null", "None", "nan", math.nan, [], "[]"])
def test_no_spans(value: object) -> None:
    assert parse_spans(value) == []


@pytest.mark.parametrize("span", [[5, 5], [9, 3], [-2, 4], [-4, -2]])
def test_empty_inverted_and_negative_spans_are_kept_as_given(span: list[int]) -> None:
    assert parse_spans([span]) == [(None, span[0] * 1000, span[1] * 1000)]


@pytest.mark.parametrize(
    "value",
    ["[1, 2", "[[1, 2], [3]]", "[[1, 2, 3]]", "[1, 2, 3]", "[[1, null]]", "hello", 5, "[[1, 2], 3]", [[1, "x"]], "[" * 10_000, b"[1,2]",
     "__import__('os').getcwd()", "[open('/etc/passwd'), 1]", "[[1, 2]] * 10", [[1, [2]]], {"start": 1}],
)  # fmt: skip
def test_what_is_no_span_is_refused_and_never_run(value: object) -> None:
    with pytest.raises(TimeError):
        parse_spans(value)


def test_clip_ids_must_match_in_number() -> None:
    assert parse_spans(SPANS, clip_ids=["a", None]) == [("a", 1500, 2250), (None, 3000, 4000)]
    assert parse_spans(SPANS, clip_ids='["a", "b"]')[1][0] == "b"
    with pytest.raises(TimeError, match="1 clip ids for 2 spans"):
        parse_spans(SPANS, clip_ids="a")
