"""Two tables of one asset held against each other row by row, and what of each column changed by how much.

Everything is measured; what counts is said by tolerances afterwards. What belongs here: two tables. What does not: which tables there are (`roots.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

EXAMPLES = 3
"""Rows kept of what appeared, vanished, and of the largest changes of each column."""


@dataclass(frozen=True)
class ValueChange:
    """A value that is another: of which row and clip (empty where the table has none), and both as they are."""

    row: str
    a: Any
    b: Any
    size: float
    clip: str = ""


@dataclass(frozen=True)
class ColumnChanges:
    """What of a column changed, over the rows that both have.

    Attributes:
        rows: compared.
        beyond: of them, those that differ by more than the tolerance.
        differ: those that differ at all.
        mean: of the absolute differences of numbers that both know; None for other columns.
        largest: the changes that are largest against the size of the values; a value that only one knows is larger than any.
    """

    rows: int
    beyond: int
    differ: int
    mean: float | None
    largest: tuple[ValueChange, ...]

    def __add__(self, other: ColumnChanges) -> ColumnChanges:
        rows = self.rows + other.rows
        mean = None
        if self.mean is not None and other.mean is not None:
            mean = (self.mean * self.rows + other.mean * other.rows) / rows if rows else 0.0
        largest = sorted((*self.largest, *other.largest), key=lambda c: -c.size)[:EXAMPLES]
        return ColumnChanges(rows, self.beyond + other.beyond, self.differ + other.differ, mean, tuple(largest))


@dataclass(frozen=True)
class Differences:
    """Two tables of one asset, or of several of its partitions.

    Attributes:
        rows_a, rows_b: of each.
        vanished, appeared: rows that only the first has, or only the second.
        changed: rows that both have and of which something differs by more than the tolerance.
        examples: some that vanished (-) and appeared (+).
        clips: the clips of those, empty where the table has none.
        columns: those of which something differs.
    """

    rows_a: int = 0
    rows_b: int = 0
    vanished: int = 0
    appeared: int = 0
    changed: int = 0
    examples: tuple[str, ...] = ()
    clips: tuple[str, ...] = ()
    columns: Mapping[str, ColumnChanges] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether they say something else, within the tolerance."""
        return bool(self.vanished or self.appeared or self.changed)

    def __add__(self, other: Differences) -> Differences:
        columns = dict(self.columns)
        for name, more in other.columns.items():
            columns[name] = columns[name] + more if name in columns else more
        return Differences(
            self.rows_a + other.rows_a,
            self.rows_b + other.rows_b,
            self.vanished + other.vanished,
            self.appeared + other.appeared,
            self.changed + other.changed,
            (*self.examples, *other.examples)[: 2 * EXAMPLES],
            (*self.clips, *other.clips)[: 2 * EXAMPLES],
            columns,
        )


class Tolerance:
    """How much numbers may differ, as a share of the larger one's size.

    Args:
        every: of all columns; 0 is not at all.
        of_column: of some, instead.
    """

    def __init__(self, every: float = 0.0, of_column: Mapping[str, float] | None = None) -> None:
        self._every, self._of_column = every, dict(of_column or {})

    def of(self, column: str) -> float:
        return self._of_column.get(column, self._every)


def differences(
    tables: tuple[pa.Table, pa.Table], key: Sequence[str], skip: frozenset[str], tolerance: Tolerance
) -> Differences:
    """Two tables, row by row.

    Args:
        tables: both; columns that only one has are left out.
        key: the columns by which rows are the same.
        skip: columns that are not compared.
    """
    a, b = tables
    names = [n for n in a.column_names if n in b.column_names and n not in key and n not in skip]
    ids = [_keys(t, key) for t in tables]
    at = pc.index_in(ids[0], value_set=ids[1])
    both = pc.is_valid(at)
    alone = [pc.invert(both), pc.invert(pc.is_in(ids[1], value_set=ids[0]))]
    left, right = a.filter(both), b.take(at.drop_null())
    named = (ids[0].filter(both), _clips(left))
    columns, beyond = {}, np.zeros(left.num_rows, bool)
    for name in names:
        found, rows = _column((left[name], right[name]), named, tolerance.of(name))
        beyond |= rows
        if found.differ:
            columns[name] = found
    examples, clips = [], []
    for sign, table, own, which in zip("-+", tables, ids, alone, strict=True):
        examples += [f"{sign} {i}" for i in own.filter(which)[:EXAMPLES].to_pylist()]
        clips += _clips(table.filter(which).slice(0, EXAMPLES)).to_pylist()
    gone, new = (int(pc.sum(which).as_py() or 0) for which in alone)
    rows_of = (a.num_rows, b.num_rows)
    return Differences(*rows_of, gone, new, int(beyond.sum()), tuple(examples), tuple(clips), columns)


def _clips(table: pa.Table) -> pa.Array:
    """The clip of each row; empty where there is none."""
    if "clip_id" not in table.column_names:
        return pa.array([""] * table.num_rows, pa.string())
    return pc.fill_null(table["clip_id"], "").combine_chunks()


def _keys(table: pa.Table, key: Sequence[str]) -> pa.Array:
    """One text for each row."""
    parts = [pc.fill_null(table[n].cast(pa.string()), "") for n in key]
    joined = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " ")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _column(
    pair: tuple[pa.ChunkedArray, pa.ChunkedArray], named: tuple[pa.Array, pa.Array], tolerance: float
) -> tuple[ColumnChanges, np.ndarray]:
    """A column of rows that both have, which `named` has the keys and the clips of, and bool (n,): where it differs by more than the tolerance."""
    kind = pair[0].type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        a, b = (pc.fill_null(c.cast(pa.float64()), np.nan).to_numpy() for c in pair)
        away, one = np.abs(a - b), np.isnan(a) != np.isnan(b)
        scale = np.maximum(np.abs(a), np.abs(b))
        sizes = np.where(one, np.inf, np.nan_to_num(np.divide(away, scale, out=np.zeros_like(away), where=scale > 0)))
        known = away[np.isfinite(away)]
        mean = float(known.mean()) if len(known) else 0.0
    else:
        values = zip(*(c.to_pylist() for c in pair), strict=True)
        sizes = np.array([0.0 if x == y else np.inf for x, y in values])
        mean = None
    differ, beyond = sizes > 0, sizes > tolerance
    found = ColumnChanges(len(sizes), int(beyond.sum()), int(differ.sum()), mean, ())
    if not differ.any():
        return found, beyond
    most = np.argsort(-sizes, kind="stable")[: min(EXAMPLES, int(differ.sum()))]
    largest = [
        ValueChange(named[0][i].as_py(), pair[0][i].as_py(), pair[1][i].as_py(), float(sizes[i]), named[1][i].as_py())
        for i in most.tolist()
    ]
    return replace(found, largest=tuple(largest)), beyond
