"""Candidates are judged here: the exclusion lists first, then rule after rule; each candidate has the first that dropped it.

What belongs here: applying rules to the candidates of a shard, and the funnel. What does not: how one rule is evaluated (`rules/evaluation.py`), which
of the candidates that passed are chosen (`criteria.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.candidate_facts import CandidateFacts
from curation_assets.publish.curating.rule_percentiles import Percentiles
from curation_assets.publish.curating.subset_tables import read_ids
from curation_assets.publish.curating.thresholds import Example, NearestExamples, Threshold, thresholds_of
from curation_assets.publish.subsets import Subset
from curation_assets.rules.evaluation import passing
from curation_assets.rules.language import Rule, parse_rule

EXCLUDED = "excluded by list"
"""The drop reason of candidates on an exclusion list."""


@dataclass(frozen=True)
class FunnelStep:
    """What is left after a rule; where it names a percentile, its text says which value that is."""

    rule: str
    rows: int
    hours: float


class Funnel:
    """Candidates and their milliseconds before any rule and after each, the exclusion lists first."""

    def __init__(self, rules: Sequence[str]) -> None:
        self.names = ["candidates", "exclusion lists", *rules]
        self.rows = np.zeros(len(self.names), np.int64)
        self.ms = np.zeros(len(self.names), np.int64)

    def count(self, step: int, ms: np.ndarray, alive: np.ndarray) -> None:
        """Counts the candidates of a shard that are left after a step: bool (n,), with their lengths `ms`, int (n,)."""
        self.rows[step] += int(alive.sum())
        self.ms[step] += int(ms[alive].sum())

    def steps(self, lists: bool) -> list[FunnelStep]:
        """The steps in order, that of the exclusion lists only if `lists`."""
        steps = zip(self.names, self.rows.tolist(), self.ms.tolist(), strict=True)
        return [FunnelStep(n, r, ms / 3_600_000) for i, (n, r, ms) in enumerate(steps) if lists or i != 1]


class Judge:
    """Applies a subset's exclusion lists and rules to its candidates, shard after shard.

    Args:
        subset: the section of the recipe.
        rules: from `rules_of`.
        percentiles: values of the percentiles that rules about clips (True) and about tracks (False) name.

    Attributes:
        words: what each number that `reasons` gives stands for.
    """

    def __init__(
        self, subset: Subset, rules: Sequence[tuple[Rule, bool]], percentiles: Mapping[bool, Percentiles]
    ) -> None:
        self._rules, self._percentiles = rules, percentiles
        self._excluded = pa.array(sorted(read_ids(subset.exclude)), pa.string()) if subset.exclude else None
        self.words = [None, EXCLUDED, *(r.text for r, _ in rules)]
        self._reasons = pa.array(self.words, pa.string())
        self._thresholds = [list(thresholds_of(rule, percentiles[about], about)) for rule, about in rules]
        self._funnel = Funnel([rule.resolved(percentiles[about]) for rule, about in rules])
        self._nearest = NearestExamples()

    @property
    def funnel(self) -> list[FunnelStep]:
        """What was left of all candidates so far before any rule and after each; the exclusion lists only if there are any."""
        return self._funnel.steps(self._excluded is not None)

    @property
    def examples(self) -> dict[Threshold, list[Example]]:
        """The candidates so far that are nearest to each threshold, of those that the rules before it let by."""
        return self._nearest.examples

    def judge(self, facts: CandidateFacts, shard: str) -> pa.Table:
        """`facts.table` with `drop_reason` (the first rule that dropped a candidate, null if none did), `shard`, and `selected`."""
        shards = pa.array([shard] * facts.table.num_rows, pa.string())
        reasons = self.reasons(facts, shards)
        return (
            facts.table.append_column("drop_reason", self.named(reasons))
            .append_column("shard", shards)
            .append_column("selected", pa.array(reasons == 0))
        )

    def named(self, reasons: np.ndarray) -> pa.Array:
        """The reasons in words, null where there is none."""
        return self._reasons.take(pa.array(reasons))

    def reasons(self, facts: CandidateFacts, shards: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """int (n,): number of what first dropped each candidate, 0 where nothing did. `shards` has each one's shard."""
        table = facts.table
        ms = pc.fill_null(pc.subtract(table["end_ms"], table["start_ms"]), 0).to_numpy()
        reasons = np.zeros(table.num_rows, np.int64)
        self._funnel.count(0, ms, reasons == 0)
        if self._excluded is not None:
            reasons[listed(table, self._excluded)] = 1
        self._funnel.count(1, ms, reasons == 0)
        for step, (rule, about_clip) in enumerate(self._rules, 2):
            seen = facts.of_clip if about_clip else table
            columns = {c: seen[c] for c in seen.column_names}
            alive = reasons == 0
            self._nearest.add(self._thresholds[step - 2], (table["clip_id"], shards), seen, alive)
            passes = passing(rule, columns, self._percentiles[about_clip])
            reasons[alive & ~passes.to_numpy(zero_copy_only=False)] = step
            self._funnel.count(step, ms, reasons == 0)
        return reasons


def rules_of(subset: Subset) -> list[tuple[Rule, bool]]:
    """The rules of a subset in the order in which they are applied, and whether each is about clips (else about tracks).

    Raises:
        RuleError: a rule cannot be read.
    """
    return [(parse_rule(r), True) for r in subset.where] + [(parse_rule(r), False) for r in subset.where_tracks]


def listed(table: pa.Table, ids: pa.Array) -> np.ndarray:
    """bool (n,): which candidates are in `ids`, or their clips or videos are."""
    names = [n for n in ("video_id", "clip_id", "track_id") if n in table.column_names]
    found = np.zeros(table.num_rows, bool)
    for name in names:
        found |= pc.is_in(table[name].cast(pa.string()), value_set=ids).to_numpy(zero_copy_only=False)
    return found
