"""The first few of many rows in the order of a number, found block by block; nothing is sorted that is as long as they are many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from curation_assets.look import row_bits
from curation_assets.look.blocks import BLOCK_ROWS, blocks_of, in_runs
from curation_assets.look.row_bits import Bits, Rows

Floats = NDArray[np.float64]
Mark = tuple[float, int]
"""The number of a row, and the row: what stands where in the order."""
HELD = 1 << 20
"""Rows that are looked for at a time where many are passed over."""


def best(
    numbers: Callable[[int], Floats], which: Bits, rows: int, most: int, after: Mark | None = None
) -> tuple[Rows, Floats]:
    """The rows with the lowest numbers, in order; of the same number the first row comes first.

    Args:
        numbers: block -> float64, the number of each row; rows without a finite one are left out.
        which: the rows that are looked at, of so many in all.
        most: how many are wanted.
        after: only those that come after this one.

    Returns:
        int64 (m,) rows, and float64 (m,) their numbers.
    """
    if most <= 0:
        return np.empty(0, np.int64), np.empty(0)

    def of(blocks: Sequence[int]) -> tuple[Rows, Floats]:
        held: list[tuple[Rows, Floats]] = []
        size, bound = 0, np.inf
        for block in blocks:
            mask = row_bits.mask_of(which, block, rows)
            if not mask.any():
                continue
            own = numbers(block)
            mask &= np.isfinite(own) & (own <= bound)
            at = np.flatnonzero(mask)
            found = at + block * BLOCK_ROWS, own[at]
            if after is not None:
                later = (found[1] > after[0]) | ((found[1] == after[0]) & (found[0] > after[1]))
                found = found[0][later], found[1][later]
            held.append(found)
            size += len(found[0])
            if size > max(4 * most, BLOCK_ROWS // 4):
                held = [_first(held, most)]
                size = len(held[0][0])
                if size == most:
                    bound = float(held[0][1].max())
        return _first(held, most)

    chosen, values = _first(in_runs(of, blocks_of(rows)), most)
    order = np.lexsort((chosen, values))
    return chosen[order], values[order]


def best_from(numbers: Callable[[int], Floats], which: Bits, rows: int, offset: int, limit: int) -> tuple[Rows, Floats]:
    """As `best`, from the `offset`-th on: those before are passed over, so many at a time."""
    mark: Mark | None = None
    while offset > 0:
        found, values = best(numbers, which, rows, min(offset, HELD), mark)
        if not len(found):
            return found, values
        offset, mark = offset - len(found), (float(values[-1]), int(found[-1]))
    return best(numbers, which, rows, limit, mark)


def _first(parts: Sequence[tuple[Rows, Floats]], most: int) -> tuple[Rows, Floats]:
    """The first of some rows, in any order."""
    if not parts:
        return np.empty(0, np.int64), np.empty(0)
    rows, values = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
    if len(rows) <= most:
        return rows, values
    last = np.partition(values, most - 1)[most - 1]
    sure = np.flatnonzero(values < last)
    same = np.flatnonzero(values == last)  # of which the first rows are taken
    if len(sure) + len(same) > most:
        same = same[np.argsort(rows[same], kind="stable")[: most - len(sure)]]
    chosen = np.concatenate([sure, same])
    return rows[chosen], values[chosen]
