"""The numbers of a rule that may be others, and the rule with other ones, otherwise as it was written.

What belongs here: where in a rule's text such a number stands. What does not: parsing (`language.py`), what other numbers mean for clips (`look/funnel.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curation_assets.rules.language import (
    ORDERINGS,
    Both,
    Compare,
    Literal,
    Measure,
    Node,
    Percentile,
    Rule,
    RuleError,
    parse_rule,
)
from curation_assets.rules.tokens import placed

STRANGE = 918273645.5
"""A number that no rule has."""


@dataclass(frozen=True)
class Movable:
    """A comparison of a rule with a number, alone or joined to the rest by `and`: moving the number makes the rule stricter or looser.

    Attributes:
        left: what is compared.
        op: of `ORDERINGS`.
        value: the number; of a percentile, its p.
        percentile: whether it is one.
    """

    left: Measure
    op: str
    value: float
    percentile: bool


@dataclass(frozen=True)
class Template:
    """A rule with its movable numbers taken out.

    Attributes:
        parts: the texts around the numbers, one more than there are numbers.
        numbers: in the order in which they stand.
    """

    parts: tuple[str, ...]
    numbers: tuple[Movable, ...]

    def filled(self, values: Sequence[float | None]) -> str:
        """The rule with other numbers; None leaves one as it was."""
        told = [as_was(m) if v is None else as_number(v) for m, v in zip(self.numbers, values, strict=True)]
        return "".join(part + text for part, text in zip(self.parts, [*told, ""], strict=True))


def as_number(value: float) -> str:
    """A number as rules take it, with all its digits."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def as_was(number: Movable) -> str:
    """A movable number as rules have it."""
    return f"p{number.value:g}" if number.percentile else as_number(number.value)


def template(rule: Rule) -> Template:
    """A rule with its movable numbers taken out; of one without any, the one part is its text.

    Which number of the text is which of the parsed rule is found by putting another one there and parsing again: only its own comparison then differs.
    """
    known = list(_comparisons(rule.node))
    found: dict[int, tuple[int, int]] = {}
    before = ("", 0)
    for kind, value, start, end in placed(rule.text):
        if kind == "number" or (kind == "word" and re.fullmatch(r"p\d{1,3}", value)):
            at = _moved(rule.text, start, end, known)
            if at is not None:
                number, negative = at
                found.setdefault(number, (before[1] if negative else start, end))
        before = (value, start)
    spans = sorted((span, known[number]) for number, span in found.items())
    edges = [0, *(e for (_, e), _ in spans)], [*(s for (s, _), _ in spans), len(rule.text)]
    return Template(tuple(rule.text[a:b] for a, b in zip(*edges, strict=True)), tuple(movable for _, movable in spans))


def _moved(text: str, start: int, end: int, known: Sequence[Movable]) -> tuple[int, bool] | None:
    """Which comparison another number at a place of the text changes, and whether a minus sign before belongs to it; None if none or several."""
    try:
        other = list(_comparisons(parse_rule(f"{text[:start]}{STRANGE}{text[end:]}").node))
    except RuleError:
        return None
    if len(other) != len(known):
        return None
    changed = [i for i, (a, b) in enumerate(zip(known, other, strict=True)) if a != b]
    if len(changed) != 1 or abs(other[changed[0]].value) != STRANGE or other[changed[0]].left != known[changed[0]].left:
        return None
    return changed[0], other[changed[0]].value < 0


def _comparisons(node: Node) -> Iterator[Movable]:
    if isinstance(node, Both):
        yield from _comparisons(node.left)
        yield from _comparisons(node.right)
    elif isinstance(node, Compare) and node.op in ORDERINGS:
        if isinstance(node.right, Percentile):
            yield Movable(node.left, node.op, node.right.p, True)
        elif isinstance(node.right, Literal) and isinstance(node.right.value, float):
            yield Movable(node.left, node.op, node.right.value, False)
