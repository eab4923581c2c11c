"""What the page shows of a collection: the funnel under moved rules, and rows of the grid in an order.

Everything is plain values that JSON takes. What belongs here: which rows, in which order, and what is said of each. What does not: counting (`funnel.py`),
addresses (`app.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.look import row_bits
from curation_assets.look.best_rows import best
from curation_assets.look.blocks import BLOCK_ROWS
from curation_assets.look.candidates import MS, CandidateColumns
from curation_assets.look.concept_groups import CONCEPT, DISTANCE, by_concept
from curation_assets.look.funnel import Asked, Judged, LiveFunnel, changing
from curation_assets.look.grid_order import GridOrder, GridQuery
from curation_assets.look.labelling import DROP, KEEP, LabelAgreement, best_fit
from curation_assets.look.likeness import Likeness
from curation_assets.look.preparation import Preparation
from curation_assets.look.row_bits import Bits, Rows
from curation_assets.look.scales import BINS, Floats, Scale
from curation_assets.publish.curating.judging import EXCLUDED
from curation_assets.rules.language import ORDERINGS, RuleError, parse_rule
from curation_assets.rules.movable import Movable, as_was, template

Plain = dict[str, Any]
NEAR = 8
"""Pictures on each side of a number that is moved."""
COPIES = "keep"
"""The column by which copies are told."""
SHOWS = ("all", "kept", "dropped", "came", "went", "copies", "disagree")
"""What the grid may show, besides `rule:N`, what the N-th rule drops first, `label:NAME`, what has a label, and `shard:KEY`, what is of a shard."""
MOST = 500
"""Rows of one answer."""
QUICK_S, SMALL_S = 0.2, 2.0
"""An answer waits so long for what is being prepared, rather than come without: of many candidates, and of those that are one block."""


class CollectionView:
    """A collection as the page sees it.

    Args:
        candidates: its rows.
        likeness: what compares them.
    """

    def __init__(self, candidates: CandidateColumns, likeness: Likeness) -> None:
        self.candidates, self.funnel, self.likeness = candidates, LiveFunnel(candidates), likeness
        self.preparation = Preparation()
        self._before: Judged | None = None
        self._counted: tuple[Judged, tuple[int, int]] | None = None
        self.order = GridOrder(candidates, likeness)

    @property
    def before(self) -> Judged:
        """The candidates under the rules of the recipe."""
        if self._before is None or any(changing(asked) for asked in self.funnel.declared):
            self._before = self.funnel.judge(self.funnel.declared)
        return self._before

    def prepare(self) -> None:
        """Begins to make what the page asks for first: the columns of the rules, what they let by and their histograms, then ids and places. The grid can be seen meanwhile."""
        of_clips = self.candidates.collection.of_clips
        places = [(name, of_clips) for name in self.candidates.place]

        def first() -> None:
            with suppress(RuleError):  # it is said where the rule is asked for
                rules = [(parse_rule(text), about) for text, about in self.funnel.declared]
                own = [(n, about) for rule, about in rules for n in rule.columns]
                small = places if self.candidates.rows <= BLOCK_ROWS else []
                self.candidates.make([*own, (MS, of_clips), *small])
                for asked in self.funnel.declared:
                    self.rule(asked)
                self.funnel.judge(self.funnel.declared)

        self.preparation.begin(first, lambda: self.candidates.make(places))

    def collection(self) -> Plain:
        """What the page asks for first: rules with what can be moved in them, and columns to sort by; `ready` is false, and there are no rules, until they are prepared."""
        ready = self._is_ready()
        candidates, collection = self.candidates, self.candidates.collection
        return {
            "key": collection.key,
            "version": candidates.version,
            "of": collection.subset.of,
            "dataset": collection.recipe.dataset,
            "subset": collection.key.partition("-")[2],
            "recipe": collection.recipe.declared_in.removeprefix("file://"),
            "judged": candidates.judged,
            "stale": candidates.stale,
            "criterion": collection.subset.select.criterion,
            "rows": candidates.rows,
            "ready": ready,
            "rules": [self.rule(asked) for asked in self.funnel.declared] if ready else [],
            "numbers": candidates.numbers(),
            "concepts": self._has_concepts(),
            "labelled": [d for d in collection.datasets if candidates.labels.given(d)],
            "bins": BINS,
        }

    def _is_ready(self) -> bool:
        return self.preparation.ready(SMALL_S if self.candidates.rows <= BLOCK_ROWS else QUICK_S)

    def standing(self) -> Plain:
        """How far it is prepared, and whether the table is what it would be now: null as long as that is being found out."""
        ready = self._is_ready()
        done, total, unit = self.preparation.progress
        return {"ready": ready, "stale": self.candidates.stale, "done": done, "total": total, "unit": unit}

    def rule(self, asked: Asked) -> Plain:
        """A rule as a template, and where its numbers lie on their scales."""
        text, about = asked
        found = template(parse_rule(text))
        for number in found.numbers:  # two of one measure share a scale, which has both
            with suppress(RuleError):
                self.funnel.scale(number.left, about, self.funnel.place(number, about))
        numbers = []
        for number in found.numbers:
            told: Plain = {"name": number.left.name, "op": number.op, "written": as_was(number), "value": None}
            try:
                at = self.funnel.place(number, about)
                scale = self.funnel.scale(number.left, about, at)
            except RuleError:
                numbers.append(told)
                continue
            told |= {"value": at, "low": scale.low, "high": scale.high, "all": scale.counts()}
            numbers.append(told)
        return {"text": text, "about_clip": about, "parts": found.parts, "numbers": numbers}

    def judge(self, rules: Sequence[Asked]) -> Plain:
        """The funnel under other rules beside that of the recipe, and the histograms of what only one rule decides.

        Raises:
            RuleError: a rule cannot be read, or names a column that no table has.
        """
        now, before = self.funnel.judge(rules), self.before
        drawn: list[tuple[int, str, int | None]] = []
        scales: dict[tuple[int, str], tuple[int, Scale]] = {}
        for number, (text, about) in enumerate(rules):
            for movable in template(parse_rule(text)).numbers:
                key = number, movable.left.name  # two numbers of one measure have one histogram
                if key not in scales:
                    try:
                        scales[key] = number, self.funnel.scale(movable.left, about)
                    except RuleError:
                        drawn.append((number, key[1], None))
                        continue
                drawn.append((number, key[1], list(scales).index(key)))
        found = self.funnel.tally(rules, now, before, list(scales.values()))
        return {
            "steps": [_step(s) for s in found.steps],
            "before": dict(zip(("rows", "ms"), self._total(before), strict=True)),
            "came": dict(zip(("rows", "ms"), found.came, strict=True)),
            "went": dict(zip(("rows", "ms"), found.went, strict=True)),
            "histograms": [
                None if at is None else {"rule": rule, "name": name, "alive": found.histograms[at]}
                for rule, name, at in drawn
            ],
        }

    def _total(self, judged: Judged) -> tuple[int, int]:
        """(rows, milliseconds) of what passes the rules of the recipe, counted once."""
        if self._counted is None or self._counted[0] is not judged:
            self._counted = judged, self.funnel.total(judged.alive)
        return self._counted[1]

    def near(self, rules: Sequence[Asked], rule: int, number: int) -> Plain:
        """The candidates nearest to a number of a rule on either side, of those that all other rules let by."""
        now, rows = self.funnel.judge(rules), self.candidates.rows
        text, about = rules[rule]
        movable = template(parse_rule(text)).numbers[number]
        at = self.funnel.place(movable, about)
        if at is None:
            return {"inside": [], "outside": []}
        values, which = self.funnel.values(movable.left, about), now.others(rule)
        holds = getattr(np, ORDERINGS[movable.op])

        def away(block: int) -> Floats:
            return np.abs(values(block) - at)

        def away_outside(block: int) -> Floats:
            own = values(block)
            return np.where(holds(own.astype(np.float32), np.float32(at)), np.nan, np.abs(own - at))

        inside, _ = best(away, which & now.masks[rule], rows, NEAR)
        outside, _ = best(away_outside, row_bits.without(which, now.masks[rule]), rows, NEAR)
        return {
            side: self._items(found, now, rules, self.funnel.values_at(movable.left, about, found))
            for side, found in (("inside", inside), ("outside", outside))
        }

    def rows(self, query: GridQuery) -> Plain:
        """Rows of the grid, and how many there are in all. Before all is prepared, the first look at them is had from the table as it was judged.

        Raises:
            RuleError: a rule, the filter or what is sorted by cannot be used.
        """
        plain = GridQuery(
            (), down=query.down, offset=query.offset, limit=query.limit
        )  # without a number to sort by, ids have one order
        if query == plain and not self.preparation.ready(0):
            return self._as_judged(query)
        self.preparation.ready(None)
        now = self.funnel.judge(query.rules)
        which = self._which(query, now)
        values: Floats | None = None
        limit = min(query.limit, MOST)
        if query.like is not None:
            chosen, values, which = self.order.by_likeness(query, query.like, which, limit)
        elif query.sort:
            chosen, values = self.order.by_number(query, which, limit)
        else:
            chosen = row_bits.rows_of(which, self.candidates.rows, query.offset, limit)
        rows, ms = self.funnel.total(which)
        return {"total": {"rows": rows, "ms": ms}, "items": self._items(chosen, now, query.rules, values)}

    def _which(self, query: GridQuery, now: Judged) -> Bits:
        which = self._shown(query, now)
        if query.where.strip():
            which = which & self.funnel.passes((query.where, self.candidates.collection.of_clips))
        return which

    def _as_judged(self, query: GridQuery) -> Plain:
        """Rows of the grid as the table has them, with its verdicts under the rules; of what was never judged, without."""
        candidates = self.candidates
        rows = np.arange(query.offset, min(candidates.rows, query.offset + min(query.limit, MOST)))
        reasons: list[str | None] = [None] * len(rows)
        if candidates.judged:
            reasons = candidates.from_groups(["drop_reason"], rows)["drop_reason"].to_pylist()
        by_rules = {EXCLUDED, *(text for text, _ in self.funnel.declared)}  # else it was the criterion
        found = self._placed(rows)
        for one, reason in zip(found, reasons, strict=True):
            kept = reason not in by_rules if candidates.judged else None
            one |= {"kept": kept, "was": kept, "why": None if kept else reason, "has": {}, "value": None}
        return {"total": {"rows": candidates.rows, "ms": None}, "items": found}

    def concepts(self, query: GridQuery) -> Plain:
        """What the grid shows, by concept.

        Raises:
            RuleError: as `rows`; or the clips have no concepts.
        """
        if not self._has_concepts():
            raise RuleError(
                "the clips have no concepts; `concepts: {}` in the recipe asks for them, and a run makes them"
            )
        now = self.funnel.judge(query.rules)
        which = self._which(query, now)
        concepts = self.order.values(CONCEPT)
        groups = by_concept(concepts, self.order.values(DISTANCE), now.alive, which, self.candidates.rows)
        for group in groups:
            group["nearest"] = self._items(group["nearest"], now, query.rules, None)
        without = row_bits.without(which, self.order.finite(CONCEPT, concepts))
        return {"concepts": groups, "without": row_bits.number_of(without)}

    def _has_concepts(self) -> bool:
        """Whether any candidate has one, as far as that can be told without looking at the shards."""
        return self.candidates.filled(CONCEPT)

    def _shown(self, query: GridQuery, now: Judged) -> Bits:
        show, candidates = query.show, self.candidates
        if show.startswith("rule:") and show[5:].isdecimal() and int(show[5:]) < len(now.masks):
            number = int(show[5:])
            earlier = self.funnel.judge(query.rules[:number]).alive
            return row_bits.without(earlier, now.masks[number])
        if show.startswith("shard:"):
            return candidates.lookup.of_shard(show[6:])
        if show.startswith("label:"):
            return candidates.lookup.labelled(show[6:])
        every = row_bits.everything(candidates.rows)
        sets = {
            "all": lambda: every,
            "kept": lambda: now.alive,
            "dropped": lambda: row_bits.without(every, now.alive),
            "came": lambda: row_bits.without(now.alive, self.before.alive),
            "went": lambda: row_bits.without(self.before.alive, now.alive),
            "disagree": lambda: (
                row_bits.without(candidates.lookup.labelled(KEEP), now.alive)
                | candidates.lookup.labelled(DROP) & now.alive
            ),
            "copies": lambda: self.funnel.passes((f"not {COPIES}", True)),
        }
        if show not in sets:
            raise RuleError(f"there is nothing to show that is called {show!r}; there are {', '.join(SHOWS)}")
        return sets[show]()

    def agreement(self, rules: Sequence[Asked]) -> Plain:
        """What rules do with clips that are labelled to be kept or dropped, and for each of their numbers where it would agree with most of them.

        A number is moved alone: it is told for the labelled clips that all other rules, and the rest of its own, let by.
        """
        candidates, now = self.candidates, self.funnel.judge(rules)
        keep, drop = candidates.lookup.rows_labelled(KEEP), candidates.lookup.rows_labelled(DROP)
        labelled = np.union1d(keep, drop)
        wanted = np.isin(labelled, keep)
        fits = []
        for rule, (text, about) in enumerate(rules if len(labelled) else ()):
            numbers = template(parse_rule(text)).numbers
            let_by = row_bits.at(now.others(rule), labelled)
            holds = [self._holds(n, about, labelled) for n in numbers]
            for number, movable in enumerate(numbers):
                at = self.funnel.place(movable, about)
                which = let_by.copy()
                for other, (_, mask) in enumerate(holds):
                    if other != number:
                        which &= mask
                if at is None or not which.any():
                    continue
                values = holds[number][0][which]
                value, agreed = best_fit(values, wanted[which], movable.op, at)
                fits.append({"rule": rule, "number": number, "value": value, "agreed": agreed, "of": len(values)})
        kept = [int(row_bits.at(now.alive, rows).sum()) for rows in (keep, drop)]
        told = LabelAgreement(len(keep), len(drop), kept[0], kept[1]).told()
        return {**told, "names": candidates.labels.names(candidates.collection.datasets), "fits": fits}

    def _holds(self, number: Movable, about_clip: bool, rows: Rows) -> tuple[Floats, NDArray[np.bool_]]:
        """The values that a number of a rule is compared with, at some rows, and where that holds."""
        values = self.funnel.values_at(number.left, about_clip, rows)
        at = self.funnel.place(number, about_clip)
        held: NDArray[np.bool_] = getattr(np, ORDERINGS[number.op])(values, np.nan if at is None else at)
        return values, held

    def _placed(self, rows: Rows) -> list[Plain]:
        """Ids, place and labels of some rows."""
        candidates = self.candidates
        found: list[Plain] = candidates.places(rows).to_pylist()
        for row, one in zip(rows.tolist(), found, strict=True):
            one |= {"row": row, "id": one[candidates.id]}
            one["labels"] = candidates.labels.of(one["dataset"], one["clip_id"])
        candidates.lookup.shown(rows, [(one["dataset"], one["clip_id"]) for one in found])
        return found

    def _items(self, rows: Rows, now: Judged, rules: Sequence[Asked], values: Floats | None) -> list[Plain]:
        """What is said of some rows; `values`, float64, is what they were sorted by."""
        found = self._placed(rows)
        kept, was = row_bits.at(now.alive, rows), row_bits.at(self.before.alive, rows)
        for at, one in enumerate(found):
            why = None if kept[at] else EXCLUDED
            one |= {"kept": bool(kept[at]), "was": bool(was[at]), "why": why, "has": {}}
            one["value"] = None if values is None or math.isnan(values[at]) else float(values[at])
        dropped = ~kept & row_bits.at(now.free, rows)
        for (text, about), mask in zip(rules, now.masks, strict=True):  # what drops each first, and what it has there
            own = np.flatnonzero(dropped & ~row_bits.at(mask, rows))
            dropped[own] = False
            columns = {c: self.candidates.at(c, about, rows[own]).to_pylist() for c in sorted(parse_rule(text).columns)}
            for place, at in enumerate(own.tolist()):
                found[at] |= {"why": text, "has": {c: values_[place] for c, values_ in columns.items()}}
        return found

    def row_of(self, shard: str, candidate: str) -> int | None:
        """The row of a clip or track by its id; None if it is none of the candidates."""
        return self.candidates.lookup.row_of(shard, candidate)

    def verdicts(self, row: int, rules: Sequence[Asked]) -> list[Plain]:
        """Each rule with what the candidate has in its columns, and whether it passes."""
        told, at = [], np.array([row])
        for text, about in rules:
            mask = self.funnel.passes((text, about))
            columns = sorted(parse_rule(text).columns)
            values = {c: self.candidates.at(c, about, at)[0].as_py() for c in columns}
            told.append({"rule": text, "values": values, "passes": row_bits.has(mask, row)})
        return told


def _step(step: Any) -> Plain:
    return {"rule": step.rule, "rows": step.rows, "ms": step.ms}
