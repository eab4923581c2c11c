"""How the tables of all shards stand, a byte for each: what `staleness` says of one table, worked out for an asset at a time.

A table that is fresh needs no more than that byte. Of one that is not, `Graph` says the same and why. What belongs here: telling the states of many
tables apart. What does not: what makes a table stale (`staleness.py`), which this must agree with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from curation_assets.engine.head_columns import Texts, texts
from curation_assets.engine.shard_keys import parse_shard_key
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
        self._known: dict[tuple[str, str], tuple[str, Texts, Texts]] = {}

    def of(self, made_of: MadeOf, hashes: Mapping[str, Texts]) -> Texts:
        """The fingerprints of an asset's tables.

        Args:
            made_of: what is common to all of them.
            hashes: input -> content hash for each table, in the order in which the inputs are asked for.
        """
        columns = list(hashes.values())
        rows = np.stack([c.astype("S64") for c in columns], axis=1) if columns else np.empty((0, 0), "S64")
        key, way = (made_of.recipe.dataset, made_of.part.asset), made_of.way.fingerprint
        known = self._known.get(key)
        if known is not None and known[0] == way and known[1].shape == rows.shape:
            found = known[2].copy()
            todo = np.flatnonzero((known[1] != rows).any(axis=1))
        else:
            found, todo = np.zeros(len(rows), "S32"), np.arange(len(rows))
        names, fingerprint = list(hashes), made_of.fingerprint
        for at in todo.tolist():
            found[at] = fingerprint(dict(zip(names, (v.decode() for v in rows[at]), strict=True)))
        self._known[key] = way, rows, found
        return found


class Standing:
    """How all tables stand.

    Args:
        graph: of which.

    Attributes:
        whole: (asset, subset or None) -> state of tables that are not by shard.
        codes: sharded asset -> a code for each shard of the graph.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.whole: dict[tuple[str, str | None], State] = {}
        self.codes: dict[str, Codes] = {}
        self.made_of: dict[tuple[str, str], MadeOf] = {}
        self._now: dict[tuple[str, str], Texts] = {}
        self._places = {k: i for i, k in enumerate(graph.shards)}

    def waits_for(self, asset: str, key: str | None) -> bool:
        """Whether what is made from a table waits for it."""
        return self.code(asset, key) not in SETTLED

    def states(self, asset: str) -> Iterator[State]:
        """How the tables of an asset stand, in order of shards or subsets."""
        if asset in self.codes:
            for at in np.flatnonzero(self.codes[asset] != NOT_WANTED).tolist():
                yield self._state(asset, at)
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
        return None if at is None or self.codes[asset][at] == NOT_WANTED else self._state(asset, at)

    def _state(self, asset: str, at: int) -> State:
        from curation_assets.engine import staleness

        key = self.graph.shards[at]
        dataset = parse_shard_key(key)[0]
        if self.codes[asset][at] != FRESH:
            return self.graph.sharded(self.made_of[dataset, asset], key, self)
        now = self._now[dataset, asset][at - self.graph.spans[dataset].start]
        return staleness.State(asset, key, staleness.FRESH, (), now.decode())

    def behind(self, asset: str, dataset: str | None = None) -> Iterator[State]:
        """The states of a sharded asset that are not fresh, in order of shards."""
        codes = self.codes[asset]
        span = slice(None) if dataset is None else self.graph.spans.get(dataset, slice(0))
        for at in np.flatnonzero((codes[span] != FRESH) & (codes[span] != NOT_WANTED)).tolist():
            yield self._state(asset, at + (span.start or 0))

    def shards_behind(self) -> Iterator[tuple[str, list[State]]]:
        """Each shard of which a table is not fresh, in order, and the states of those tables, in graph order."""
        if not self.codes:
            return
        behind = {a: (c != FRESH) & (c != NOT_WANTED) for a, c in self.codes.items()}
        for at in np.flatnonzero(np.any(list(behind.values()), axis=0)).tolist():
            yield self.graph.shards[at], [self._state(a, at) for a, which in behind.items() if which[at]]

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
            return np.where(there | made, WAITING, MISSING).astype(np.uint8)
        now = graph.heads.fingerprints.of(made_of, hashes)
        self._now[made_of.recipe.dataset, asset] = now
        same = made & there
        same[same] = own.fingerprints[places[same]] == now[same]
        codes = np.where(made, np.where(there, STALE, WAITING), MISSING).astype(np.uint8)
        codes[same] = np.where(behind[same], WAITING, FRESH)
        for at in np.flatnonzero(codes == FRESH).tolist() if graph.looks_closer(asset) else ():
            place = int(places[at])
            if own.stats[place] and graph.again(asset, shards[at], own.stats[place]):
                codes[at] = RETRY
            elif graph.lost(own.media[place]):
                codes[at] = STALE
        return codes

    def _hashes(self, made_of: MadeOf, shards: list[str]) -> tuple[dict[str, Texts], NDArray[np.bool_]]:
        """The content hash of each input for each shard, and of which shards all inputs exist."""
        there, found = np.ones(len(shards), bool), dict[str, Texts]()
        for name in made_of.needed:
            columns = self.graph.heads.columns(name)
            places = columns.places(shards)
            there &= places >= 0
            found[name] = columns.contents[places] if len(columns) else np.zeros(len(shards), "S1")
        for name, known in made_of.slices.items():
            empty = made_of.empty[name]
            found[name] = texts([known.get(s) or empty for s in shards])
        return found, there
