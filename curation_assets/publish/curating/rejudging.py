"""Judges a subset again from what the table in force keeps of its candidates, where that says enough.

Only the columns that the rules and the criterion name are read, and only the three that say what was selected are written; all others stay as they are, byte
for byte. The table says the same as if all candidates were judged from their tables (`curating.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.publish.curating.candidate_facts import CandidateFacts, sampled
from curation_assets.publish.curating.choice_marks import MARKS, Marks
from curation_assets.publish.curating.criteria import choose
from curation_assets.publish.curating.criterion_inputs import PassedCandidates
from curation_assets.publish.curating.curating import SAMPLE_ROWS, Curation
from curation_assets.publish.curating.judging import Judge, rules_of
from curation_assets.publish.curating.kept_candidates import VIDEO, KeptCandidates, by_dataset
from curation_assets.publish.curating.splits import SPLITS, given_splits
from curation_assets.schemas import schema
from curation_resources import sealed_parquet
from curation_resources.content_hash import ContentHasher

SAMPLED_GROUPS = 5
"""Row groups, spread over the table, from which correlations and keep-rate curves are computed."""


def judge_again(kept: KeptCandidates, folder: Path) -> Curation:
    """As `curating.curate`; the file has the columns `MARKS` alone, in the row groups of the table, and the hash is theirs.

    Args:
        kept: the candidates, and how they are judged now.
        folder: local scratch folder; the columns are written here.

    Raises:
        RuleError: a rule cannot be read.
        ValueError: a list or a column that the subset names cannot be used; the message names the subset.
    """
    try:
        return _again(kept, folder)
    except ValueError as error:
        error.add_note(f"in subset {kept.header.partition}")
        raise


def _again(kept: KeptCandidates, folder: Path) -> Curation:
    subset = kept.subset
    rules, given = rules_of(subset), given_splits(subset.split)
    judge, passed = Judge(subset, rules, kept.percentiles(rules)), PassedCandidates(subset, folder, kept.header.rows)
    reasons: list[np.ndarray] = []
    kind = np.min_scalar_type(len(rules) + 1)
    asked = list(dict.fromkeys(["dataset", "video_id", *passed.columns]))

    def passing() -> Iterator[pa.Table]:
        for rows in kept.groups(kept.columns):
            found = judge.reasons(CandidateFacts(rows, rows), rows["shard"])
            reasons.append(found.astype(kind))
            yield rows.select(asked).filter(pa.array(found == 0))

    for dataset, rows in by_dataset(passing(), passed.by_video):
        passed.add(dataset, rows, schema("frame_embeddings").empty)
    choice = choose(passed.candidates(), subset.select)
    marks, result = Marks(choice, subset, given), Curation(folder / "marks.parquet")
    contract = schema(kept.header.asset)
    hasher = ContentHasher(pa.schema([contract.arrow.field(n) for n in MARKS]), contract.volatile, contract.later)
    why, splits = (pa.array(words, pa.string()) for words in ([*judge.words[1:], *marks.words], SPLITS))
    coded = pa.dictionary(pa.int16(), pa.string())  # the file has the same pages as if texts were given
    form = pa.schema(
        [f.with_type(coded) if pa.types.is_string(f.type) else f for f in map(contract.arrow.field, MARKS)]
    )
    with pq.ParquetWriter(result.path, form, **sealed_parquet.WRITING) as writer:
        for rows, found in zip(kept.groups((), VIDEO), reasons, strict=True):
            selected, left, split = marks.coded(rows, found == 0)
            dropped = np.where(left < 0, found.astype(np.int16) - 1, left.astype(np.int16) + len(judge.words) - 1)
            marked = {
                "selected": pa.array(selected),
                "drop_reason": _coded(dropped, why),
                "split": _coded(split, splits),
            }
            table = pa.table([marked[name] for name in MARKS], schema=form)
            hasher.update(table)
            writer.write_table(table, row_group_size=max(1, rows.num_rows))
    result.parts = hasher.parts()
    result.funnel, result.examples = judge.funnel, judge.examples
    result.sampled_from(_samples(kept))
    result.count(choice, marks, subset)
    _note_first(kept, result)
    return result


def _coded(codes: np.ndarray, words: pa.Array) -> pa.DictionaryArray:
    """Texts by where they stand in `words`, null where below 0."""
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int16), mask=codes < 0), words)


def _note_first(kept: KeptCandidates, result: Curation) -> None:
    """Notes the first that were selected: of row groups with any, until there are enough, by the marks and the names that the table has."""
    with pq.ParquetFile(result.path) as file:
        for number in range(file.num_row_groups):
            marks = file.read_row_group(number, columns=["selected", "split"])
            if not pc.any(marks["selected"]).as_py():
                continue
            [names] = kept.groups(("clip_id", "shard"), (), chosen=[number])
            if not result.selected_first(
                marks.append_column("clip_id", names["clip_id"]).append_column("shard", names["shard"])
            ):
                break


def _samples(kept: KeptCandidates) -> Sequence[CandidateFacts]:
    """Candidates with all that the table has of numbers, drawn from some of its row groups."""
    numbers = [f.name for f in schema(kept.header.asset).arrow if pa.types.is_primitive(f.type) and f.name not in MARKS]
    columns = list(dict.fromkeys([*kept.columns, *numbers]))
    chosen = np.unique(np.linspace(0, max(0, kept.row_groups - 1), SAMPLED_GROUPS).round().astype(int)).tolist()
    found = []
    for number, rows in zip(chosen, kept.groups(columns, chosen=chosen), strict=False):
        found.append(sampled(CandidateFacts(rows, rows), math.ceil(SAMPLE_ROWS / len(chosen)), number))
    return found
