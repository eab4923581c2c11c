"""What rules make of candidates: how many each lets by, and the values beside their numbers.

Rules are applied one by one with the masks of the others kept, so that moving one number evaluates one rule. What belongs here: counting. What does not:
how one rule is evaluated (`rules/evaluation.py`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.look.candidates import CandidateColumns, Mask, Values
from curation_assets.rules.evaluation import measured, numbers, passing
from curation_assets.rules.language import LABEL, Measure, RuleError, names_in, parse_rule
from curation_assets.rules.movable import Movable

BINS = 48
"""Of a histogram; the first and the last also have what lies beyond."""
SPREAD = (0.5, 99.5)
"""Percentiles between which a histogram lies: single values far out would leave it one column."""
KEPT_MASKS = 64
"""Rules whose outcome is remembered, a byte for each candidate."""
Floats = NDArray[np.float64]
ORDER_TYPE = np.int32
"""Of places of candidates: two thousand million are enough."""
Asked = tuple[str, bool]
"""Text of a rule, and whether it is about clips (else tracks)."""


@dataclass(frozen=True)
class Remaining:
    """How many candidates are left after a rule, and how long they are together."""

    rule: str
    rows: int
    ms: int


@dataclass(frozen=True)
class Judged:
    """Candidates under some rules.

    Attributes:
        steps: the candidates, those left by exclusion lists if there are any, and what is left after each rule.
        alive: bool (n,), which pass all.
        masks: for each rule, bool (n,), which it alone lets by.
    """

    steps: tuple[Remaining, ...]
    alive: Mask
    masks: tuple[Mask, ...]


class Scale:
    """Where values lie between the ends of a histogram.

    Args:
        values: float64 (n,), nan where unknown.
        also: numbers that must be on it, such as a threshold.

    Attributes:
        low, high: its ends.
    """

    def __init__(self, values: Floats, also: Sequence[float] = ()) -> None:
        self.values = values
        known = values[np.isfinite(values)]
        low, high = np.percentile(known, SPREAD).tolist() if len(known) else (0.0, 1.0)
        low, high = min([low, *also]), max([high, *also])
        if low == high:  # most scores have 0 and 1 on their scale
            low, high = min(low, 0.0), max(high, 1.0)
        room = (high - low) / (BINS - 2)
        self.low, self.high = (0.0 if 0 <= low < room else low - room), high + room
        place = np.nan_to_num((values - self.low) / (self.high - self.low) * BINS)
        self._bins = np.where(np.isnan(values), BINS, np.clip(place, 0, BINS - 1)).astype(np.uint8)

    def counts(self, which: Mask | None = None) -> list[int]:
        """How many of `which` lie in each bin, and last how many are unknown."""
        bins = self._bins if which is None else self._bins[which]
        return [int(n) for n in np.bincount(bins, minlength=BINS + 1)]


class LiveFunnel:
    """Rules over the candidates of a collection."""

    def __init__(self, candidates: CandidateColumns) -> None:
        self.candidates = candidates
        self._lock = threading.RLock()
        self._masks: OrderedDict[Asked, Mask] = OrderedDict()
        self._scales: dict[tuple[str, bool], Scale] = {}
        self._ranks: dict[tuple[str, bool, float], float | None] = {}

    @property
    def declared(self) -> list[Asked]:
        """The rules of the recipe, in order."""
        subset = self.candidates.collection.subset
        return [(r, True) for r in subset.where] + [(r, False) for r in subset.where_tracks]

    def passes(self, asked: Asked) -> Mask:
        """bool (n,): which candidates a rule lets by.

        Raises:
            RuleError: it cannot be read, or names a column that no table has.
        """
        with self._lock:
            found = None if changing(asked) else self._masks.get(asked)
            if found is None:
                rule, about = parse_rule(asked[0]), asked[1]
                columns = {name: self.candidates.column(name, about) for name in rule.columns}
                told = passing(rule, columns, {(m.name, p): self.rank(m, p, about) for m, p in rule.ranked})
                found = self._masks[asked] = (
                    told.to_numpy(zero_copy_only=False) if isinstance(told, pa.Array) else told.to_numpy()
                )
                while len(self._masks) > KEPT_MASKS:
                    self._masks.popitem(last=False)
            self._masks.move_to_end(asked)
            return found

    def rank(self, measure: Measure, p: float, about_clip: bool) -> float | None:
        """The p-th percentile of a measure over all candidates with a value; None without one."""
        key = (measure.name, about_clip, p)
        if key not in self._ranks:
            values = self.scale(measure, about_clip).values
            known = values[np.isfinite(values)]
            self._ranks[key] = float(np.percentile(known, p)) if len(known) else None
        return self._ranks[key]

    def scale(self, measure: Measure, about_clip: bool, at: float | None = None) -> Scale:
        """The values of what a rule compares, on a scale that has `at`.

        Raises:
            RuleError: it is no number, or no table has a column of it.
        """
        key = (measure.name, about_clip)
        with self._lock:
            if key not in self._scales:
                columns = {n.name: self.candidates.column(n.name, about_clip) for n in names_in(measure)}
                self._scales[key] = Scale(as_floats(measured(measure, columns), measure.name))
            scale = self._scales[key]
            if at is not None and not scale.low <= at <= scale.high:
                scale = self._scales[key] = Scale(scale.values, (at, scale.low, scale.high))
            return scale

    def place(self, number: Movable, about_clip: bool) -> float | None:
        """Where on its scale a number of a rule stands; a percentile, at its value."""
        return self.rank(number.left, number.value, about_clip) if number.percentile else number.value

    def judge(self, rules: Sequence[Asked]) -> Judged:
        """Applies rules in order. Raises as `passes`."""
        ms, alive = self.candidates.ms, self._all()
        steps = [Remaining("candidates", self.candidates.rows, int(ms.sum()))]
        masks = [self.passes(asked) for asked in rules]
        named = [("exclusion lists", alive)] if self.candidates.excluded is not None else []
        for name, mask in [*named, *zip((text for text, _ in rules), masks, strict=True)]:
            alive = alive & mask
            steps.append(Remaining(name, int(np.count_nonzero(alive)), int(ms[alive].sum())))
        return Judged(tuple(steps), alive, tuple(masks))

    def others(self, judged: Judged, rule: int) -> Mask:
        """bool (n,): which candidates pass all rules but one, by its number."""
        found = self._all()
        for number, mask in enumerate(judged.masks):
            if number != rule:
                found &= mask
        return found

    def _all(self) -> Mask:
        """bool (n,): all but those on exclusion lists."""
        excluded = self.candidates.excluded
        return np.ones(self.candidates.rows, bool) if excluded is None else ~excluded


def changing(asked: Asked) -> bool:
    """Whether what a rule lets by may be another with the same tables: it names labels."""
    return LABEL in asked[0]


def nearest(values: Floats, at: float, which: Mask, most: int) -> NDArray[np.int64]:
    """int64 (m,): the candidates of `which` with values nearest to a number, the nearest first."""
    rows = np.flatnonzero(which & np.isfinite(values))
    away = np.abs(values[rows] - at)
    if len(rows) > most:
        chosen = np.argpartition(away, most)[:most]
        rows, away = rows[chosen], away[chosen]
    return rows[np.argsort(away, kind="stable")]


def as_floats(values: Values, name: str) -> Floats:
    """Numbers as float64, nan for null.

    Raises:
        RuleError: they are no numbers.
    """
    values = numbers(values)
    kinds = (pa.types.is_floating, pa.types.is_integer, pa.types.is_null)
    if not any(kind(values.type) for kind in kinds):
        raise RuleError(f"{name} is no number but {values.type}")
    found: Floats = pc.fill_null(values.cast(pa.float64()), float("nan")).to_numpy()
    return found
