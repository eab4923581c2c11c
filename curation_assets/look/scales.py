"""Scores on a scale: where a histogram lies, how many candidates are in each of its bins, and percentiles of all of them.

What belongs here: numbers of candidates, a block at a time. What does not: which numbers (`funnel.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation_assets.look import row_bits
from curation_assets.look.blocks import BLOCK_ROWS, blocks_of, side_by_side
from curation_assets.look.row_bits import Bits

BINS = 48
"""Of a histogram; the first and the last also have what lies beyond."""
SPREAD = (0.5, 99.5)
"""Percentiles between which a histogram lies: single values far out would leave it one column."""
SAMPLED = 1 << 20
"""Values of which `SPREAD` is told, evenly taken from all."""
GATHERED = 1 << 22
"""Values that are gathered to be put in order; of more, those are counted first that lie elsewhere."""
DIGITS = 16
"""Bits of a number by which values are counted at a time."""
Floats = NDArray[np.float64]
ValuesOf = Callable[[int], Floats]
"""Block -> float64 (n,), the values of its candidates, nan where unknown."""


@dataclass(frozen=True)
class Scale:
    """Where values lie between the ends of a histogram.

    Attributes:
        low, high: its ends.
        bins: uint8 (n,), the bin of each candidate; `BINS` where its value is unknown.
    """

    low: float
    high: float
    bins: NDArray[np.uint8]

    @staticmethod
    def of(values: ValuesOf, rows: int, also: Sequence[float] = ()) -> Scale:
        """The scale of so many values, with numbers that must be on it, such as a threshold."""
        step = -(-rows // SAMPLED) or 1
        blocks = range(blocks_of(rows))
        parts = side_by_side(lambda b: values(b)[::step].copy(), blocks)
        low, high = ends_of(np.concatenate(parts) if parts else np.zeros(0), also)
        return Scale.between(values, rows, low, high)

    @staticmethod
    def between(values: ValuesOf, rows: int, low: float, high: float) -> Scale:
        """The scale with these ends."""
        bins = np.empty(rows, np.uint8)

        def place(block: int) -> None:
            own = values(block)
            at = (own - low) * (BINS / (high - low))
            np.clip(at, 0, BINS - 1, out=at)
            np.copyto(at, BINS, where=np.isnan(at))
            start = block * BLOCK_ROWS
            bins[start : start + len(own)] = at.astype(np.uint8)

        side_by_side(place, range(blocks_of(rows)))
        return Scale(low, high, bins)

    def counts(self, which: Bits | None = None) -> list[int]:
        """How many of `which` lie in each bin, and last how many are unknown."""
        rows = len(self.bins)

        def of(block: int) -> NDArray[np.int64]:
            own = self.block(block)
            return counted(own if which is None else np.compress(row_bits.mask_of(which, block, rows), own))

        return [int(n) for n in sum(side_by_side(of, range(blocks_of(rows))), start=np.zeros(BINS + 1, np.int64))]

    def block(self, number: int) -> NDArray[np.uint8]:
        """The bins of a block."""
        return self.bins[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]


def counted(bins: NDArray[np.uint8]) -> NDArray[np.int64]:
    """int64 (BINS + 1,): how many are in each."""
    return np.bincount(bins, minlength=BINS + 1)


def ends_of(values: Floats, also: Sequence[float] = ()) -> tuple[float, float]:
    """The ends of a histogram of values, nan where unknown, that has some numbers."""
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, SPREAD).tolist() if len(known) else (0.0, 1.0)
    low, high = min([low, *also]), max([high, *also])
    if low == high:  # most scores have 0 and 1 on their scale
        low, high = min(low, 0.0), max(high, 1.0)
    room = (high - low) / (BINS - 2)
    return (0.0 if 0 <= low < room else low - room), high + room


def percentile_of(values: ValuesOf, rows: int, p: float) -> float | None:
    """The p-th percentile of all values that are known, interpolated linearly as `numpy.percentile` does it; None without one.

    Nothing is as long as they are many: they are counted by their highest bits first, then by the next among those that begin as the one that is looked for.
    """
    blocks = range(blocks_of(rows))

    def known(block: int) -> Floats:
        own = values(block)
        return own[np.isfinite(own)]

    if rows <= GATHERED:
        parts = side_by_side(known, blocks)
        gathered = np.concatenate(parts) if parts else np.zeros(0)
        return float(np.percentile(gathered, p)) if len(gathered) else None
    total = sum(side_by_side(lambda b: len(known(b)), blocks))
    if not total:
        return None
    at = (total - 1) * (p / 100)
    below = int(at)
    low = _nth(known, blocks, below, total)
    high = _nth(known, blocks, min(below + 1, total - 1), total) if at > below else low
    part = at - below
    return float(high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part)


def _nth(known: ValuesOf, blocks: Sequence[int], number: int, total: int) -> float:
    """The value that so many others come before."""
    shift, begins, left = 64, 0, total

    def own(block: int) -> NDArray[np.uint64]:
        codes = _codes(known(block))
        return codes if shift == 64 else codes[codes >> np.uint64(shift) == np.uint64(begins)]

    def digits(block: int) -> NDArray[np.int64]:
        at = (own(block) >> np.uint64(shift - DIGITS)) & np.uint64((1 << DIGITS) - 1)
        return np.bincount(at.astype(np.int64), minlength=1 << DIGITS)

    while left > GATHERED and shift:
        counts = np.sum(side_by_side(digits, blocks), axis=0)
        ends = np.cumsum(counts)
        digit = int(np.searchsorted(ends, number, side="right"))
        number -= int(ends[digit] - counts[digit])
        left, shift, begins = int(counts[digit]), shift - DIGITS, begins << DIGITS | digit
    code = begins
    if shift:
        gathered = np.concatenate(side_by_side(own, blocks))
        code = int(np.partition(gathered, number)[number])
    return float(_values(np.array([code], np.uint64))[0])


SIGN = np.uint64(1 << 63)


def _codes(values: Floats) -> NDArray[np.uint64]:
    """Whole numbers that are in the order of the values."""
    bits = np.ascontiguousarray(values).view(np.uint64)
    return np.where(bits & SIGN, ~bits, bits | SIGN)


def _values(codes: NDArray[np.uint64]) -> Floats:
    return np.where(codes & SIGN, codes ^ SIGN, ~codes).view(np.float64)
