"""Rules are evaluated here: a parsed rule and columns give true, false or unknown for each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.rules.language import (
    COMPARISONS,
    SOURCE,
    Both,
    Calculation,
    Compare,
    Either,
    In,
    IsNull,
    Literal,
    Measure,
    Name,
    Node,
    Not,
    Operand,
    Percentile,
    Rule,
    RuleError,
    Truth,
    names_in,
)

_CALCULATED = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
"""What Arrow calls the signs of arithmetic."""


def numbers(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Texts as the numbers that they are the texts of, null where they are none; other values as they are."""
    if not pa.types.is_string(values.type):
        return values
    text = pc.utf8_trim_whitespace(values)
    valid = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    return pc.if_else(
        valid, pc.if_else(valid, pc.utf8_ltrim(text, "+"), "0").cast(pa.float64()), pa.scalar(None, pa.float64())
    )


def measured(measure: Operand, columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> Any:
    """The values of what a rule compares: a column as it is, a number, or what is worked out from columns.

    Calculations are made in double precision and kept in single precision where a column is stored so, so that a number that comes out as it was
    written compares as equal. Unknown with an unknown part, and over zero.

    Raises:
        RuleError: a column that is not there, or one that holds no numbers in a calculation.
    """
    if isinstance(measure, Name):
        if measure.name not in columns:
            raise RuleError(f"there is no column {measure.name!r}; there are {', '.join(sorted(columns))}")
        return columns[measure.name]
    if not isinstance(measure, Calculation):
        return pa.scalar(measure.value if isinstance(measure, Literal) else None)
    used = [columns[n.name] for n in names_in(measure) if n.name in columns]
    single = any(c.type == pa.float32() for c in used)

    def worked_out(term: Operand) -> Any:
        if not isinstance(term, Calculation):
            values = measured(term, columns)
            if isinstance(term, Name) and term.name.startswith(SOURCE):
                values = numbers(values)
            if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
                raise RuleError(f"{getattr(term, 'name', term)} is {values.type}, which cannot be calculated with")
            return values.cast(pa.float64())
        left, right = worked_out(term.left), worked_out(term.right)
        if term.op == "/":
            right = pc.if_else(pc.equal(right, 0.0), pa.scalar(None, pa.float64()), right)
        return getattr(pc, _CALCULATED[term.op])(left, right)

    found = worked_out(measure)
    return found.cast(pa.float32()) if single else found


def _is_number(operand: Operand) -> bool:
    return isinstance(operand, Percentile | Calculation) or (
        isinstance(operand, Literal) and isinstance(operand.value, float)
    )


def evaluate(
    rule: Rule,
    columns: Mapping[str, pa.Array | pa.ChunkedArray],
    percentiles: Mapping[tuple[str, float], float | None] | None = None,
) -> pa.ChunkedArray | pa.Array:
    """Applies a rule to a batch.

    Args:
        rule: the rule.
        columns: for each of `rule.columns`, the values, all of one length.
        percentiles: for each of `rule.percentiles`, its value; None if the column has none.

    Returns:
        A boolean array, true where the rule holds, null where it cannot be decided.

    Raises:
        RuleError: a column that is not there, or values that cannot be compared.
    """

    def column(measure: Measure) -> Any:
        try:
            return measured(measure, columns)
        except RuleError as error:
            raise RuleError(f"rule {rule.text!r}: {error}") from None

    def value(operand: Operand, left: Measure) -> Any:
        if isinstance(operand, Name):
            return columns.get(operand.name, operand.name)
        if isinstance(operand, Percentile):
            return pa.scalar((percentiles or {})[left.name, operand.p], pa.float64())
        if isinstance(operand, Calculation):
            return column(operand)
        if column(left).type == pa.float32() and isinstance(operand.value, float):
            return pa.scalar(operand.value, pa.float32())  # 0.2 is the score that was stored as 0.2
        return operand.value

    def run(node: Node) -> Any:
        left_name = (
            "" if isinstance(node, Not | Both | Either) or isinstance(node.left, Calculation) else node.left.name
        )
        of_source = left_name.startswith(SOURCE)
        if isinstance(node, Compare):
            left = column(node.left)
            if of_source and _is_number(node.right):
                left = numbers(left)
            elif of_source and isinstance(node.right, Literal) and isinstance(node.right.value, bool):
                left = pc.equal(pc.utf8_lower(left), "true")
            return getattr(pc, COMPARISONS[node.op])(left, value(node.right, node.left))
        if isinstance(node, In):
            values = column(node.left)
            if of_source and all(isinstance(v, float) for v in node.values):
                values = numbers(values)
            found = pc.is_in(values, value_set=pa.array(list(node.values)).cast(values.type))
            return pc.if_else(pc.is_null(values), pa.scalar(None, pa.bool_()), found)
        if isinstance(node, IsNull):
            return pc.is_null(column(node.left))
        if isinstance(node, Truth):
            values = column(node.left)
            if of_source:
                return pc.is_in(pc.utf8_lower(values), value_set=pa.array(["true", "yes", "1"]))
            if not pa.types.is_boolean(values.type):
                raise RuleError(f"rule {rule.text!r}: {node.left.name} is not true or false; compare it with something")
            return values
        if isinstance(node, Not):
            return pc.invert(run(node.inner))
        if isinstance(node, Both):
            return pc.and_kleene(run(node.left), run(node.right))
        return pc.or_kleene(run(node.left), run(node.right))

    try:
        return run(rule.node)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise RuleError(f"rule {rule.text!r}: values cannot be compared ({error})") from error


def passing(
    rule: Rule,
    columns: Mapping[str, pa.Array | pa.ChunkedArray],
    percentiles: Mapping[tuple[str, float], float | None] | None = None,
) -> pa.ChunkedArray | pa.Array:
    """As `evaluate`, with null as false: exactly the rows that pass."""
    return pc.fill_null(evaluate(rule, columns, percentiles), False)
