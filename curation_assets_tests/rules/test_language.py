"""The rule language: what it means, that it is safe, and that its errors help."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.rules.evaluation import evaluate, passing
from curation_assets.rules.language import RuleError, parse_rule

COLUMNS = {
    "a": pa.array([1.0, 2.0, None, 4.0]),
    "b": pa.array([4.0, 2.0, 1.0, None]),
    "keep": pa.array([True, False, None, True]),
    "language": pa.array(["en", "de", None, "fr"]),
    "style.cartoon": pa.array([0.1, 0.9, 0.5, None]),
    "n": pa.array([1, 2, 3, 4], pa.int32()),
}


@pytest.mark.parametrize(
    ("rule", "truth"),
    [
        ("a >= 2", [False, True, None, True]),
        ("2 <= a", [False, True, None, True]),
        ("a < b", [True, False, None, None]),
        ("a == b", [False, True, None, None]),
        ("a between 1.5 and 4", [False, True, None, True]),
        ("keep", [True, False, None, True]),
        ("not keep", [False, True, None, False]),
        ("a is null", [False, False, True, False]),
        ("a is not null and keep", [True, False, False, True]),
        ("a is null or a < 2", [True, False, True, False]),
        ("language in [en, 'fr']", [True, False, None, True]),
        ("language not in [en]", [False, True, None, True]),
        ("language = en", [True, False, None, False]),
        ("n in [1, 4]", [True, False, False, True]),
        ("style.cartoon <= 0.5", [True, False, True, None]),
        ("not (a > 1 or b > 3) or n = 4", [False, False, None, True]),
        ("a > 1 and b > 1 or keep", [True, True, None, True]),
        ("a > -1e1", [True, True, None, True]),
        ("keep = true", [True, False, None, True]),
        ("a * b >= 4", [True, True, None, None]),
        ("a + b = 5 or n - 1 > 2", [True, False, None, True]),
        ("(a + 1) * 2 between 4 and 6", [True, True, None, False]),
        ("a / (n - 2) > 0", [False, None, None, True]),
        ("n * 2 in [2, 8]", [True, False, False, True]),
        ("a - b is null", [False, False, True, True]),
        ("a -1 >= 1", [False, True, None, True]),
        ("a > -1 * 2 + 3", [False, True, None, True]),
        ("10 < n * (a + 1)", [False, False, None, True]),
        ("(a) > 1 and not (n + 1 > 4)", [False, True, None, False]),
        ("((n)) in [1] or ((keep and (a + b) > 4))", [True, False, None, None]),
        ("n - a - 1 = -1", [True, True, None, True]),
        ("n / 2 * 2 = n", [True, True, True, True]),
    ],
)
def test_meaning(rule: str, truth: list[bool | None]) -> None:
    assert evaluate(parse_rule(rule), COLUMNS).to_pylist() == truth
    assert passing(parse_rule(rule), COLUMNS).to_pylist() == [bool(t) for t in truth]


def test_a_score_that_was_stored_as_a_number_equals_that_number() -> None:
    scores = {"a": pa.array([0.2, 0.7, 4.5, None], pa.float32())}
    for number in ("0.2", "0.7", "4.5"):
        low, exact, high = (evaluate(parse_rule(f"a {op} {number}"), scores).to_pylist() for op in ("<", "=", ">"))
        assert exact.count(True) == 1
        assert [sum(three) for three in zip(low[:3], exact[:3], high[:3], strict=True)] == [1, 1, 1]
    assert evaluate(parse_rule("a between 0.2 and 0.7"), scores).to_pylist() == [True, True, False, None]


def test_calculations_have_one_text_keep_precision_and_do_not_overflow() -> None:
    for text in ("a - (b - n) * 2 / (a + 1)", "a - b - n", "a * b / n", "a / (b * n)"):
        rule = parse_rule(f"{text} >= 0")
        assert rule.node.left.name == text  # type: ignore[union-attr]
    assert parse_rule("((a)*b)>=p80").percentiles == {("a * b", 80.0)}
    assert evaluate(parse_rule("x * 1 >= 0.7"), {"x": pa.array([0.7], pa.float32())}).to_pylist() == [True]
    assert evaluate(parse_rule("x * x > 9e9"), {"x": pa.array([100_000], pa.int32())}).to_pylist() == [True]
    views = {"source.views": pa.array(["30", "many", None]), "s": pa.array([2.0, 2.0, 2.0])}
    assert evaluate(parse_rule("source.views / s > 10"), views).to_pylist() == [True, None, None]
    with pytest.raises(RuleError, match="there is no column 'z'"):
        evaluate(parse_rule("a * z > 1"), COLUMNS)


def test_percentiles_are_given_from_outside() -> None:
    rule = parse_rule("a >= p80 and b < p50")
    assert rule.percentiles == {("a", 80.0), ("b", 50.0)}
    assert evaluate(rule, COLUMNS, {("a", 80.0): 2.0, ("b", 50.0): 3.0}).to_pylist() == [False, True, None, None]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("", "a rule is empty"),
        ("a >> 3", "expected a column, a number or a quoted text, found '>'"),
        ("a between 1", "expected 'and', found 'the end'"),
        ("__import__('os')", "expected `and`, `or` or the end, found '('"),
        ("a; b", "cannot read '; b'"),
        ("a > 1 b > 2", "expected `and`, `or` or the end, found 'b'"),
        ("a > p101", "percentiles go from p0 to p100"),
        ("1 < 2", "needs a column on one side"),
        ("(a > 1", "expected ')'"),
        ("a * 'x' > 1", "'x' is no number to calculate with"),
        ("a > p50 + 1", "a percentile is no number to calculate with"),
        ("a / 0 > 1", "divides by zero"),
        ("a + 1", "expected a comparison, found 'the end'"),
        ("a in [b + 1]", "expected `,` or `]`, found '+'"),
        ("a - - 1 > 2 and a > - b", "expected a number after `-`"),
        ("(" * 150 + "a" + ")" * 150 + " * 1" * 60 + " > 1", "joins more than 200 parts"),
    ],
)
def test_errors_quote_the_rule_and_say_what_is_expected(rule: str, message: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(rule)
    assert message in str(caught.value)


def test_unknown_columns_and_wrong_types_are_named() -> None:
    with pytest.raises(RuleError, match="there is no column 'z'; there are a, b"):
        evaluate(parse_rule("z > 1"), COLUMNS)
    with pytest.raises(RuleError, match="values cannot be compared"):
        evaluate(parse_rule("language > 3"), COLUMNS)
    with pytest.raises(RuleError, match="a is not true or false"):
        evaluate(parse_rule("a"), COLUMNS)


@given(st.text(max_size=40))
def test_no_text_does_anything_but_parse_or_fail_with_a_rule_error(text: str) -> None:
    try:
        parse_rule(text)
    except RuleError:
        pass


@given(st.lists(st.none() | st.floats(-10, 10), min_size=1, max_size=20), st.floats(-10, 10))
def test_a_rule_and_its_negation_never_both_pass(values: list[float | None], threshold: float) -> None:
    columns = {"x": pa.array(values, pa.float64())}
    rule, negation = parse_rule(f"x <= {threshold:.6f}"), parse_rule(f"not x <= {threshold:.6f}")
    for v, yes, no in zip(
        values, passing(rule, columns).to_pylist(), passing(negation, columns).to_pylist(), strict=True
    ):
        assert (yes, no) in ({(False, False)} if v is None else {(True, False), (False, True)})
