"""Whether the rules of a recipe can be right, asked when the recipe is loaded: before anything is downloaded or computed.

What belongs here: names and types of columns, values that no row can have, tables that would be made from themselves. What does not: how a
rule is read or applied (`rules/language.py`, `rules/evaluation.py`), which table a column comes from (`rules/columns.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa

from curation_assets.registry import COMPONENTS
from curation_assets.rules.columns import category_measure, columns_known, table_of, tables_of_rules
from curation_assets.rules.language import (
    ARITHMETIC,
    DERIVED,
    Both,
    Calculation,
    Compare,
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
    parse_rule,
)
from curation_assets.rules.measured import MEASURED
from curation_assets.schemas import SCHEMAS
from curation_assets.showing.text import listed
from curation_resources.detectors import load_vocabulary
from curation_resources.detectors.vocabulary import VocabularyError

if TYPE_CHECKING:
    from curation_assets.publish.subsets import Subset
    from curation_assets.recipes import Recipe

NUMBER, TEXT, BOOLEAN = "a number", "text", "true or false"
ANY = "a column of the source"
"""Kind of what a source's own columns hold: text that counts as the number, or the truth, that it is the text of."""
PREFILTERED = {c.prefilter: c.asset for c in COMPONENTS if c.prefilter}
"""Sections with a `where` of their own -> the table that is made of the clips that pass it."""
MADE_FROM = {
    c.asset: found for c in COMPONENTS if (found := {*PREFILTERED.values()}.intersection(c.inputs)) and not c.prefilter
}
"""What else a table is made from that may have a pre-filter."""


@dataclass(frozen=True)
class Values:
    """What a column can hold.

    Attributes:
        kind: NUMBER, TEXT, BOOLEAN, ANY, or the Arrow type of what rules cannot compare.
        minimum, maximum: inclusive bounds of a number.
        allowed: the values that a text can have; empty is any.
        whole: whether a number is an integer.
    """

    kind: str
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    whole: bool = False


def _of_column(asset: str, name: str) -> Values:
    column = SCHEMAS[asset].column(name)
    kind, types = column.type, pa.types
    if types.is_floating(kind) or types.is_integer(kind):
        return Values(NUMBER, column.minimum, column.maximum, whole=types.is_integer(kind))
    if types.is_string(kind):
        return Values(TEXT, allowed=column.allowed)
    return Values(BOOLEAN if types.is_boolean(kind) else str(kind))


def clip_values(column: str, recipe: Recipe) -> Values:
    """What a rule about clips finds under a name.

    Raises:
        RuleError: no table has it.
    """
    asset = table_of(column, recipe)
    if column in DERIVED:
        return Values(NUMBER, 1, whole=True) if column == "pixels" else Values(NUMBER, 0)
    if column in MEASURED:
        return Values(NUMBER, 0, MEASURED[column].maximum, whole=MEASURED[column].whole)
    if asset == "video_metadata":
        return Values(ANY)
    if asset == "labels":
        return Values(BOOLEAN)
    if asset == "category_scores":
        if column in recipe.categories:
            return Values(TEXT, allowed=tuple(recipe.categories[column].prompts))
        return _of_column(asset, category_measure(column, recipe)[2])
    return _of_column(asset, column)


def track_values(column: str, recipe: Recipe) -> Values:
    """What a rule about tracks finds under a name: the track's column, or else the clip's."""
    if column == "duration_s":
        return Values(NUMBER, 0)
    if column == "label":
        return Values(TEXT, allowed=_labels(recipe))
    if column in SCHEMAS["tracks"].names:
        return _of_column("tracks", column)
    try:
        return clip_values(column, recipe)
    except RuleError as error:
        near = get_close_matches(column, [*SCHEMAS["tracks"].names, *columns_known(recipe)], 1)
        raise RuleError(f"no table has the column {column!r}{f'; did you mean {near[0]}?' if near else ''}") from error


def _labels(recipe: Recipe) -> tuple[str, ...]:
    """The names that tracks can have; none, which is any, where the vocabulary cannot be read here."""
    detector = recipe.tracks.detector
    if detector == "faces" or recipe.tracks.brought_identity():
        return ("face",) if detector == "faces" else ()
    try:
        return load_vocabulary(recipe.tracks.vocabulary)
    except VocabularyError:
        return ()


def check_rule(rule: Rule, values: Callable[[str], Values]) -> None:
    """Compares a rule with what its columns can hold.

    Raises:
        RuleError: a column that does not exist or is of another kind, or a value outside what it can hold.
    """

    def fail(text: str) -> RuleError:
        return RuleError(f"rule {rule.text!r}: {text}")

    def known(measure: Operand) -> Values:
        if isinstance(measure, Calculation):
            return calculated(measure)
        if isinstance(measure, Literal):
            number = float(measure.value) if not isinstance(measure.value, str) else None
            return Values(NUMBER, number, number)
        assert isinstance(measure, Name)
        try:
            return values(measure.name)
        except RuleError as error:
            raise fail(str(error)) from None

    def calculated(measure: Calculation) -> Values:
        ends: list[tuple[float, float]] = []
        for part in (measure.left, measure.right):
            held = known(part)
            if held.kind not in (NUMBER, ANY):
                raise fail(f"{getattr(part, 'name', part)} is {held.kind}, which cannot be calculated with")
            low = -math.inf if held.minimum is None else held.minimum
            ends.append((low, math.inf if held.maximum is None else held.maximum))
        if measure.op == "/" and ends[1][0] <= 0 <= ends[1][1]:
            ends[1] = (0.0, math.inf) if ends[1][0] == 0 else (-math.inf, math.inf)
        found = [_reached(measure.op, a, b) for a in ends[0] for b in ends[1]]
        low, high = min(found), max(found)
        return Values(NUMBER, None if math.isinf(low) else low, None if math.isinf(high) else high)

    def fits(column: str, held: Values, value: float | str | bool) -> None:
        if held.kind == ANY:
            return
        kind = BOOLEAN if isinstance(value, bool) else NUMBER if isinstance(value, int | float) else TEXT
        if held.kind not in (NUMBER, TEXT, BOOLEAN):
            raise fail(f"{column} is {held.kind}, which rules cannot compare; they may ask whether it `is null`")
        if kind != held.kind:
            raise fail(f"{column} is {held.kind}, not {kind} ({value!r})")
        if isinstance(value, str) and held.allowed and value not in held.allowed:
            raise fail(f"{column} is never {value!r}; {listed(value, held.allowed)}")
        if kind == NUMBER and not _within(float(value), held):
            raise fail(f"{column} goes {_bounds(held)}, so that {value:g} is beyond all of its values")

    def compare(node: Compare) -> None:
        column, held = node.left.name, known(node.left)
        if isinstance(node.right, Name):
            try:
                other = values(node.right.name)
            except RuleError:
                if held.allowed and node.right.name not in held.allowed:
                    raise fail(
                        f"{column} is never {node.right.name!r}; {listed(node.right.name, held.allowed)}"
                    ) from None
                if held.kind == TEXT:
                    raise fail(f"{node.right.name} is no column; if it is a text, quote it") from None
                known(node.right)
                raise
            if {held.kind, other.kind} <= {ANY, TEXT}:
                return
            if other.kind != held.kind or held.kind not in (NUMBER, TEXT, BOOLEAN):
                raise fail(f"{column} is {held.kind} and {node.right.name} is {other.kind}; they cannot be compared")
        elif isinstance(node.right, Calculation):
            known(node.right)
            if held.kind not in (NUMBER, ANY):
                raise fail(f"{column} is {held.kind} and {node.right.name} is a number; they cannot be compared")
        elif isinstance(node.right, Percentile):
            if held.kind not in (NUMBER, ANY):
                raise fail(f"{column} is {held.kind}, which has no percentiles")
        elif isinstance(node.right, Literal):
            fits(column, held, node.right.value)
            if (node.op, node.right.value) in ((">", held.maximum), ("<", held.minimum)):
                raise fail(f"{column} goes {_bounds(held)}, so that it is never {node.op} {node.right.value:g}")
        if held.kind == BOOLEAN and node.op not in ("=", "!="):
            raise fail(f"{column} is true or false; name it by itself, or after `not`")

    def visit(node: Node) -> None:
        if isinstance(node, Compare):
            compare(node)
        elif isinstance(node, In):
            if not node.values:
                raise fail(f"the list of {node.left.name} is empty, so that no clip can pass")
            held = known(node.left)
            for value in node.values:
                fits(node.left.name, held, value)
                if held.whole and isinstance(value, float) and not value.is_integer():
                    raise fail(f"{node.left.name} holds whole numbers, never {value:g}")
        elif isinstance(node, IsNull):
            known(node.left)
        elif isinstance(node, Truth):
            if known(node.left).kind not in (BOOLEAN, ANY):
                raise fail(f"{node.left.name} is not true or false; compare it with something")
        elif isinstance(node, Not):
            visit(node.inner)
        else:
            visit(node.left)
            visit(node.right)
            if isinstance(node, Both) and _backwards(node.left, node.right):
                raise fail("the lower end of `between` is above the upper one, so that no clip can pass")

    visit(rule.node)


def _reached(op: str, left: float, right: float) -> float:
    """What a calculation reaches where its parts are at these ends; an end that is not known is infinite."""
    if op == "/":
        return (
            0.0
            if math.isinf(right) and not math.isinf(left)
            else math.copysign(math.inf, left)
            if right == 0
            else 0.0
            if math.isinf(right)
            else left / right
        )
    if op == "*" and 0 in (left, right):
        return 0.0
    return float(ARITHMETIC[op](left, right))


def _backwards(low: Node, high: Node) -> bool:
    ends = [n.right for n in (low, high) if isinstance(n, Compare)]
    if len(ends) != 2 or not (isinstance(low, Compare) and isinstance(high, Compare)):
        return False
    if (low.left, low.op, high.op) != (high.left, ">=", "<="):
        return False
    first, last = ends
    if isinstance(first, Literal) and isinstance(last, Literal):
        return isinstance(first.value, float) and isinstance(last.value, float) and first.value > last.value
    return isinstance(first, Percentile) and isinstance(last, Percentile) and first.p > last.p


def _within(value: float, held: Values) -> bool:
    return (held.minimum is None or value >= held.minimum) and (held.maximum is None or value <= held.maximum)


def _bounds(held: Values) -> str:
    if held.minimum is None or held.maximum is None:
        return f"up to {held.maximum:g}" if held.minimum is None else f"from {held.minimum:g} up"
    return f"from {held.minimum:g} to {held.maximum:g}"


def rule_faults(recipe: Recipe, others: Mapping[str, Recipe] | None = None) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it) of each rule and each column of a recipe that cannot be right.

    Args:
        others: recipes of the other datasets that its subsets may draw on; what is said of one that is not among them is not checked.
    """
    recipes = {**(others or {}), recipe.dataset: recipe}
    for section in PREFILTERED:
        for number, text in enumerate(getattr(recipe, section).where):
            rule = parse_rule(text)
            try:
                check_rule(rule, lambda c: clip_values(c, recipe))
            except RuleError as error:
                yield f"{section}.where[{number}]", str(error)
                continue
            if rule.percentiles:
                reason = "percentiles are for subsets, where all clips are at hand; give a number"
                yield f"{section}.where[{number}]", f"rule {text!r}: {reason}"
    for name, subset in recipe.subsets.items():
        for dataset in subset.datasets or [recipe.dataset]:
            if dataset in recipes:
                found = list(_subset_faults(subset, recipes[dataset]))
                yield from ((f"subsets.{name}.{key}", text) for key, text in found)
                if found:
                    break


def _subset_faults(subset: Subset, recipe: Recipe) -> Iterator[tuple[str, str]]:
    def of_clip(column: str) -> Values:
        return clip_values(column, recipe)

    def of_candidate(column: str) -> Values:
        return track_values(column, recipe) if subset.of == "tracks" else of_clip(column)

    for key, rules, values in (("where", subset.where, of_clip), ("where_tracks", subset.where_tracks, of_candidate)):
        for number, text in enumerate(rules):
            try:
                check_rule(parse_rule(text), values)
            except RuleError as error:
                yield f"{key}[{number}]", str(error)
    for component in (c for c in COMPONENTS if c.in_subset(subset)):
        for number, column in enumerate(component.columns(subset)):
            try:
                of_clip(column)
            except RuleError as error:
                yield f"export.clips.columns[{number}]", str(error)
    for key in ("class_by", "order_by"):
        column = getattr(subset.select, key)
        if column is None:
            continue
        try:
            kind = of_candidate(column).kind
        except RuleError as error:
            yield f"select.{key}", str(error)
            continue
        if key == "order_by" and kind not in (NUMBER, ANY):
            yield f"select.{key}", f"{column} is {kind}; candidates are ordered by numbers"
        elif kind not in (NUMBER, TEXT, BOOLEAN, ANY):
            yield f"select.{key}", f"{column} is {kind}, which gives no class"


def circle(recipes: Iterable[Recipe]) -> str | None:
    """A sentence about tables that pre-filters would make from themselves, over all recipes of an installation; None if there are none.

    Call it only with recipes whose rules name columns that exist.
    """
    edges = {asset: dict.fromkeys(inputs, "") for asset, inputs in MADE_FROM.items()}
    for recipe in recipes:
        for section, asset in PREFILTERED.items():
            for text in getattr(recipe, section).where:
                for needed in tables_of_rules([text], recipe):
                    edges.setdefault(asset, {})[needed] = f"{recipe.dataset}'s {section}.where {text!r}"

    def back(asset: str, path: tuple[str, ...]) -> tuple[str, ...] | None:
        if asset in path:
            return (*path[path.index(asset) :], asset)
        return next((found for n in edges.get(asset, {}) if (found := back(n, (*path, asset)))), None)

    for start in edges:
        found = back(start, ())
        if found:
            said = [why for a, b in pairwise(found) if (why := edges[a][b])]
            return f"{found[0]} would be made from itself: {' and '.join(said)} ({' from '.join(found)})"
    return None
