"""Labels that people give on the page: kept in the files that recipes name, seen at once, and held against the rules.

What belongs here: labels of candidates, and where rules disagree with them. What does not: the file (`scores/label_file.py`), the table that runs make of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.recipes import Recipe
from curation_assets.rules.language import ORDERINGS, RuleError
from curation_assets.scores.label_file import LabelError, LabelFile, Said

Mask = NDArray[np.bool_]
Clip = tuple[str, str]
"""Dataset and id of a clip."""
KEEP, DROP = "keep", "drop"
"""The labels that say what a rule should have done."""


class LabelFiles:
    """The files of labels of recipes.

    Args:
        recipes: dataset -> recipe.
        who: who labels on this page.
    """

    def __init__(self, recipes: Mapping[str, Recipe], who: str = "") -> None:
        self._files = {d: LabelFile(r.labels.file) for d, r in recipes.items() if r.labels.file}
        self._who = who

    def of(self, dataset: str, clip: str) -> list[str]:
        """The labels that a clip has, in order of letters; none where the recipe has no file, or it cannot be read."""
        try:
            return sorted(self._files[dataset].labels().get(clip, ())) if dataset in self._files else []
        except LabelError:
            return []

    def given(self, dataset: str) -> bool:
        """Whether the clips of a dataset can be labelled: its recipe names a file."""
        return dataset in self._files

    def names(self, datasets: Sequence[str]) -> list[str]:
        """All labels that clips have."""
        files = [self._files[d] for d in datasets if d in self._files]
        return sorted({label for file in files for own in file.labels().values() for label in own})

    def labelled(self, label: str) -> list[Clip]:
        """The clips that have a label.

        Raises:
            RuleError: a file cannot be read.
        """
        try:
            return [(d, clip) for d, file in self._files.items() for clip, own in file.labels().items() if label in own]
        except LabelError as error:
            raise RuleError(str(error)) from error

    def say(self, clips: Sequence[Clip], label: str, holds: bool) -> None:
        """Gives clips, (dataset, id) each, a label, or takes it back. To keep and to drop exclude each other.

        Raises:
            LabelError: a recipe names no file, or the label cannot be one.
        """
        when = datetime.now(UTC).isoformat(timespec="seconds")
        other = {KEEP: DROP, DROP: KEEP}.get(label) if holds else None
        said: dict[str, list[Said]] = {}
        for dataset, clip in clips:
            if dataset not in self._files:
                raise LabelError(
                    f"the recipe of {dataset} has no file of labels; add `labels: {{file: labels.jsonl}}` to it and start `curation look` again"
                )
            own = said.setdefault(dataset, [])
            own.append(Said(clip, label, holds, self._who, when))
            if other is not None and other in self.of(dataset, clip):
                own.append(Said(clip, other, False, self._who, when))
        for dataset, lines in said.items():
            self._files[dataset].add(lines)


@dataclass(frozen=True)
class LabelAgreement:
    """What rules do with clips that are labelled to be kept or dropped.

    Attributes:
        keep, drop: how many are labelled so.
        kept_keep, kept_drop: how many of each the rules keep.
    """

    keep: int
    drop: int
    kept_keep: int
    kept_drop: int

    def told(self) -> dict[str, Any]:
        """With precision and recall of what is kept; None where there is nothing to divide by."""
        kept = self.kept_keep + self.kept_drop
        return {
            "keep": self.keep,
            "drop": self.drop,
            "kept_keep": self.kept_keep,
            "kept_drop": self.kept_drop,
            "precision": self.kept_keep / kept if kept else None,
            "recall": self.kept_keep / self.keep if self.keep else None,
        }


def best_fit(values: NDArray[np.float64], keep: Mask, op: str, now: float) -> tuple[float, int]:
    """The number at which `value op number` agrees with most labels, and with how many.

    Of several that do as well it is the one nearest to what it is now. Between two values it lies in the middle, written as short as it can be; a value that is
    unknown is never let by.

    Args:
        values: float64 (n,), of clips labelled to be kept or dropped.
        keep: bool (n,), which are to be kept.
        op: of `ORDERINGS`.
        now: the number as it is.
    """
    known = np.unique(values[np.isfinite(values)])
    between = [_short_between(a, b) for a, b in pairwise(known)]
    room = (known[-1] - known[0]) * 0.01 or 1.0 if len(known) else 1.0
    ends = (
        [_short_between(known[0] - room, known[0]), _short_between(known[-1], known[-1] + room)] if len(known) else []
    )
    tried = [now, *between, *ends]
    agreed = [int(np.count_nonzero(getattr(np, ORDERINGS[op])(values, at) == keep)) for at in tried]
    best = max(range(len(tried)), key=lambda i: (agreed[i], -abs(tried[i] - now)))
    return tried[best], agreed[best]


def _short_between(low: float, high: float) -> float:
    """A number between two others with as few digits as lie between them."""
    middle = (low + high) / 2
    for digits in range(1, 17):
        short = float(f"{middle:.{digits}g}")
        if low < short < high and math.isfinite(short):
            return short
    return float(middle)
