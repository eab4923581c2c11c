"""In which order the grid shows rows: by a number or by likeness, from anywhere on, without all of them being sorted."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curation_assets.look import row_bits
from curation_assets.look.best_rows import Mark, best, best_from
from curation_assets.look.blocks import side_by_side
from curation_assets.look.candidates import CandidateColumns
from curation_assets.look.funnel import Asked, as_floats, changing
from curation_assets.look.likeness import Likeness
from curation_assets.look.row_bits import Bits, Rows
from curation_assets.look.scales import Floats, ValuesOf

KEPT_ORDERS = 32
"""Orders of the grid of which is remembered how far they were walked."""


@dataclass(frozen=True)
class GridQuery:
    """What the grid shows.

    Attributes:
        rules: those in force on the page.
        show: of `SHOWS`, or `rule:N`.
        where: a further rule, which only chooses what is shown; empty is all.
        sort: a number of the candidates; empty is the order of their ids.
        down: whether the highest come first.
        like: (kind, what) of `Likeness.to`; then the most alike come first, whatever `sort` says. None is nothing.
        offset, limit: which of them.
    """

    rules: tuple[Asked, ...]
    show: str = "all"
    where: str = ""
    sort: str = ""
    down: bool = False
    like: tuple[str, str] | None = None
    offset: int = 0
    limit: int = 100


class GridOrder:
    """Puts rows of a collection in order.

    Args:
        candidates: its rows.
        likeness: what compares them.
    """

    def __init__(self, candidates: CandidateColumns, likeness: Likeness) -> None:
        self._candidates, self._likeness = candidates, likeness
        self._known: OrderedDict[Any, Bits] = OrderedDict()
        self._marks: OrderedDict[GridQuery, dict[int, Mark]] = OrderedDict()

    def by_likeness(
        self, query: GridQuery, like: tuple[str, str], which: Bits, limit: int
    ) -> tuple[Rows, Floats, Bits]:
        """Rows by how much their clips look like something, the most alike first; their cosines; and all that have one. Raises as `Likeness.to`."""
        numbers = self._likeness.to(*like)
        which = which & self.finite(like, numbers)
        chosen, values = self._in_order(query, lambda b: -numbers(b), which, limit)
        return chosen, -values, which

    def by_number(self, query: GridQuery, which: Bits, limit: int) -> tuple[Rows, Floats]:
        """Rows by a number, those without one last."""
        numbers = self.values(query.sort)
        finite = self.finite(query.sort, numbers)
        known = which & finite
        sign = -1.0 if query.down else 1.0
        chosen, values = self._in_order(query, lambda b: sign * numbers(b), known, limit)
        if len(chosen) < limit:
            skip = max(0, query.offset - row_bits.number_of(known))
            unknown = row_bits.without(which, finite)
            rest = row_bits.rows_of(unknown, self._candidates.rows, skip, limit - len(chosen))
            chosen = np.concatenate([chosen, rest])
            values = np.concatenate([values, np.full(len(rest), np.nan)])
        return chosen, sign * values

    def _in_order(self, query: GridQuery, numbers: ValuesOf, which: Bits, limit: int) -> tuple[Rows, Floats]:
        """Rows in order of a number, from the query's offset on; where the part before was asked for, what lies before that is not looked for again."""
        key = replace(query, offset=0, limit=0)
        marks = self._marks.get(key, {}) if not any(changing(a) for a in (*query.rules, (query.where, True))) else {}
        if query.show.startswith(("label:", "disagree")):
            marks = {}
        rows = self._candidates.rows
        if query.offset in marks:
            found = best(numbers, which, rows, limit, marks[query.offset])
        else:
            found = best_from(numbers, which, rows, query.offset, limit)
        if len(found[0]):
            marks = {**marks, query.offset + len(found[0]): (float(found[1][-1]), int(found[0][-1]))}
            self._marks[key] = marks
            self._marks.move_to_end(key)
            while len(self._marks) > KEPT_ORDERS:
                self._marks.popitem(last=False)
        return found

    def finite(self, name: Any, numbers: ValuesOf) -> Bits:
        """Which candidates have a number, of a name that stands for it."""
        if name not in self._known:
            parts = side_by_side(lambda b: np.isfinite(numbers(b)), self._candidates.blocks)
            self._known[name] = row_bits.of_masks(parts, self._candidates.rows)
            while len(self._known) > KEPT_ORDERS:
                self._known.popitem(last=False)
        return self._known[name]

    def values(self, name: str) -> ValuesOf:
        """A number of the candidates, block by block; nan where it is unknown."""
        about = self._candidates.collection.of_clips
        read = self._candidates.reader([name], about)
        return lambda block: as_floats(read(block)[name], name)
