"""What a subset would come to under other rules: its funnel, with nothing published.

The curated table in force has every candidate with its scores, column by column. Where it is made from what there is now and has all columns that the
rules name, the rules are applied to these columns alone; else all candidates are judged from their tables, into a scratch folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from curation_assets.publish.curating.candidate_facts import CandidateFacts
from curation_assets.publish.curating.curating import curate
from curation_assets.publish.curating.judging import FunnelStep, Judge, rules_of
from curation_assets.publish.curating.subset_inputs import curated_provenance, subset_shards
from curation_assets.publish.curating.versions import CURATE_VERSION
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import COMPONENTS
from curation_assets.rules.columns import derived, table_of
from curation_assets.rules.language import DERIVED, parse_rule
from curation_assets.schemas import schema
from curation_resources.scratch import scratch_folder
from curation_resources.tables import TableStore

BATCH_ROWS = 1 << 18
PLACE = ("video_id", "clip_id", "start_ms", "end_ms", "width", "height")
"""Columns that are read whatever the rules name: for exclusion lists, for hours, and for what is derived."""


@dataclass(frozen=True)
class WhatIf:
    """A subset under other rules.

    Attributes:
        key: of the subset.
        rules: those that were applied.
        steps: rows and hours before any rule and after each. The criterion is not applied.
        kept: whether the columns of the table in force were enough.
    """

    key: str
    rules: tuple[str, ...]
    steps: tuple[FunnelStep, ...]
    kept: bool


def with_rules(where: Sequence[str], other: Sequence[str]) -> list[str]:
    """The rules of a subset with others: one that names the same columns takes the place of the first such rule, any other comes last.

    Raises:
        RuleError: one cannot be read.
    """
    found = list(where)
    for text in other:
        columns = parse_rule(text).columns
        at = next((i for i, rule in enumerate(found) if parse_rule(rule).columns == columns), None)
        if at is None:
            found.append(text)
        else:
            found[at] = text
    return found


def what_if(
    store: TableStore, recipes: Mapping[str, Recipe], recipe: Recipe, name: str, other: Sequence[str]
) -> WhatIf:
    """The funnel of a subset of clips whose `where` has other rules.

    Raises:
        RuleError: a rule cannot be read, or names a column that no table has.
    """
    subset = recipe.subsets[name]
    key = subset_key(recipe.dataset, name)
    changed = subset.model_copy(update={"where": with_rules(subset.where, other)})
    steps = _from_kept(store, recipes, key, recipe, changed)
    if steps is not None:
        return WhatIf(key, tuple(changed.where), tuple(steps), True)
    with scratch_folder("what-if-") as folder:
        shards = subset_shards(store, changed, recipe.dataset)
        found = curate(key, changed, recipes, shards, store.read, Path(folder))
    return WhatIf(key, tuple(changed.where), tuple(found.funnel[:-1]), False)


def _from_kept(
    store: TableStore, recipes: Mapping[str, Recipe], key: str, recipe: Recipe, changed: Subset
) -> list[FunnelStep] | None:
    """The funnel from the table in force; None where that does not say enough."""
    rules = rules_of(changed)
    named = sorted({c for rule, _ in rules for c in rule.columns})
    datasets = changed.datasets or [recipe.dataset]
    if any(rule.percentiles for rule, _ in rules) or not all(_kept(c, recipes[d]) for c in named for d in datasets):
        return None
    header = store.usable_header("curated_clips", key)
    now = curated_provenance(store, recipes, key)
    if header is None or header.provenance.code_version != CURATE_VERSION:
        return None
    if dict(header.provenance.inputs) != dict(now.inputs):
        return None
    judge = Judge(changed, rules, {True: {}, False: {}})
    for facts in _batches(store, key, named):
        judge.judge(CandidateFacts(facts, facts), "")
    return judge.funnel


def _kept(column: str, recipe: Recipe) -> bool:
    """Whether the curated table has a column as the rules see it."""
    if column in DERIVED:
        return True
    if column.split(".")[0] in recipe.categories:
        return False
    table = table_of(column, recipe)
    if table == "clips":
        return column in schema("curated_clips").names
    return any(c.asset == table and column in c.curated for c in COMPONENTS)


def _batches(store: TableStore, key: str, named: Sequence[str]) -> Iterator[pa.Table]:
    """The candidates with the columns that rules name."""
    columns = dict.fromkeys([*PLACE, *(c for c in named if c not in DERIVED)])
    for batch in store.batches("curated_clips", list(columns), BATCH_ROWS, key):
        table = pa.Table.from_batches([batch])
        for column in (c for c in named if c in DERIVED):
            table = table.append_column(column, derived(column, table))
        yield table
