"""How the tables of all shards stand, a byte for each: what `staleness` says of one table, worked out for an asset at a time.

A table that is fresh needs no more than that byte. Of one that is not, `Graph` says the same and why. What belongs here: telling the states of many
tables apart. What does not: what makes a table stale (`staleness.py`), which this must agree with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation_assets.engine.head_columns import Texts, Words, texts
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.registry import INDEX
from curation_assets.schemas import SCHEMAS

if TYPE_CHECKING:
    from curation_assets.engine.staleness import Graph, MadeOf, State

Codes = NDArray[np.uint8]
STATES = ("fresh", "stale", "missing", "waiting", "retry")
FRESH, STALE, MISSING, WAITING, RETRY, NOT_WANTED = range(6)
"""Their places among `STATES`; the last is what no recipe asks for."""
SETTLED = (FRESH, RETRY)


class Fingerprints:
    """Fingerprints of what tables would be made from now; of those whose inputs are as they were they are not worked out again."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[str, list[Texts], Texts]] = {}

    def of(self, made_of: MadeOf, hashes: Mapping[str, Texts], shards: int) -> Texts:
        """The fingerprints of an asset's tables.

        Args:
            made_of: what is common to all of them.
            hashes: input -> content hash for each table, in the order in which the inputs are asked for.
            shards: how many tables there are.
        """
        columns, key, way = list(hashes.values()), (made_of.recipe.dataset, made_of.part.asset), made_of.way.fingerprint
        known = self._known.get(key)
        if known is not None and known[0] == way and len(known[1]) == len(columns) and len(known[2]) == shards:
            found, changed = known[2], np.zeros(shards, bool)
            for before, now in zip(known[1], columns, strict=True):
                changed |= before is not now and before != now
            todo = np.flatnonzero(changed)
        else:
            found, todo = np.zeros(shards, "S32"), np.arange(shards)
        if todo.size:
            found = found.copy()
            if columns:
                found[todo] = texts(made_of.way.fingerprints({n: c[todo].tolist() for n, c in hashes.items()}))
            else:
                found[todo] = way
        self._known[key] = way, columns, found
        return found


class Standing:
    """How all tables stand.

    Args:
        graph: of which.

    Attributes:
        whole: (asset, subset or None) -> state of tables that are not by shard.
        codes: sharded asset -> a code for each shard of the graph.
        made_of: (dataset, sharded asset) -> what its tables would be made from.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.whole: dict[tuple[str, str | None], State] = {}
        self.codes: dict[str, Codes] = {}
        self.made_of: dict[tuple[str, str], MadeOf] = {}
        self._waits: dict[str, NDArray[np.bool_]] = {}
        self._now: dict[tuple[str, str], Texts] = {}
        self._places = {k: i for i, k in enumerate(graph.shards)}

    def waits_for(self, asset: str, key: str | None) -> bool:
        """Whether what is made from a table waits for it."""
        return self.code(asset, key) not in SETTLED

    def states(self, asset: str) -> Iterator[State]:
        """How the tables of an asset stand, in order of shards or subsets."""
        if asset in self.codes:
            for at in np.flatnonzero(self.codes[asset] != NOT_WANTED).tolist():
                yield self.at(asset, at)
        else:
            yield from (s for (a, _), s in self.whole.items() if a == asset)

    def all_behind(self) -> Iterator[State]:
        """The states of all tables that are not fresh, in graph order."""
        for asset in SCHEMAS:
            if asset in self.codes:
                yield from self.behind(asset)
            else:
                yield from (s for s in self.states(asset) if s.state != STATES[FRESH])

    def code(self, asset: str, key: str | None) -> int:
        """The code of a table; `FRESH` for one that nobody asks for, which nothing waits for."""
        if asset in self.codes:
            at = self._places.get(key or "")
            found = FRESH if at is None else int(self.codes[asset][at])
            return FRESH if found == NOT_WANTED else found
        state = self.whole.get((asset, key))
        return FRESH if state is None else STATES.index(state.state)

    def get(self, asset: str, key: str | None) -> State | None:
        """How a table stands; None if no recipe asks for it."""
        if asset not in self.codes:
            return self.whole.get((asset, key))
        at = self._places.get(key or "")
        return None if at is None or self.codes[asset][at] == NOT_WANTED else self.at(asset, at)

    def at(self, asset: str, at: int) -> State:
        """How the table of a sharded asset stands whose shard is at a place."""
        from curation_assets.engine import staleness

        key = self.graph.shards[at]
        dataset = dataset_of(key)
        if self.codes[asset][at] != FRESH:
            return self.graph.sharded(self.made_of[dataset, asset], key, self)
        now = self._now[dataset, asset][at - self.graph.spans[dataset].start]
        return staleness.State(asset, key, staleness.FRESH, (), now.decode())

    def behind(self, asset: str) -> Iterator[State]:
        """The states of a sharded asset that are not fresh, in order of shards."""
        codes = self.codes[asset]
        for at in np.flatnonzero((codes != FRESH) & (codes != NOT_WANTED)).tolist():
            yield self.at(asset, at)

    def shards_behind(self, apart: NDArray[np.integer]) -> Iterator[tuple[list[str], list[State]]]:
        """Shards of which a table is not fresh, those together whose tables stand alike: which shards, in order, and the states of those tables of the
        first of them, in graph order. In the others no more than the shard's name and the fingerprints differ.

        Args:
            apart: of each shard of the graph; those with different numbers are not put together.
        """
        if not self.codes:
            return
        known = {a: self._now_of(a) != b"" for a in self.codes}
        numbers = [apart, *(self.codes[a] * 2 + known[a] for a in self.codes)]
        datasets = np.zeros(len(self.graph.shards), np.int64)
        for number, span in enumerate(self.graph.spans.values()):
            datasets[span] = number
        behind = {a: (c != FRESH) & (c != NOT_WANTED) for a, c in self.codes.items()}
        places = np.flatnonzero(np.any(list(behind.values()), axis=0))
        for group in _alike([n[places] for n in (datasets, *numbers)]):
            own = places[group]
            first = int(own[0])
            states = [self.at(a, first) for a, which in behind.items() if which[first]]
            yield [self.graph.shards[at] for at in own.tolist()], states

    def fingerprint(self, asset: str, key: str | None) -> str:
        """Of what a table would be made from now; empty if an input does not exist."""
        if asset not in self.codes:
            state = self.whole.get((asset, key))
            return state.fingerprint if state is not None else ""
        dataset = dataset_of(key or "")
        now = self._now.get((dataset, asset))
        return "" if now is None else str(now[self._places[key or ""] - self.graph.spans[dataset].start].decode())

    def _now_of(self, asset: str) -> Texts:
        """The fingerprint of each shard's table."""
        found = np.zeros(len(self.graph.shards), "S32")
        for dataset, span in self.graph.spans.items():
            if (dataset, asset) in self._now:
                found[span] = self._now[dataset, asset]
        return found

    def lacking(self, asset: str, dataset: str) -> Iterator[tuple[str, NDArray[np.int64]]]:
        """What stands between a dataset's tables of a sharded asset and what is made of them: states that are not fresh, and where in the order of shards
        the tables are that have them. A table that waits for another one is not named besides that one."""
        span = self.graph.spans.get(dataset, slice(0))
        for code in (STALE, MISSING, WAITING, RETRY):
            which = self.codes[asset][span] == code
            if code == WAITING:
                which &= ~self._waits[asset][span]
            if which.any():
                yield STATES[code], np.flatnonzero(which) + (span.start or 0)

    def counts(self, asset: str, dataset: str | None = None) -> Counter[str]:
        """State -> how many tables of an asset; of a sharded one, those of a dataset if one is given."""
        if asset not in self.codes:
            return Counter(s.state for (a, _), s in self.whole.items() if a == asset)
        span = slice(None) if dataset is None else self.graph.spans.get(dataset, slice(0))
        numbers = np.bincount(self.codes[asset][span], minlength=NOT_WANTED + 1)
        return Counter({name: int(numbers[code]) for code, name in enumerate(STATES) if numbers[code]})

    def look(self, asset: str) -> None:
        """Works out the codes of a sharded asset; those of what it is made from are known."""
        codes = np.full(len(self.graph.shards), NOT_WANTED, np.uint8)
        self._waits[asset] = np.zeros(len(codes), bool)
        for dataset, span in self.graph.spans.items():
            if self.graph.wanted(dataset, asset):
                made_of = self.made_of[dataset, asset] = self.graph.made_of(dataset, asset)
                codes[span] = self._of(made_of, span)
        self.codes[asset] = codes

    def _of(self, made_of: MadeOf, span: slice) -> Codes:
        graph, asset = self.graph, made_of.part.asset
        shards = graph.shards[span]
        behind = np.zeros(len(shards), bool)
        for name in made_of.needed:
            codes = self.codes[name][span]
            behind |= ~np.isin(codes, (*SETTLED, NOT_WANTED))
        if any(self.waits_for(a, None) for a in made_of.part.slices if a != INDEX):
            behind[:] = True
        hashes, there = self._hashes(made_of, shards)
        own = graph.heads.columns(asset)
        places = own.places(shards)
        made = places >= 0
        if isinstance(made_of.weights, str):
            self._waits[asset][span] = behind & ~there
            return np.where(there | made, WAITING, MISSING).astype(np.uint8)
        self._waits[asset][span] = behind
        now = graph.heads.fingerprints.of(made_of, hashes, len(shards))
        if not there.all():
            now = np.where(there, now, b"")
        self._now[made_of.recipe.dataset, asset] = now
        same = made & there
        same[same] = own.fingerprints[places[same]] == now[same]
        codes = np.where(made, np.where(there, STALE, WAITING), MISSING).astype(np.uint8)
        codes[same] = np.where(behind[same], WAITING, FRESH)
        if graph.looks_closer(asset):
            fresh = np.flatnonzero(codes == FRESH)
            codes[fresh[self._lost(own.media, places[fresh])]] = STALE
            codes[fresh[self._again(asset, own.stats, places[fresh], [shards[i] for i in fresh.tolist()])]] = RETRY
        return codes

    def _again(self, asset: str, stats: Words, places: NDArray[np.int64], shards: Sequence[str]) -> NDArray[np.bool_]:
        """Which of some tables have failures that may pass. Most have the same stats, and each that there are is asked for once."""
        used, which = np.unique(stats.numbers[places], return_inverse=True)
        one = dict(zip(which.tolist(), shards, strict=True))
        texts_of = [stats.each[n] for n in used.tolist()]
        again = np.array([bool(t) and self.graph.again(asset, one[n], t) for n, t in enumerate(texts_of)], bool)
        found = again[which] if len(used) else np.zeros(0, bool)
        by_shard = np.array([self.graph.of_its_shard(t) for t in texts_of], bool)
        for at in np.flatnonzero(by_shard[which]).tolist() if by_shard.any() else ():
            found[at] = self.graph.again(asset, shards[at], texts_of[which[at]])
        return found

    def _lost(self, media: Words, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Of which of some tables tars are gone or cut short."""
        if not self.graph.media or not any(media.each):
            return np.zeros(len(places), bool)
        return np.array([bool(self.graph.lost(media.each[n])) for n in media.numbers[places].tolist()], bool)

    def _hashes(self, made_of: MadeOf, shards: list[str]) -> tuple[dict[str, Texts], NDArray[np.bool_]]:
        """The content hash of each input for each shard, and of which shards all inputs exist."""
        there, found = np.ones(len(shards), bool), dict[str, Texts]()
        for name in made_of.needed:
            columns = self.graph.heads.columns(name)
            if columns.names == shards:  # as a rule; then nothing is copied
                found[name] = columns.contents
                continue
            places = columns.places(shards)
            there &= places >= 0
            found[name] = columns.contents[places] if len(columns) else np.zeros(len(shards), "S1")
        for name, known in made_of.slices.items():
            empty = made_of.empty[name]
            found[name] = texts([known.get(s) or empty for s in shards])
        return found, there


def _alike(columns: Sequence[NDArray[np.integer]]) -> list[NDArray[np.int64]]:
    """The rows that are equal in all columns, together, in order of the first of each group."""
    rows = np.stack([c.astype(np.int64) for c in columns], axis=1)
    if not len(rows):
        return []
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    _, number = np.unique(whole, return_inverse=True)
    order = np.argsort(number, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(number[order])) + 1)
    return sorted(groups, key=lambda g: int(g[0]))
