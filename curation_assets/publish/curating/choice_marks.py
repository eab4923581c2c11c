"""What a curated table says of the choice: the columns `selected`, `drop_reason` and `split` of judged candidates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.coded_texts import coded
from curation_assets.publish.curating.criteria import REASONS, CandidateChoice
from curation_assets.publish.curating.splits import SPLITS, SplitOfVideos
from curation_assets.publish.subsets import Subset

MARKS = ("selected", "drop_reason", "split")
_SPLITS = pa.array(SPLITS, pa.string())


class Marks:
    """Marks judged candidates, part after part, and counts what was selected.

    Args:
        choice: of the candidates that passed, in the order in which `of` is given them.
        subset: the section of the recipe.
        given: video_id -> split, from the recipe's lists.

    Attributes:
        words: why a candidate that passed the rules was not selected, by the codes that `coded` gives.
        splits: split -> selected candidates.
        ms: their milliseconds.
    """

    def __init__(self, choice: CandidateChoice, subset: Subset, given: Mapping[str, str]) -> None:
        self._choice, self._split = choice, SplitOfVideos(subset.split, given)
        self.words = [f"select: {subset.select.criterion}", *REASONS[1:]]
        self._why = pa.array(self.words, pa.string())
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
        selected, codes, splits = self.coded(rows, passed)
        return {
            "selected": pa.array(selected),
            "drop_reason": pc.coalesce(reasons, self._why.take(pa.array(codes, mask=codes < 0))),
            "split": _SPLITS.take(pa.array(splits, mask=splits < 0)),
        }

    def coded(self, rows: pa.RecordBatch | pa.Table, passed: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(bool (n,), which are selected; int8 (n,), where in `words` it stands why one that passed is not, else -1; int8 (n,), where in `SPLITS` its split stands, else -1).

        Args:
            rows, passed: as for `of`.
        """
        which = np.flatnonzero(passed)
        taken = self._choice.selected[self._at : self._at + len(which)]
        codes = np.full(rows.num_rows, -1, np.int8)
        codes[which[~taken]] = self._choice.reasons[self._at : self._at + len(which)][~taken]
        selected = np.zeros(rows.num_rows, bool)
        selected[which[taken]] = True
        self._at += len(which)
        splits = self._splits(rows, selected)
        for name, count in zip(SPLITS, np.bincount(splits[selected], minlength=len(SPLITS)).tolist(), strict=True):
            self.splits[name] += count
        spans = pc.fill_null(pc.subtract(rows["end_ms"], rows["start_ms"]), 0).to_numpy(zero_copy_only=False)
        self.ms += int(spans[selected].sum())
        return selected, codes, splits

    def _splits(self, rows: pa.RecordBatch | pa.Table, selected: np.ndarray) -> np.ndarray:
        """int8 (n,): for each candidate, where in `SPLITS` the split of its video stands, -1 where it is not selected."""
        chosen = pa.array(np.flatnonzero(selected))
        datasets, videos = (coded(rows[name].take(chosen)) for name in ("dataset", "video_id"))
        pairs = (
            datasets.indices.to_numpy().astype(np.int64) * max(1, len(videos.dictionary)) + videos.indices.to_numpy()
        )
        each, which = np.unique(pairs, return_inverse=True)
        of_pair = np.empty(len(each), np.int8)
        dataset, video = np.divmod(each, max(1, len(videos.dictionary)))
        for number, name in enumerate(datasets.dictionary.to_pylist()):
            of_pair[dataset == number] = self._split.of(
                name, videos.dictionary.take(pa.array(video[dataset == number]))
            )
        found = np.full(rows.num_rows, -1, np.int8)
        found[selected] = of_pair[which]
        return found
