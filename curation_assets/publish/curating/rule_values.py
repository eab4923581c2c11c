"""What a subset's candidates have in the columns that a rule names, to be shown beside the rule.

Columns that stand in the curated table are taken from there, as they were when it was judged; the others from the tables of the clip as they are now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.candidate_facts import shard_facts
from curation_assets.publish.curating.judging import rules_of
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe, subsets
from curation_assets.registry import JUDGED
from curation_assets.rules.columns import clip_facts, columns_of, derived
from curation_assets.rules.language import DERIVED, Rule, RuleError, parse_rule
from curation_assets.schemas import schema
from curation_assets.showing.text import as_text
from curation_resources.tables import MissingTable, TableStore

Values = dict[str, Any]
"""Column of a rule -> its value; null where it is unknown."""
PLACE = ("dataset", "video_id", "clip_id", "shard", "drop_reason")
SPAN = ("start_ms", "end_ms", "width", "height")


class RuleValues:
    """The values of a subset's rules, by candidate.

    Args:
        store: the tables.
        recipes: dataset -> recipe.
        key: of the subset.
    """

    def __init__(self, store: TableStore, recipes: Mapping[str, Recipe], key: str) -> None:
        self._store, self._recipes, self.key = store, recipes, key
        own: tuple[Recipe, Subset] = subsets(recipes)[key]
        self.subset = own[1]
        self.asset = JUDGED[self.subset.of]
        self._rules = {rule.text: (rule, about) for rule, about in rules_of(self.subset)}

    @cached_property
    def _kept(self) -> frozenset[str]:
        """The columns of the table in force."""
        return frozenset(self._store.form(self.asset, self.key).names)

    @cached_property
    def resolved(self) -> Mapping[str, str]:
        """Rule -> its text with what its percentiles stood for when the table was judged."""
        header = self._store.header(self.asset, self.key)
        steps = [str(step[0]) for step in header.stats.get("funnel", [])] if header else []
        return {text: next((s for s in steps if s.startswith(f"{text} (")), text) for text in self._rules}

    def rule(self, reason: str | None) -> tuple[Rule, bool] | None:
        """The rule that a drop reason is, and whether it is about the clip; None where it is none: a list, a criterion.

        A rule of the table that the recipe has no more counts as one about clips.
        """
        if reason is None or reason in self._rules:
            return self._rules.get(reason or "")
        try:
            return parse_rule(reason), True
        except RuleError:
            return None

    def columns(self) -> list[str]:
        """What must be read of the table for `of`, ids and place included.

        Raises:
            MissingTable: nothing was judged yet.
        """
        named = {c for rule, _ in self._rules.values() for c in rule.columns} if self.subset.of == "clips" else set()
        wanted = {*PLACE, *SPAN, *named, *({"track_id"} if self.subset.of == "tracks" else ())}
        return [n for n in schema(self.asset).names if n in wanted & self._kept]

    def of(self, rows: pa.Table, rule: Rule, about_clip: bool = True) -> list[Values]:
        """The values of a rule for rows of the curated table with `columns()`; a column that no table has any more is left out."""
        columns = sorted(rule.columns)
        kept = [c for c in columns if self._in_table(c, rows)]
        found: list[Values] = [{} for _ in range(rows.num_rows)]
        for column in kept:
            values = derived(column, rows) if column in DERIVED else rows[column]
            for one, value in zip(found, values.to_pylist(), strict=True):
                one[column] = value
        others = [c for c in columns if c not in kept]
        if others:
            for at, facts in self._facts(rows, others, about_clip):
                for place, values in zip(at, facts, strict=True):
                    found[place].update(values)
        return [{c: one[c] for c in columns if c in one} for one in found]

    def of_row(self, row: Mapping[str, Any], rule: Rule, about_clip: bool = True) -> Values:
        """The same of one row, with all columns."""
        names = self.columns()
        form = pa.schema([schema(self.asset).arrow.field(n) for n in names])
        return self.of(pa.Table.from_pylist([{n: row[n] for n in names}], schema=form), rule, about_clip)[0]

    def _in_table(self, column: str, rows: pa.Table) -> bool:
        if self.subset.of != "clips":
            return False
        return set(SPAN) <= set(rows.column_names) if column in DERIVED else column in rows.column_names

    def _facts(
        self, rows: pa.Table, columns: Sequence[str], about_clip: bool
    ) -> Iterator[tuple[list[int], list[Values]]]:
        """Shard by shard: places of rows, and their values from the tables of the shard."""
        by = "clip_id" if self.subset.of == "clips" else "track_id"
        for shard in pc.unique(rows["shard"]).to_pylist():
            at = pc.indices_nonzero(pc.equal(rows["shard"], shard))
            own = rows.take(at)
            try:
                of = self._recipes[own["dataset"][0].as_py()], self.subset
                ids, facts = seen_by_rule(self._store, of, shard, columns, about_clip)
            except (MissingTable, RuleError, KeyError):  # it was made without a table, or the rule is of another recipe
                continue
            yield at.to_pylist(), facts.take(pc.index_in(own[by], value_set=ids)).to_pylist()


def seen_by_rule(
    store: TableStore, of: tuple[Recipe, Subset], shard: str, columns: Sequence[str], about_clip: bool
) -> tuple[pa.ChunkedArray, pa.Table]:
    """The ids of a shard's candidates, clips or tracks, and the columns of each as a rule sees them now.

    Args:
        of: the recipe of the shard's dataset, and the subset.
        about_clip: whether the rule is about clips.

    Raises:
        MissingTable: a table that has one of the columns does not exist for the shard.
        RuleError: no table has one of them.
    """
    recipe, subset = of
    if subset.of == "tracks":
        facts = shard_facts(subset, recipe, shard, store.read)
        seen = facts.of_clip if about_clip else facts.table
        return facts.table["track_id"], seen.select(columns)
    found = clip_facts(columns, recipe, lambda asset: store.read(asset, shard, columns_of(asset, columns, recipe)))
    return found["clip_id"], found.select(columns)


def said(values: Values) -> str:
    """Values as a person reads them: `motion 0.00043, text_area unknown`."""
    return ", ".join(f"{name} {as_text(value)}" for name, value in values.items())
