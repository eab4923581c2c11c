"""Curated subsets: every candidate with its scores, selected or with the first rule that dropped it.

Memory does not grow with what a candidate's row holds. The percentile columns are read where rules need them, into a file.
Then shard after shard is joined (`candidate_facts.py`), judged (`judging.py`) and spooled to disk (`candidate_spool.py`), and of the
candidates that passed only numbers are kept (`criterion_inputs.py`). When the criterion has chosen (`criteria.py`), the spool is sorted
into key order on disk, range by range.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation_assets.publish.curating.candidate_facts import CandidateFacts, Reader, joined, sampled, shard_facts
from curation_assets.publish.curating.candidate_spool import CandidateSpool, write_chosen
from curation_assets.publish.curating.choice_marks import Marks
from curation_assets.publish.curating.criteria import CandidateChoice, choose
from curation_assets.publish.curating.criterion_inputs import PassedCandidates
from curation_assets.publish.curating.judging import FunnelStep, Judge, rules_of
from curation_assets.publish.curating.rule_percentiles import percentiles_of
from curation_assets.publish.curating.splits import given_splits
from curation_assets.publish.curating.thresholds import Example, Threshold
from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.showing.clips import MOST
from curation_resources.content_hash import HashParts
from curation_resources.written_table import WrittenTable

SAMPLE_ROWS = 50_000
"""Rows that correlations and keep-rate curves are computed from, drawn evenly from all shards."""
SAMPLES_HELD = 256
"""Samples that are put together as soon as there are so many: a small table takes more than its rows."""
FIRST = ("clip_id", "shard", "selected", "split")
"""Columns by which the first that were selected are told."""


@dataclass
class Curation:
    """What came of a subset.

    Attributes:
        path: local Parquet file with the table, in key order, written as it is to lie in storage.
        parts: what its content hash is made of.
        funnel: rows and hours before any rule and after each.
        report: what the criterion says of its choice.
        shards: shards that were judged; `missing` those left out, with the reason.
        examples: threshold -> (clip_id, shard, value, passed) of the clips nearest to it that the rules before it let by.
        sample: up to `SAMPLE_ROWS` candidates with their numeric columns, for curves and correlations.
        clip_sample: the same candidates with those of their clips; for subsets of clips, the same table.
        splits: split -> selected candidates.
        first: clip_id -> (shard, split) of the first that were selected, in key order; of tracks, the clips that they are in.
    """

    path: Path
    parts: HashParts | None = None
    funnel: list[FunnelStep] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    shards: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    examples: dict[Threshold, list[Example]] = field(default_factory=dict)
    sample: pa.Table | None = None
    clip_sample: pa.Table | None = None
    splits: dict[str, int] = field(default_factory=dict)
    first: dict[str, tuple[str, str]] = field(default_factory=dict)

    def selected_first(self, rows: pa.Table) -> bool:
        """Notes those of the next candidates, with the columns `FIRST`, that are among the first that were selected. Returns whether more are wanted."""
        for batch in rows.select(FIRST).filter(rows["selected"]).to_batches(MOST):
            for row in batch.to_pylist():
                if len(self.first) == MOST:
                    break
                self.first.setdefault(row["clip_id"], (row["shard"], row["split"] or ""))
        return len(self.first) < MOST

    def count(self, choice: CandidateChoice, marks: Marks, subset: Subset) -> None:
        """Notes what the criterion chose."""
        self.report = choice.report
        self.splits = {name: marks.splits[name] for name in ("train", "val", "test") if marks.splits[name]}
        chosen = int(choice.selected.sum())
        self.funnel.append(FunnelStep(f"select: {subset.select.criterion}", chosen, marks.ms / 3_600_000))

    def sampled_from(self, samples: Sequence[CandidateFacts]) -> None:
        """Keeps up to `SAMPLE_ROWS` of what was drawn."""
        if samples:
            drawn = joined(samples)
            self.sample, self.clip_sample = drawn.table.slice(0, SAMPLE_ROWS), drawn.of_clip.slice(0, SAMPLE_ROWS)


def curate(
    key: str,
    subset: Subset,
    recipes: Mapping[str, Recipe],
    shards: Sequence[tuple[str, str]],
    read: Reader,
    folder: Path,
) -> Curation:
    """Judges all candidates of a subset.

    Args:
        key: partition key of the subset, for messages.
        subset: the section of the recipe.
        recipes: dataset -> recipe, of the subset's datasets.
        shards: (dataset, shard key) to draw from, in any order.
        read: reads a table of a shard.
        folder: local scratch folder; the table is written here.

    Returns:
        The curation; its table fits `schema("curated_clips")` or `schema("curated_tracks")`.

    Raises:
        RuleError: a rule names a column that no table has.
        ValueError: a list or a column that the subset names cannot be used; the message names the subset.
    """
    try:
        return _curate(subset, recipes, sorted(shards, key=lambda s: s[1]), read, folder)
    except ValueError as error:
        error.add_note(f"in subset {key}")
        raise


def _curate(
    subset: Subset,
    recipes: Mapping[str, Recipe],
    shards: Sequence[tuple[str, str]],
    read: Reader,
    folder: Path,
) -> Curation:
    asset = "curated_clips" if subset.of == "clips" else "curated_tracks"
    rules, given = rules_of(subset), given_splits(subset.split)
    percentiles = {about: percentiles_of(rules, about, subset, recipes, shards, read) for about in (True, False)}
    judge, passed = Judge(subset, rules, percentiles), PassedCandidates(subset, folder)
    result = Curation(folder / "subset.parquet")
    spool = CandidateSpool(folder, asset)
    samples: list[CandidateFacts] = []
    for number, (dataset, shard) in enumerate(shards):
        try:
            facts = shard_facts(subset, recipes[dataset], shard, read)
        except LookupError as error:
            result.missing[shard] = str(error)
            continue
        result.shards.append(shard)
        judged = judge.judge(facts, shard)
        passed.add(
            dataset,
            facts.table.filter(judged["selected"]),
            lambda s=shard: read("frame_embeddings", s, None),  # type: ignore[misc]
        )
        spool.write(judged)
        samples.append(sampled(facts, math.ceil(SAMPLE_ROWS / len(shards)), number))
        if len(samples) == SAMPLES_HELD:
            samples = [joined(samples)]
    spool.close()
    result.funnel, result.examples = judge.funnel, judge.examples
    result.sampled_from(samples)
    choice = choose(passed.candidates(), subset.select)
    marks = Marks(choice, subset, given)
    with WrittenTable(result.path, schema(asset)) as written:
        wanted = True
        for rows in write_chosen(spool, marks, written):
            wanted = wanted and result.selected_first(rows)
    result.parts = written.parts
    result.count(choice, marks, subset)
    return result
