"""The rule language of recipes: small boolean expressions over the columns of a clip or track.

    aesthetic >= 4.5                     comparisons: = == != < <= > >=
    motion between 0.002 and 0.2         both ends included
    licence = "CC BY" or channel != 'x'  a text, in quotes of either kind
    language in [en, de]                 also `not in`; here words need no quotes
    caption is not null                  also `is null`
    keep                                 a boolean column by itself
    style.cartoon < 0.5 and not blank > 0.9     and, or, not, parentheses; dots name a category of a prompt set, here its probability
    option.animal.match >= 20 and option."a city street".probability > 0.5     its match (100 x cosine, largest over frames), its probability
    label.ok and not label.drop          labels that people gave: true where one holds, else false, never unknown
    source.views > 1000 and source."Aesthetic Score" > 5     a column of the source's list, of the clip's span or else of its video
    width * height >= 500000 and file_size / duration_s < 2e6     + - * / and parentheses, with spaces around; a number over zero is unknown
    aesthetic >= p80                     p0 to p100: percentile of that column over all candidates with a value

Columns of the source are text. Compared with a number they count as the number that they hold, and are null where they hold none.
Three-valued logic as in SQL: a comparison with null is null, and a clip passes only where the rule is true. So a clip with an unknown
value never passes by accident; `x is null or x < 3` lets it. Text is parsed and interpreted here; nothing is ever evaluated as Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import add, mul, sub, truediv
from typing import Any, NoReturn

from curation_assets.rules.tokens import closing, tokens_of


class RuleError(ValueError):
    """A rule that cannot be read or applied; the message quotes it and says what is expected where."""


@dataclass(frozen=True)
class Name:
    """A column, or `<prompt set>.<category>`."""

    name: str


@dataclass(frozen=True)
class Literal:
    """A number, a text, true or false that stands in a rule."""

    value: float | str | bool


@dataclass(frozen=True)
class Percentile:
    """The p-th percentile, 0 to 100, of the column that it is compared with."""

    p: float


@dataclass(frozen=True)
class Calculation:
    """Two numbers added, subtracted, multiplied or divided: `op` is one of + - * /."""

    op: str
    left: Term
    right: Term

    @property
    def name(self) -> str:
        """As a rule would have it, which stands for the column that it gives."""
        return f"{_within(self.left, self.op, False)} {self.op} {_within(self.right, self.op, True)}"


Term = Name | Literal | Calculation
Measure = Name | Calculation
"""What is compared: a column, or what is worked out from columns."""
Operand = Term | Percentile


def _within(term: Term, op: str, right: bool) -> str:
    """The text of a part of a calculation, in parentheses where it needs them."""
    if isinstance(term, Calculation):
        bare = op in "+-" and not (right and term.op in "+-") if op in "+-" else term.op in "*/" and not right
        return term.name if bare else f"({term.name})"
    return (
        term.name if isinstance(term, Name) else f"{term.value:g}" if isinstance(term.value, float) else str(term.value)
    )


@dataclass(frozen=True)
class Compare:
    """A column compared with a value: `op` is one of = != < <= > >=."""

    left: Measure
    op: str
    right: Operand


@dataclass(frozen=True)
class In:
    """Whether a column has one of several values."""

    left: Measure
    values: tuple[float | str | bool, ...]


@dataclass(frozen=True)
class IsNull:
    """Whether a column is null."""

    left: Measure


@dataclass(frozen=True)
class Truth:
    """A boolean column by itself."""

    left: Name


@dataclass(frozen=True)
class Not:
    """True where the inner rule is false, and null where it is null."""

    inner: Node


@dataclass(frozen=True)
class Both:
    """Two rules joined by `and`."""

    left: Node
    right: Node


@dataclass(frozen=True)
class Either:
    """Two rules joined by `or`."""

    left: Node
    right: Node


Node = Compare | In | IsNull | Truth | Not | Both | Either


@dataclass(frozen=True)
class Rule:
    """A parsed rule. `text` is as written and serves as the drop reason."""

    text: str
    node: Node = field(repr=False)

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names that the rule reads."""
        return frozenset(n.name for n in _names(self.node))

    @property
    def percentiles(self) -> frozenset[tuple[str, float]]:
        """(column, p) pairs whose values `evaluate` must be given."""
        return frozenset((measure.name, p) for measure, p in self.ranked)

    @property
    def ranked(self) -> frozenset[tuple[Measure, float]]:
        """The same, with what the values are worked out from."""
        return frozenset(
            (n.left, n.right.p) for n in _walk(self.node) if isinstance(n, Compare) and isinstance(n.right, Percentile)
        )

    def resolved(self, percentiles: Mapping[tuple[str, float], float | None]) -> str:
        """The text with what its percentiles stand for: `aesthetic >= p80 (= 5.31)`."""
        found = [(c, p, percentiles[c, p]) for c, p in sorted(self.percentiles)]
        if not found:
            return self.text
        values = ["none: no value is known" if v is None else f"{v:.4g}" for _, _, v in found]
        if len(found) == 1:
            return f"{self.text} (= {values[0]})"
        named = (f"p{p:g} of {c} = {value}" for (c, p, _), value in zip(found, values, strict=True))
        return f"{self.text} ({', '.join(named)})"


MAX_PARTS = 200
"""Of `and`, `or`, `not`, `(` and signs of arithmetic in one rule: each may be a level of the tree, and rules are walked recursively."""
MAX_CHARS = 20_000
DERIVED = ("duration_s", "aspect", "pixels")
"""Names that are worked out from a clip's row: length in seconds, displayed width over height, width times height."""
SOURCE = "source."
"""What names of columns of the source's list begin with."""
LABEL = "label."
"""What names of labels that people gave begin with."""
ORDERINGS: Mapping[str, str] = {"<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal"}
"""Comparisons with a threshold, and what NumPy and Arrow call them."""
COMPARISONS: Mapping[str, str] = {"=": "equal", "!=": "not_equal", **ORDERINGS}
"""All comparisons, likewise."""
ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {"+": add, "-": sub, "*": mul, "/": truediv}
"""What rules calculate with."""
_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "=": "=", "!=": "!="}


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.at = text, tokens_of(text), 0
        if self.tokens and self.tokens[-1][0] == "unreadable":
            raise RuleError(f"rule {text!r}: cannot read {self.tokens[-1][1][:20]!r}")
        self.closed = closing(self.tokens)

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "the end")

    def take(self, *values: str) -> bool:
        if self.peek()[1] in values and self.peek()[0] != "string":
            self.at += 1
            return True
        return False

    def need(self, value: str) -> None:
        if not self.take(value):
            self.fail(repr(value))

    def fail(self, expected: str) -> NoReturn:
        raise RuleError(f"rule {self.text!r}: expected {expected}, found {self.peek()[1]!r}")

    def rule(self) -> Node:
        node = self.either()
        if self.peek()[0] != "end":
            self.fail("`and`, `or` or the end")
        return node

    def either(self) -> Node:
        node = self.both()
        while self.take("or"):
            node = Either(node, self.both())
        return node

    def both(self) -> Node:
        node = self.negation()
        while self.take("and"):
            node = Both(node, self.negation())
        return node

    def negation(self) -> Node:
        if self.take("not"):
            return Not(self.negation())
        if self.peek() == ("mark", "(") and not self.numeric():
            self.at += 1
            node = self.either()
            self.need(")")
            return node
        return self.comparison()

    def numeric(self) -> bool:
        """Whether the parenthesis that begins here is of a calculation: what follows it calculates or compares."""
        end = self.closed.get(self.at, len(self.tokens)) + 1
        kind, value = self.tokens[end] if end < len(self.tokens) else ("end", "")
        return kind in ("sign", "op") or (kind == "keyword" and value in ("between", "in", "is", "not"))

    def comparison(self) -> Node:
        left = self.sum()
        if isinstance(left, Percentile):
            left = Name(f"p{left.p:g}")
        kind, op = self.peek()
        if kind == "op":
            self.at += 1
            op = "=" if op == "==" else op
            right = self.sum()
            if isinstance(left, Measure):
                return Compare(left, op, right)
            if isinstance(right, Measure):
                return Compare(right, _FLIPPED[op], left)
            raise RuleError(f"rule {self.text!r}: a comparison needs a column on one side")
        if not isinstance(left, Measure):
            self.fail("a comparison")
        if self.take("between"):
            low = self.sum()
            self.need("and")
            return Both(Compare(left, ">=", low), Compare(left, "<=", self.sum()))
        negated = self.take("not")
        if self.take("in"):
            node: Node = In(left, self.values())
            return Not(node) if negated else node
        if negated:
            self.fail("`in` after `not`")
        if self.take("is"):
            negated = self.take("not")
            self.need("null")
            return Not(IsNull(left)) if negated else IsNull(left)
        return Truth(left) if isinstance(left, Name) else self.fail("a comparison")

    def sum(self) -> Operand:
        found = self.product()
        while self.peek()[0] == "sign" and self.peek()[1] in "+-":
            found = self.calculation(found, self.product)
        return found

    def product(self) -> Operand:
        found = self.operand()
        while self.peek()[0] == "sign" and self.peek()[1] in "*/":
            found = self.calculation(found, self.operand)
        return found

    def calculation(self, left: Operand, operand: Callable[[], Operand]) -> Operand:
        op = self.peek()[1]
        self.at += 1
        right = operand()
        for part in (left, right):
            if isinstance(part, Percentile) or (isinstance(part, Literal) and not isinstance(part.value, float)):
                shown = repr(part.value) if isinstance(part, Literal) else "a percentile"
                raise RuleError(f"rule {self.text!r}: {shown} is no number to calculate with")
        if isinstance(right, Literal) and op == "/" and right.value == 0:
            raise RuleError(f"rule {self.text!r}: it divides by zero")
        assert isinstance(left, Term)
        assert isinstance(right, Term)
        if isinstance(left, Literal) and isinstance(right, Literal):
            return Literal(float(ARITHMETIC[op](left.value, right.value)))
        return Calculation(op, left, right)

    def operand(self) -> Operand:
        if self.peek() == ("mark", "("):
            self.at += 1
            inner = self.sum()
            self.need(")")
            return inner
        minus = self.peek() == ("sign", "-")
        self.at += minus
        kind, value = self.peek()
        if kind == "number":
            self.at += 1
            return Literal(-float(value) if minus else float(value))
        if minus:
            self.fail("a number after `-`")
        if kind == "string":
            self.at += 1
            return Literal(value[1:-1])
        if kind == "word":
            self.at += 1
            if re.fullmatch(r"p\d{1,3}", value):
                p = float(value[1:])
                if p > 100:
                    raise RuleError(f"rule {self.text!r}: percentiles go from p0 to p100, not {value}")
                return Percentile(p)
            return Name(value)
        if self.take("true"):
            return Literal(True)
        if self.take("false"):
            return Literal(False)
        return self.fail("a column, a number or a quoted text")

    def values(self) -> tuple[float | str | bool, ...]:
        self.need("[")
        values: list[float | str | bool] = []
        while not self.take("]"):
            operand = self.operand()
            if isinstance(operand, Percentile | Calculation):
                raise RuleError(f"rule {self.text!r}: a list holds numbers and texts")
            values.append(operand.name if isinstance(operand, Name) else operand.value)
            if not self.take(",") and self.peek()[1] != "]":
                self.fail("`,` or `]`")
        return tuple(values)


@lru_cache(1024)
def parse_rule(text: str) -> Rule:
    """Parses one rule; those parsed last are kept.

    Raises:
        RuleError: says what was expected and what was found.
    """
    if not text.strip():
        raise RuleError("a rule is empty")
    if len(text) > MAX_CHARS:
        raise RuleError(f"rule {text[:60]!r}... is longer than {MAX_CHARS} characters")
    joined = ("and", "or", "not", "(")
    if sum(kind == "sign" or value in joined for kind, value in tokens_of(text) if kind != "string") > MAX_PARTS:
        raise RuleError(f"rule {text[:60]!r}... joins more than {MAX_PARTS} parts; make several rules of it")
    return Rule(text, _Parser(text).rule())


def _walk(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Not):
        yield from _walk(node.inner)
    elif isinstance(node, Both | Either):
        yield from _walk(node.left)
        yield from _walk(node.right)


def _names(node: Node) -> Iterator[Name]:
    for n in _walk(node):
        if isinstance(n, Compare | In | IsNull | Truth):
            yield from names_in(n.left)
            if isinstance(n, Compare):
                yield from names_in(n.right)


def names_in(operand: Operand) -> Iterator[Name]:
    """The columns that an operand names, left to right."""
    if isinstance(operand, Name):
        yield operand
    elif isinstance(operand, Calculation):
        yield from names_in(operand.left)
        yield from names_in(operand.right)
