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
    Compare,
    Either,
    In,
    IsNull,
    Literal,
    Name,
    Node,
    Not,
    Operand,
    Percentile,
    Rule,
    RuleError,
    Truth,
)


def numbers(values: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Texts as the numbers that they are the texts of, null where they are none; other values as they are."""
    if not pa.types.is_string(values.type):
        return values
    text = pc.utf8_trim_whitespace(values)
    valid = pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    return pc.if_else(
        valid, pc.if_else(valid, pc.utf8_ltrim(text, "+"), "0").cast(pa.float64()), pa.scalar(None, pa.float64())
    )


def _is_number(operand: Operand) -> bool:
    return isinstance(operand, Percentile) or (isinstance(operand, Literal) and isinstance(operand.value, float))


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

    def column(name: Name) -> Any:
        try:
            return columns[name.name]
        except KeyError:
            raise RuleError(
                f"rule {rule.text!r}: there is no column {name.name!r}; there are {', '.join(sorted(columns))}"
            ) from None

    def value(operand: Operand, left: Name) -> Any:
        if isinstance(operand, Name):
            return columns.get(operand.name, operand.name)
        if isinstance(operand, Percentile):
            return pa.scalar((percentiles or {})[left.name, operand.p], pa.float64())
        if column(left).type == pa.float32() and isinstance(operand.value, float):
            return pa.scalar(operand.value, pa.float32())  # 0.2 is the score that was stored as 0.2
        return operand.value

    def run(node: Node) -> Any:
        of_source = not isinstance(node, Not | Both | Either) and node.left.name.startswith(SOURCE)
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
