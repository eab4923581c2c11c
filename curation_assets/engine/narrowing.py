"""What of a plan's steps is left when the tables that are up to date are taken out, so that a run with nothing to do makes nothing and opens no table.

A table is taken out if it is fresh, nothing that it is made from is made again in the same step, nothing lies beside it that an earlier run has left, and
whoever keeps events knows it as it is; that of a subset, if all that it uses is complete too. What belongs here: what is left of steps. What does not: how a
table stands (`standing.py`), what a maker looks after beside a table over all shards (`Maker.rests`), and what is known of events (`orchestration/`).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from curation_assets.engine.completeness import gaps
from curation_assets.engine.head_columns import strings
from curation_assets.engine.made_of import SHARDED
from curation_assets.engine.maker import Key, Maker
from curation_assets.engine.plan import BY_SHARD, PlanStep
from curation_assets.engine.staleness import Graph
from curation_assets.engine.standing import FRESH, STATES
from curation_assets.rules.columns import inputs_of
from curation_assets.schemas import schema
from curation_resources.storage import Storage
from curation_resources.table_headers import SHEET_FILE

Reported = Callable[[str], Mapping[str, str]]
"""Asset -> partition -> content hash of its table as the latest event has it; the partition is empty where there is but one table."""


class Narrowing:
    """Takes tables that are up to date now out of steps.

    Args:
        graph: the tables, after a look, with `media`.
        reported: what is known of events.

    Attributes:
        unchanged: asset -> tables that were taken out.
    """

    def __init__(self, graph: Graph, reported: Reported) -> None:
        self._graph, self._reported = graph, reported
        self._standing = graph.look()
        self._places = {k: i for i, k in enumerate(graph.shards)}
        self._todo: dict[str, NDArray[np.bool_]] = {}
        self.unchanged: Counter[str] = Counter()

    def left(self, step: PlanStep, makers: Mapping[str, Maker]) -> PlanStep | None:
        """What is left of a step; None if nothing is."""
        return self._of_shards(step) if step.phase in BY_SHARD else self._over_shards(step, makers)

    def _over_shards(self, step: PlanStep, makers: Mapping[str, Maker]) -> PlanStep | None:
        """What is left of a step over all shards, or of a subset: its assets from the first of which something is to be done."""
        (key,) = step.keys or (None,)
        rest = [asset for asset in step.assets if self._rests(asset, key, makers[asset])]
        first = next((n for n, asset in enumerate(step.assets) if asset not in rest), len(step.assets))
        self.unchanged.update(step.assets[:first])
        return replace(step, assets=step.assets[first:]) if first < len(step.assets) else None

    def _rests(self, asset: str, key: Key, maker: Maker) -> bool:
        """Whether nothing is to be done for a table that is not by shard."""
        state, graph = self._standing.get(asset, key), self._graph
        if state is None or state.state != STATES[FRESH]:
            return False
        header = graph.store.header(asset, key)
        if header is None or self._reported(asset).get(key or "") != header.content_hash:
            return False
        if key is not None and gaps(graph, self._standing, key, asset):
            return False
        return maker.rests(graph.store, graph.recipes, key)

    def _of_shards(self, step: PlanStep) -> PlanStep | None:
        """What is left of a step over shards: assets and shards of which something is to be done, the latter from the first to the last; None if nothing
        is."""
        places = np.array([self._places.get(k, -1) for k in step.keys])
        todo: dict[str, NDArray[np.bool_]] = {}
        for asset in step.assets:  # what others are made from comes before them
            todo[asset] = np.where(places >= 0, self._of(asset)[places], True)
            for parent in self._made_from(asset) & todo.keys():  # which is fresh only until that is made again
                todo[asset] |= todo[parent]
        assets = tuple(a for a in step.assets if todo[a].any())
        which = np.flatnonzero(np.any(list(todo.values()), axis=0))
        keys = step.keys[int(which[0]) : int(which[-1]) + 1] if which.size else ()
        out = {a: len(step.keys) - (len(keys) if a in assets else 0) for a in step.assets}
        self.unchanged.update({a: n for a, n in out.items() if n})
        return replace(step, assets=assets, keys=keys) if keys else None

    def _made_from(self, asset: str) -> set[str]:
        """The sharded assets that a table of an asset may be made from."""
        part = SHARDED[asset]
        return {*part.inputs, *(t for r in self._graph.recipes.values() for t in inputs_of(part, r))} - {asset}

    def _of(self, asset: str) -> NDArray[np.bool_]:
        """Of which shards something is to be done for an asset; one more at the end, so that there always is one."""
        if asset not in self._todo:
            graph = self._graph
            todo = self._standing.codes[asset] != FRESH
            heads = graph.heads.columns(asset)
            places = heads.places(graph.shards)
            reported = self._reported(asset)
            now = dict(zip(heads.names, strings(heads.contents), strict=True))
            todo |= np.array([reported.get(k) != now.get(k) for k in graph.shards], bool)
            if SHARDED[asset].journal or "tar" in schema(asset).names:
                for key, files in _files(graph.store.storage, asset):
                    at = self._places.get(key)
                    if at is not None and not todo[at]:
                        named = json.loads(heads.media[places[at]] or "{}")
                        todo[at] = any(f != SHEET_FILE and f"{asset}/{key}/{f}" not in named for f in files)
            self._todo[asset] = np.append(todo, True)
        return self._todo[asset]


def _files(storage: Storage, asset: str) -> Iterator[tuple[str, Sequence[str]]]:
    """Each partition of an asset that has a folder, and the names of the files directly in it."""
    if storage.is_local:
        with suppress(FileNotFoundError), os.scandir(f"{storage.root}/{asset}") as entries:
            for entry in entries:
                if entry.is_dir():
                    with os.scandir(entry.path) as files:
                        yield entry.name, [f.name for f in files if f.is_file()]
        return
    found: dict[str, list[str]] = {}
    for path in storage.find(asset):
        name = path.removeprefix(f"{asset}/").split("/")
        if len(name) == 2:
            found.setdefault(name[0], []).append(name[1])
    yield from found.items()
