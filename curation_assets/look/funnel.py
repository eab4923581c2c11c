"""What rules make of candidates: how many each lets by, and the values beside their numbers.

Rules are applied one by one, a block of candidates at a time, and what each lets by is remembered, so that moving one number evaluates one rule. What belongs here: counting. What does not:
how one rule is evaluated (`rules/evaluation.py`), where histograms lie (`scales.py`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.look import row_bits
from curation_assets.look.blocks import side_by_side
from curation_assets.look.candidates import MS, CandidateColumns
from curation_assets.look.column_files import Values
from curation_assets.look.row_bits import Bits, Mask, Rows
from curation_assets.look.scales import BINS, Floats, Scale, ValuesOf, counted, percentile_of
from curation_assets.rules.evaluation import measured, numbers, passing
from curation_assets.rules.language import LABEL, Measure, RuleError, names_in, parse_rule
from curation_assets.rules.movable import Movable

KEPT_RULES = 64
"""Rules whose outcome is remembered, a bit for each candidate."""
KEPT_SCALES = 16
"""Measures whose histograms are remembered, a byte for each candidate."""
Counts = NDArray[np.int64]
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
        alive: which pass all.
        masks: for each rule, which it alone lets by.
        free: which are on no exclusion list.
    """

    alive: Bits
    masks: tuple[Bits, ...]
    free: Bits

    def others(self, rule: int) -> Bits:
        """Which candidates pass all rules but one, by its number."""
        found = self.free.copy()
        for number, mask in enumerate(self.masks):
            if number != rule:
                found &= mask
        return found


@dataclass(frozen=True)
class Tally:
    """What was counted of candidates under some rules.

    Attributes:
        steps: the candidates, those left by exclusion lists if there are any, and what is left after each rule.
        came, went: (rows, milliseconds) of those that pass now and did not before, and the other way round.
        histograms: for each that was asked for, how many are in each bin.
    """

    steps: tuple[Remaining, ...]
    came: tuple[int, int]
    went: tuple[int, int]
    histograms: tuple[list[int], ...]


class LiveFunnel:
    """Rules over the candidates of a collection."""

    def __init__(self, candidates: CandidateColumns) -> None:
        self.candidates = candidates
        self._lock = threading.RLock()
        self._masks: OrderedDict[Asked, Bits] = OrderedDict()
        self._scales: OrderedDict[tuple[str, bool], Scale] = OrderedDict()
        self._ranks: dict[tuple[str, bool, float], float | None] = {}

    @property
    def declared(self) -> list[Asked]:
        """The rules of the recipe, in order."""
        subset = self.candidates.collection.subset
        return [(r, True) for r in subset.where] + [(r, False) for r in subset.where_tracks]

    def passes(self, asked: Asked) -> Bits:
        """Which candidates a rule lets by.

        Raises:
            RuleError: it cannot be read, or names a column that no table has.
        """
        with self._lock:
            found = None if changing(asked) else self._masks.get(asked)
            if found is None:
                found = self._masks[asked] = self._passing(asked)
                while len(self._masks) > KEPT_RULES:
                    self._masks.popitem(last=False)
            self._masks.move_to_end(asked)
            return found

    def _passing(self, asked: Asked) -> Bits:
        (text, about), candidates = asked, self.candidates
        rule = parse_rule(text)
        ranks = {(m.name, p): self.rank(m, p, about) for m, p in rule.ranked}
        read = candidates.reader(rule.columns, about)
        found = row_bits.nothing(candidates.rows)

        def judge(block: int) -> None:
            told = passing(rule, read(block), ranks)
            row_bits.put(
                found, block, told.to_numpy(zero_copy_only=False) if isinstance(told, pa.Array) else told.to_numpy()
            )

        side_by_side(judge, candidates.blocks)
        candidates.let_go((n, about) for n in rule.columns)
        return found

    def rank(self, measure: Measure, p: float, about_clip: bool) -> float | None:
        """The p-th percentile of a measure over all candidates with a value; None without one."""
        key = (measure.name, about_clip, p)
        with self._lock:
            if key not in self._ranks:
                self._ranks[key] = percentile_of(self.values(measure, about_clip), self.candidates.rows, p)
            return self._ranks[key]

    def values(self, measure: Measure, about_clip: bool) -> ValuesOf:
        """What a rule compares, block by block.

        Raises:
            RuleError: it is no number, or no table has a column of it.
        """
        read = self.candidates.reader({n.name for n in names_in(measure)}, about_clip)
        return lambda block: as_floats(measured(measure, read(block)), measure.name)

    def values_at(self, measure: Measure, about_clip: bool, rows: Rows) -> Floats:
        """float64 (m,): what a rule compares, at some rows. Raises as `values`."""
        columns = {n.name: self.candidates.at(n.name, about_clip, rows) for n in names_in(measure)}
        return as_floats(measured(measure, columns), measure.name)

    def scale(self, measure: Measure, about_clip: bool, at: float | None = None) -> Scale:
        """The values of what a rule compares, on a scale that has `at`. Raises as `values`."""
        key, rows = (measure.name, about_clip), self.candidates.rows
        with self._lock:
            scale = self._scales.get(key)
            if scale is None:
                scale = Scale.of(self.values(measure, about_clip), rows, () if at is None else (at,))
            elif at is not None and not scale.low <= at <= scale.high:
                low, high = min(scale.low, at), max(scale.high, at)
                room = (high - low) / (BINS - 2)
                ends = low if low == scale.low else low - room, high if high == scale.high else high + room
                scale = Scale.between(self.values(measure, about_clip), rows, *ends)
            self._scales[key] = scale
            self._scales.move_to_end(key)
            while len(self._scales) > KEPT_SCALES:
                self._scales.popitem(last=False)
            return scale

    def place(self, number: Movable, about_clip: bool) -> float | None:
        """Where on its scale a number of a rule stands; a percentile, at its value."""
        return self.rank(number.left, number.value, about_clip) if number.percentile else number.value

    def judge(self, rules: Sequence[Asked]) -> Judged:
        """Applies rules. Raises as `passes`."""
        free = self._free()
        masks = tuple(self.passes(asked) for asked in rules)
        alive = free.copy()
        for mask in masks:
            alive &= mask
        return Judged(alive, masks, free)

    def _free(self) -> Bits:
        """All but those on exclusion lists."""
        excluded, everything = self.candidates.lookup.excluded, row_bits.everything(self.candidates.rows)
        return everything if excluded is None else row_bits.without(everything, excluded)

    def steps(self, rules: Sequence[Asked]) -> tuple[Remaining, ...]:
        """What is left of the candidates after each of some rules. Raises as `passes`."""
        return self.tally(rules, self.judge(rules)).steps

    def tally(
        self,
        rules: Sequence[Asked],
        now: Judged,
        before: Judged | None = None,
        histograms: Sequence[tuple[int, Scale]] = (),
    ) -> Tally:
        """Counts candidates.

        Args:
            rules: in order.
            now: what they make of the candidates.
            before: what other rules made of them.
            histograms: number of a rule, and a scale: of what all others let by.
        """
        candidates, rows = self.candidates, self.candidates.rows
        lists = candidates.lookup.excluded is not None
        masks = [now.free, *now.masks] if lists else list(now.masks)
        left_by = list(accumulate(masks, np.bitwise_and))
        came = row_bits.without(now.alive, before.alive) if before else None
        went = row_bits.without(before.alive, now.alive) if before else None
        other = {rule: now.others(rule) for rule, _ in histograms}

        def of(block: int) -> tuple[Counts, Counts, Counts]:
            ms = candidates.ms(block)
            first = np.zeros(len(ms), np.uint8)  # the rule that drops each first: as many as let it by before
            for bits in left_by:
                first += row_bits.mask_of(bits, block, rows).view(np.uint8)
            left = np.bincount(first, minlength=len(masks) + 1)
            lengths = np.bincount(first, ms, len(masks) + 1)
            changes = [_of_block(bits, block, ms) for bits in (came, went)]
            alive = {rule: row_bits.mask_of(bits, block, rows) for rule, bits in other.items()}
            drawn = [counted(np.compress(alive[rule], scale.block(block))) for rule, scale in histograms]
            return np.array([left, lengths], np.int64), np.array(changes, np.int64), np.array(drawn, np.int64)

        shapes = (2, len(masks) + 1), (2, 2), (len(histograms), BINS + 1)
        parts = side_by_side(of, candidates.blocks)
        candidates.let_go([(MS, True)])
        ends, changed, drawn = (
            (np.sum([p[i] for p in parts], axis=0) if parts else np.zeros(shape, np.int64)).tolist()
            for i, shape in enumerate(shapes)
        )
        names = [*(["exclusion lists"] if lists else []), *(text for text, _ in rules)]
        steps = [
            Remaining(name, sum(ends[0][number:]), sum(ends[1][number:]))
            for number, name in enumerate(["candidates", *names])
        ]
        return Tally(tuple(steps), (changed[0][0], changed[0][1]), (changed[1][0], changed[1][1]), tuple(drawn))

    def total(self, which: Bits) -> tuple[int, int]:
        """(how many rows a set has, how long they are together, milliseconds)."""
        rows = row_bits.number_of(which)
        parts = side_by_side(lambda b: _of_block(which, b, self.candidates.ms(b))[1], self.candidates.blocks)
        self.candidates.let_go([(MS, True)])
        return rows, sum(parts)


def _of_block(bits: Bits | None, block: int, ms: Floats) -> tuple[int, int]:
    """(how many rows of a block a set has, how long they are together)."""
    own = bits[block * row_bits.BLOCK_BYTES : (block + 1) * row_bits.BLOCK_BYTES] if bits is not None else None
    if own is None or not own.any():
        return 0, 0
    mask: Mask = np.unpackbits(own, count=len(ms), bitorder="little").view(bool)
    return int(np.count_nonzero(mask)), int(np.compress(mask, ms).sum())


def changing(asked: Asked) -> bool:
    """Whether what a rule lets by may be another with the same tables: it names labels."""
    return LABEL in asked[0]


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
