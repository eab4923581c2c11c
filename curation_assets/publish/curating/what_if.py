"""What a subset would come to under other rules: its funnel, with nothing published.

Where the curated table in force says enough (`kept_candidates.py`), the rules are applied to its columns; else all candidates are judged from their tables, into
a scratch folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curation_assets.publish.curating.candidate_facts import CandidateFacts
from curation_assets.publish.curating.curating import curate
from curation_assets.publish.curating.judging import FunnelStep, Judge, rules_of
from curation_assets.publish.curating.kept_candidates import KeptCandidates
from curation_assets.publish.curating.subset_inputs import curated_provenance, subset_shards
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe, subset_key
from curation_assets.rules.language import parse_rule
from curation_resources.scratch import scratch_folder
from curation_resources.tables import TableStore


@dataclass(frozen=True)
class WhatIf:
    """A subset under other rules.

    Attributes:
        key: of the subset.
        rules: those that were applied.
        steps: rows and hours before any rule and after each. The criterion is not applied.
        kept: whether the columns of the table in force were enough.
        missing: shards of which a table that the rules need is not there -> what is lacking. They are left out of the steps.
    """

    key: str
    rules: tuple[str, ...]
    steps: tuple[FunnelStep, ...]
    kept: bool
    missing: Mapping[str, str] = field(default_factory=dict)


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
    return WhatIf(key, tuple(changed.where), tuple(found.funnel[:-1]), False, found.missing)


def _from_kept(
    store: TableStore, recipes: Mapping[str, Recipe], key: str, recipe: Recipe, changed: Subset
) -> list[FunnelStep] | None:
    """The funnel from the table in force; None where that does not say enough."""
    from curation_assets.engine.staleness import known_tables  # it looks at all assets, of which this is one

    header, now = store.usable_header("curated_clips", key), curated_provenance(known_tables(store), recipes, key)
    kept = KeptCandidates.of(store, recipes, recipe.dataset, changed, header, now)
    if kept is None:
        return None
    rules = rules_of(changed)
    judge = Judge(changed, rules, kept.percentiles(rules))
    for rows in kept.groups(kept.columns):
        judge.reasons(CandidateFacts(rows, rows), rows["shard"])
    return judge.funnel
