"""Which numbers of a rule can be others, and that nothing else of it changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.rules.language import parse_rule
from curation_assets.rules.movable import as_number, template

NUMBERS = st.floats(-1e9, 1e9, allow_nan=False)


@pytest.mark.parametrize(
    ("rule", "numbers"),
    [
        ("keep", []),
        ("motion >= 0.01", [("motion", ">=", 0.01)]),
        ("0.5<=x and y in [1, 2]", [("x", ">=", 0.5)]),
        ("x  between 0.002 and 0.2 and not y > 3", [("x", ">=", 0.002), ("x", "<=", 0.2)]),
        ("loudness > -23.5", [("loudness", ">", -23.5)]),
        ("-2 < a and a <= -1.5", [("a", ">", -2), ("a", "<=", -1.5)]),
        (
            'option."a city 7 street".match > 20 and width * height >= 5e5',
            [("option.a city 7 street.match", ">", 20), ("width * height", ">=", 5e5)],
        ),
        ("(x - 5) / 2 > 7", [("(x - 5) / 2", ">", 7)]),
        ("x >= 1 and x >= 1", [("x", ">=", 1), ("x", ">=", 1)]),
        ("a >= p80", [("a", ">=", 80)]),
        ("a >= 1 or b > 2", []),
        ("not a >= 1", []),
        ("x = 3", []),
        ("x > 3 - 5", []),
        ("title = 'x >= 3' and x >= 3", [("x", ">=", 3)]),
    ],
)
def test_numbers_that_can_be_moved(rule: str, numbers: list[tuple[str, str, float]]) -> None:
    found = template(parse_rule(rule))
    assert [(n.left.name, n.op, n.value) for n in found.numbers] == numbers
    same = parse_rule(found.filled([None] * len(numbers)))
    assert same.node == parse_rule(rule).node


@given(
    st.lists(
        st.tuples(st.sampled_from(["motion", "a", "width * height"]), st.sampled_from(["<", "<=", ">", ">="]), NUMBERS),
        min_size=1,
        max_size=4,
    ),
    st.data(),
)
def test_other_numbers_stand_where_the_old_ones_did(parts: list[tuple[str, str, float]], data: st.DataObject) -> None:
    rule = " and ".join(f"{name} {op} {as_number(value)}" for name, op, value in parts)
    other = [data.draw(NUMBERS) for _ in parts]
    moved = template(parse_rule(template(parse_rule(rule)).filled(other)))
    assert [(n.left.name, n.op, n.value) for n in moved.numbers] == [
        (name, op, value) for (name, op, _), value in zip(parts, other, strict=True)
    ]
