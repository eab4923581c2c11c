"""What the page shows of a collection: the funnel under moved rules, and rows of the grid in an order.

Everything is plain values that JSON takes. What belongs here: which rows, in which order, and what is said of each. What does not: counting (`funnel.py`),
addresses (`app.py`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.look.candidates import CandidateColumns, Mask
from curation_assets.look.concept_groups import CONCEPT, DISTANCE, by_concept
from curation_assets.look.funnel import BINS, ORDER_TYPE, Asked, Judged, LiveFunnel, as_floats, changing, nearest
from curation_assets.look.labelling import DROP, KEEP, LabelAgreement, best_fit
from curation_assets.look.likeness import Likeness
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


class CollectionView:
    """A collection as the page sees it."""

    def __init__(self, candidates: CandidateColumns, likeness: Likeness) -> None:
        self.candidates, self.funnel, self.likeness = candidates, LiveFunnel(candidates), likeness
        self._before: Judged | None = None
        self._orders: OrderedDict[str, NDArray[ORDER_TYPE]] = OrderedDict()

    @property
    def before(self) -> Judged:
        """The candidates under the rules of the recipe."""
        if self._before is None or any(changing(asked) for asked in self.funnel.declared):
            self._before = self.funnel.judge(self.funnel.declared)
        return self._before

    def collection(self) -> Plain:
        """What the page asks for first: rules with what can be moved in them, and columns to sort by."""
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
            "rules": [self.rule(asked) for asked in self.funnel.declared],
            "numbers": candidates.numbers(),
            "concepts": self._has_concepts(),
            "labelled": [
                d for d in collection.subset.datasets or [collection.recipe.dataset] if candidates.labels.given(d)
            ],
            "bins": BINS,
        }

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
        histograms: list[Plain | None] = []
        for number, (text, about) in enumerate(rules):
            which = self.funnel.others(now, number)
            for movable in template(parse_rule(text)).numbers:
                try:
                    scale = self.funnel.scale(movable.left, about)
                except RuleError:
                    histograms.append(None)
                else:
                    histograms.append({"rule": number, "name": movable.left.name, "alive": scale.counts(which)})
        ms = self.candidates.ms
        came, went = now.alive & ~before.alive, before.alive & ~now.alive
        return {
            "steps": [_step(s) for s in now.steps],
            "before": _step(before.steps[-1]),
            "came": {"rows": int(came.sum()), "ms": int(ms[came].sum())},
            "went": {"rows": int(went.sum()), "ms": int(ms[went].sum())},
            "histograms": histograms,
        }

    def near(self, rules: Sequence[Asked], rule: int, number: int) -> Plain:
        """The candidates nearest to a number of a rule on either side, of those that all other rules let by."""
        now = self.funnel.judge(rules)
        text, about = rules[rule]
        movable = template(parse_rule(text)).numbers[number]
        at = self.funnel.place(movable, about)
        if at is None:
            return {"inside": [], "outside": []}
        values = self.funnel.scale(movable.left, about).values
        holds: Mask = getattr(np, ORDERINGS[movable.op])(values.astype(np.float32), np.float32(at))
        which = self.funnel.others(now, rule)
        sides = {"inside": which & now.masks[rule], "outside": which & ~now.masks[rule] & ~holds}
        found = {side: nearest(values, at, mask, NEAR) for side, mask in sides.items()}
        return {side: self._items(rows, now, rules, values) for side, rows in found.items()}

    def rows(self, query: GridQuery) -> Plain:
        """Rows of the grid, and how many there are in all.

        Raises:
            RuleError: a rule, the filter or what is sorted by cannot be used.
        """
        now = self.funnel.judge(query.rules)
        which = self._shown(query, now)
        if query.where.strip():
            which = which & self.funnel.passes((query.where, self.candidates.collection.of_clips))
        values = self._values(query.sort) if query.sort else None
        order: NDArray[Any]
        if query.like is not None:
            values = self.likeness.to(*query.like)
            order = np.flatnonzero(which & np.isfinite(values))
            order = order[np.argsort(-values[order], kind="stable")]
        elif query.sort:
            order = self._order(query.sort)
            order = order[which[order]]
            if query.down:
                known = int(np.isfinite(values[order]).sum()) if values is not None else 0
                order = np.concatenate([order[:known][::-1], order[known:]])
        else:
            order = np.flatnonzero(which)
        chosen = order[query.offset : query.offset + min(query.limit, MOST)]
        total = {"rows": len(order), "ms": int(self.candidates.ms[order].sum())}
        return {"total": total, "items": self._items(chosen, now, query.rules, values)}

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
        which = self._shown(query, now)
        if query.where.strip():
            which = which & self.funnel.passes((query.where, self.candidates.collection.of_clips))
        values = self._values(CONCEPT)
        groups = by_concept(values, self._values(DISTANCE), now.alive, which)
        for group in groups:
            group["nearest"] = self._items(group["nearest"], now, query.rules, None)
        return {"concepts": groups, "without": int((which & ~np.isfinite(values)).sum())}

    def _has_concepts(self) -> bool:
        """Whether any candidate has one, as far as that can be told without looking at the shards."""
        return CONCEPT in self.candidates.numbers() and bool(np.isfinite(self._values(CONCEPT)).any())

    def _shown(self, query: GridQuery, now: Judged) -> Mask:
        show, before = query.show, self.before
        if show.startswith("rule:") and show[5:].isdecimal() and int(show[5:]) < len(now.masks):
            number = int(show[5:])
            earlier = self.funnel.judge(query.rules[:number]).alive
            return earlier & ~now.masks[number]
        if show.startswith("shard:"):
            same = pc.equal(self.candidates.place["shard"], show[6:])
            return np.asarray(same.to_numpy(), bool)
        if show.startswith("label:"):
            return self.candidates.labelled(show[6:])
        masks = {
            "all": lambda: np.ones(self.candidates.rows, bool),
            "kept": lambda: now.alive,
            "dropped": lambda: ~now.alive,
            "came": lambda: now.alive & ~before.alive,
            "went": lambda: before.alive & ~now.alive,
            "disagree": lambda: self._wanted(KEEP) & ~now.alive | self._wanted(DROP) & now.alive,
            "copies": lambda: self.funnel.passes((f"not {COPIES}", True)),
        }
        if show not in masks:
            raise RuleError(f"there is nothing to show that is called {show!r}; there are {', '.join(SHOWS)}")
        return masks[show]()

    def _wanted(self, label: str) -> Mask:
        return self.candidates.labelled(label)

    def agreement(self, rules: Sequence[Asked]) -> Plain:
        """What rules do with clips that are labelled to be kept or dropped, and for each of their numbers where it would agree with most of them.

        A number is moved alone: it is told for the labelled clips that all other rules, and the rest of its own, let by.
        """
        now, keep, drop = self.funnel.judge(rules), self._wanted(KEEP), self._wanted(DROP)
        candidates = self.candidates
        names = candidates.labels.names(pc.unique(candidates.place["dataset"]).to_pylist())
        fits = []
        for rule, (text, about) in enumerate(rules):
            numbers = template(parse_rule(text)).numbers
            holds = [self._holds(n, about) for n in numbers]
            for number, movable in enumerate(numbers):
                at = self.funnel.place(movable, about)
                which = self.funnel.others(now, rule) & (keep | drop)
                for other, (_, mask) in enumerate(holds):
                    if other != number:
                        which &= mask
                if at is None or not which.any():
                    continue
                values = holds[number][0][which]
                value, agreed = best_fit(values, keep[which], movable.op, at)
                fits.append({"rule": rule, "number": number, "value": value, "agreed": agreed, "of": len(values)})
        return {**LabelAgreement.of(keep, drop, now.alive).told(), "names": names, "fits": fits}

    def _holds(self, number: Movable, about_clip: bool) -> tuple[NDArray[np.float64], Mask]:
        """The values that a number of a rule is compared with, and where that holds."""
        values = self.funnel.scale(number.left, about_clip).values
        at = self.funnel.place(number, about_clip)
        held: Mask = getattr(np, ORDERINGS[number.op])(values, np.nan if at is None else at)
        return values, held

    def _values(self, name: str) -> NDArray[np.float64]:
        return as_floats(self.candidates.column(name, self.candidates.collection.of_clips), name)

    def _order(self, name: str) -> NDArray[ORDER_TYPE]:
        """All candidates by a number, the lowest first and the unknown last."""
        if name not in self._orders:
            self._orders[name] = np.argsort(self._values(name), kind="stable").astype(ORDER_TYPE)
            while len(self._orders) > 8:
                self._orders.popitem(last=False)
        return self._orders[name]

    def _items(
        self, rows: NDArray[Any], now: Judged, rules: Sequence[Asked], values: NDArray[np.float64] | None
    ) -> list[Plain]:
        names = ["dataset", "video_id", "clip_id", "shard", "start_ms", "end_ms"]
        found = self.candidates.place.select(names).take(rows).to_pylist()
        ids = self.candidates.ids.take(rows).to_pylist()
        for row, name, one in zip(rows.tolist(), ids, found, strict=True):
            one |= {"row": row, "id": name, "kept": bool(now.alive[row]), "was": bool(self.before.alive[row])}
            one["why"], one["has"] = (None, {}) if one["kept"] else self._why(row, now, rules)
            one["labels"] = self.candidates.labels.of(one["dataset"], one["clip_id"])
            one["value"] = None if values is None or math.isnan(values[row]) else float(values[row])
        return found

    def _why(self, row: int, now: Judged, rules: Sequence[Asked]) -> tuple[str, Plain]:
        """What drops a candidate first, and what it has in the columns of that rule."""
        for mask, (text, about) in zip(now.masks, rules, strict=True):
            if not mask[row]:
                columns = sorted(parse_rule(text).columns)
                return text, {c: self.candidates.column(c, about)[row].as_py() for c in columns}
        return "excluded by list", {}

    def row_of(self, shard: str, candidate: str) -> int | None:
        """The row of a clip or track by its id; None if it is none of the candidates."""
        same = pc.and_(pc.equal(self.candidates.ids, candidate), pc.equal(self.candidates.place["shard"], shard))
        rows = pc.indices_nonzero(same)
        return int(rows[0].as_py()) if len(rows) else None

    def verdicts(self, row: int, rules: Sequence[Asked]) -> list[Plain]:
        """Each rule with what the candidate has in its columns, and whether it passes."""
        told = []
        for text, about in rules:
            mask = self.funnel.passes((text, about))
            columns = sorted(parse_rule(text).columns)
            values = {c: self.candidates.column(c, about)[row].as_py() for c in columns}
            told.append({"rule": text, "values": values, "passes": bool(mask[row])})
        return told


def _step(step: Any) -> Plain:
    return {"rule": step.rule, "rows": step.rows, "ms": step.ms}
