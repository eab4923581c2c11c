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

from curation_assets.comparing.value_distances import directions, distances

EXAMPLES = 12
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
        up, down: numbers that are greater in the second, or less; truths that came to hold, or hold no more.
        measured: of those that differ, the ones of which it is known by how much: numbers, and lists of numbers, that both know.
        mean: of their absolute differences; None for columns without numbers.
        largest: the changes that are largest against the size of the values; a value that only one knows is larger than any.
    """

    rows: int
    beyond: int
    differ: int
    measured: int
    mean: float | None
    largest: tuple[ValueChange, ...]
    up: int = 0
    down: int = 0

    def __add__(self, other: ColumnChanges) -> ColumnChanges:
        measured, mean = self.measured + other.measured, None
        if self.mean is not None and other.mean is not None:
            mean = (self.mean * self.measured + other.mean * other.measured) / measured if measured else 0.0
        largest = sorted((*self.largest, *other.largest), key=lambda c: -c.size)[:EXAMPLES]
        return ColumnChanges(
            self.rows + other.rows,
            self.beyond + other.beyond,
            self.differ + other.differ,
            measured,
            mean,
            tuple(largest),
            self.up + other.up,
            self.down + other.down,
        )


@dataclass(frozen=True)
class Differences:
    """Two tables of one asset, or of several of its partitions; those of parts add up to those of the whole.

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

    @property
    def shared(self) -> int:
        """Rows that both have."""
        return self.rows_a - self.vanished

    def __add__(self, other: Differences) -> Differences:
        columns: dict[str, ColumnChanges] = {}
        for name in {**self.columns, **other.columns}:
            parts = [
                one.columns.get(name) or ColumnChanges(one.shared, 0, 0, 0, 0.0, ()) for one in (self, other)
            ]  # of a column that is the same in a part only its rows count
            kinds = [one.columns[name].mean for one in (self, other) if name in one.columns]
            both = parts[0] + parts[1]
            columns[name] = replace(both, mean=None) if None in kinds else both
        kept = [
            [pair for one in (self, other) for pair in zip(one.examples, one.clips, strict=True) if pair[0][0] == sign]
            for sign in "-+"
        ]
        shown = [pair for pairs in kept for pair in pairs[:EXAMPLES]]
        return Differences(
            self.rows_a + other.rows_a,
            self.rows_b + other.rows_b,
            self.vanished + other.vanished,
            self.appeared + other.appeared,
            self.changed + other.changed,
            tuple(example for example, _ in shown),
            tuple(clip for _, clip in shown),
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
        tables: both, in memory; columns that only one has are left out.
        key: the columns by which rows are the same.
        skip: columns that are not compared.
    """
    a, b = tables
    names = [n for n in a.column_names if n in b.column_names and n not in key and n not in skip]
    ids = [row_keys(t, key) for t in tables]
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


def row_keys(table: pa.Table, key: Sequence[str]) -> pa.Array:
    """One text for each row."""
    parts = [pc.fill_null(table[n].cast(pa.string()), "") for n in key]
    joined = parts[0] if len(parts) == 1 else pc.binary_join_element_wise(*parts, " ")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def _column(
    pair: tuple[pa.ChunkedArray, pa.ChunkedArray], named: tuple[pa.Array, pa.Array], tolerance: float
) -> tuple[ColumnChanges, np.ndarray]:
    """A column of rows that both have, which `named` has the keys and the clips of, and bool (n,): where it differs by more than the tolerance."""
    away, sizes = distances(*pair)
    differ, beyond = sizes > 0, sizes > tolerance
    measured, mean = 0, None
    if away is not None:
        known = away[differ & np.isfinite(away)]
        measured, mean = len(known), float(known.mean()) if len(known) else 0.0
    up, down = directions(*pair)
    found = ColumnChanges(len(sizes), int(beyond.sum()), int(differ.sum()), measured, mean, (), up, down)
    if not differ.any():
        return found, beyond
    most = np.argsort(-sizes, kind="stable")[: min(EXAMPLES, int(differ.sum()))]
    largest = [
        ValueChange(named[0][i].as_py(), pair[0][i].as_py(), pair[1][i].as_py(), float(sizes[i]), named[1][i].as_py())
        for i in most.tolist()
    ]
    return replace(found, largest=tuple(largest)), beyond
