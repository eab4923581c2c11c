"""What a curated table says of the choice: the columns `selected`, `drop_reason` and `split` of judged candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.criteria import REASONS, CandidateChoice
from curation_assets.publish.curating.splits import splits_of
from curation_assets.publish.subsets import Subset

MARKS = ("selected", "drop_reason", "split")


class Marks:
    """Marks judged candidates, part after part, and counts what was selected.

    Args:
        choice: of the candidates that passed, in the order in which `of` is given them.
        subset: the section of the recipe.
        given: video_id -> split, from the recipe's lists.

    Attributes:
        splits: split -> selected candidates.
        ms: their milliseconds.
    """

    def __init__(self, choice: CandidateChoice, subset: Subset, given: Mapping[str, str]) -> None:
        self._choice, self._subset, self._given = choice, subset, given
        self._why = pa.array([f"select: {subset.select.criterion}", *REASONS[1:]], pa.string())
        self._at = 0
        self.splits: Counter[str] = Counter()
        self.ms = 0

    def of(self, rows: pa.RecordBatch | pa.Table, passed: np.ndarray, reasons: pa.Array) -> dict[str, pa.Array]:
        """The columns `MARKS`.

        Args:
            rows: candidates, with `dataset`, `video_id` and their span.
            passed: bool (n,), whether they passed the rules.
            reasons: why not.
        """
        which = np.flatnonzero(passed)
        taken = self._choice.selected[self._at : self._at + len(which)]
        codes = np.full(rows.num_rows, -1, np.int64)
        codes[which[~taken]] = self._choice.reasons[self._at : self._at + len(which)][~taken]
        selected = np.zeros(rows.num_rows, bool)
        selected[which[taken]] = True
        self._at += len(which)
        splits = self._splits(rows, selected)
        for entry in splits.drop_null().value_counts():
            self.splits[entry["values"].as_py()] += entry["counts"].as_py()
        spans = pc.fill_null(pc.subtract(rows["end_ms"], rows["start_ms"]), 0).to_numpy(zero_copy_only=False)
        self.ms += int(spans[selected].sum())
        why = pc.coalesce(reasons, self._why.take(pa.array(codes, mask=codes < 0)))
        return {"selected": pa.array(selected), "drop_reason": why, "split": splits}

    def _splits(self, rows: pa.RecordBatch | pa.Table, selected: np.ndarray) -> pa.Array:
        """The split of each selected candidate's video."""
        chosen = pa.array(np.flatnonzero(selected))
        videos = pc.binary_join_element_wise(
            rows["dataset"].take(chosen), rows["video_id"].take(chosen), "\0"
        ).dictionary_encode()
        if isinstance(videos, pa.ChunkedArray):
            videos = videos.unify_dictionaries().combine_chunks()
        pairs = [(d, v) for d, _, v in (name.partition("\0") for name in videos.dictionary.to_pylist())]
        each = splits_of(pairs, self._subset.split, self._given)
        found = np.full(rows.num_rows, -1, np.int64)
        found[selected] = videos.indices.to_numpy()
        return pa.array(each, pa.string()).take(pa.array(found, mask=found < 0))
