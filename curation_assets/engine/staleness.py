"""What is missing or stale, and because of what: the tables' own provenance compared with what they would be made from now.

A table is stale when the stage's code version, its parameters, its weights or the content of its inputs are not what they were. A
table whose input is itself missing or stale waits: whether it will change is known only when the input has been made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa

from curation_assets.contracts.component import Stage
from curation_assets.engine.declared import without_rows
from curation_assets.engine.differences import reasons
from curation_assets.engine.gathered_inputs import MADE_WITHOUT
from curation_assets.engine.head_columns import Head
from curation_assets.engine.heads import HEADS, Heads, cache_path
from curation_assets.engine.made_of import SHARDED, Known, MadeOf
from curation_assets.engine.making import LOST
from curation_assets.engine.shard import Shard
from curation_assets.engine.shard_keys import dataset_of
from curation_assets.engine.standing import STATES, Standing
from curation_assets.engine.unread import settled, why_again
from curation_assets.publish.curating.subset_inputs import (
    LEFT_OUT,
    clip_provenance_or_as_good,
    complete,
    curated_provenance,
    embedding_provenance_or_as_good,
)
from curation_assets.recipes import Recipe, RecipeError, subsets
from curation_assets.registry import GATHERED, INDEX, JUDGED, STAGES, component
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import assets_of_recipe, assets_of_subset
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.tables import DamagedTable, MissingTable, TableStore
from curation_resources.weights import MissingWeights, WrongWeights
from curation_resources.words import plural

FRESH, STALE, MISSING, WAITING, RETRY = STATES
SETTLED = (FRESH, RETRY)
"""States of an input that its dependents need not wait for."""

OF_SUBSET: Mapping[str, Callable[[TableStore, Mapping[str, Recipe], str], Provenance]] = {
    "curated_clips": curated_provenance,
    "curated_tracks": curated_provenance,
    "clip_dataset": clip_provenance_or_as_good,
    "embedding_dataset": embedding_provenance_or_as_good,
}
"""The assets that are partitioned by subset, and what they would be made from."""
OF_ITS_SHARD = '"refused_urls"'
"""What in a table's stats is compared with something of its shard."""
RETRIED: Mapping[str, Stage] = {
    p.asset: s for s in STAGES for p in s.parts if s.by_video or s.up_to_date is not Stage.up_to_date
}
"""Assets whose tables may have failures that pass."""


@dataclass(frozen=True)
class State:
    """How one partition of an asset stands.

    Attributes:
        asset, partition: which; None for an unpartitioned asset.
        state: missing, stale, waiting (an input is missing or stale), retry (made, with failures that may pass), or fresh.
        reasons: what changed, one phrase each.
        fingerprint: of what it would be made from now; empty if an input does not exist.
    """

    asset: str
    partition: str | None
    state: str
    reasons: tuple[str, ...] = ()
    fingerprint: str = ""


def open_heads(store: TableStore, remember: bool = True) -> Heads:
    """The heads of a store's tables; with `remember`, those that earlier processes on this machine kept too."""
    return Heads(store, {*RETRIED, "video_metadata"}, cache_path(store.storage, HEADS) if remember else None)


def known_tables(store: TableStore, remember: bool = True) -> Known:
    """A store that knows the heads of all sharded tables, after a look at each; footers that an earlier look has read are not read again. Arguments
    as for `open_heads`."""
    heads = open_heads(store, remember)
    heads.look(list(SHARDED))
    return Known(store, heads)


@dataclass
class Graph:
    """How all tables of an installation stand.

    Attributes:
        store: the tables.
        recipes: dataset -> recipe; shards of other datasets are left out.
        settings: of the installation.
        heads: of the sharded tables, after a complete `look`.
        why: whether reasons are given, for which the footer of every stale table is read.
        media: whether tables whose tars are gone are stale too, for which the folders of tars are listed.
    """

    store: TableStore
    recipes: Mapping[str, Recipe]
    settings: Settings
    heads: Heads
    why: bool = True
    media: bool = False

    def __post_init__(self) -> None:
        self.known = Known(self.store, self.heads)
        self._files: dict[str, dict[str, int]] = {}
        self._again: dict[tuple[str, str], bool] = {}

    @cached_property
    def shards(self) -> list[str]:
        """Keys of all shards of the index, in order of datasets and numbers; empty without an index."""
        slices = self.known.slices(INDEX)
        return [k for k in sorted(slices) if dataset_of(k) in self.recipes]

    @cached_property
    def spans(self) -> dict[str, slice]:
        """Dataset -> where its shards are among all of them, of datasets that have some."""
        firsts: dict[str, int] = {}
        for at, key in enumerate(self.shards):
            firsts.setdefault(dataset_of(key), at)
        starts = [*firsts.values(), len(self.shards)]
        return {n: slice(starts[i], starts[i + 1]) for i, n in enumerate(firsts)}

    @cached_property
    def indexed(self) -> set[str]:
        """Datasets that the index has, of some of which it may know that they have no video."""
        return {*self.spans, *without_rows(self.store.usable_header(INDEX))}

    def wanted(self, dataset: str, asset: str) -> bool:
        """Whether the recipe of a dataset asks for an asset."""
        return asset in self._assets[dataset]

    def made_of(self, dataset: str, asset: str) -> MadeOf:
        """What the tables of a sharded asset would be made from now."""
        return MadeOf(SHARDED[asset], self.recipes[dataset], self.known)

    @cached_property
    def _assets(self) -> dict[str, set[str]]:
        return {n: set(assets_of_recipe(r)) for n, r in self.recipes.items()}

    def states(self, assets: Collection[str] | None = None) -> Iterator[State]:
        """How every partition of every asset that the recipes ask for stands, in graph order; only `assets` if given."""
        standing = self.look()
        for asset in SCHEMAS:
            if assets is None or asset in assets:
                yield from standing.states(asset)

    def look(self) -> Standing:
        """How every partition of every asset that the recipes ask for stands."""
        standing = Standing(self)
        for asset in SCHEMAS:
            if asset in SHARDED:
                standing.look(asset)
            else:
                for state in self._of(asset, standing):
                    standing.whole[asset, state.partition] = state
        return standing

    def _of(self, asset: str, standing: Standing) -> Iterator[State]:
        if asset == INDEX:
            yield self._index()
        elif asset in GATHERED:
            if any(self.wanted(dataset, asset) for dataset in self.recipes):
                yield self._gathered(asset, standing)
        elif asset in OF_SUBSET:
            for key, (_, subset) in subsets(self.recipes).items():
                others = {table for kind, table in JUDGED.items() if kind != subset.of}
                if asset in assets_of_subset(subset) and asset not in others:
                    yield self._subset(key, asset, standing)

    def _index(self) -> State:
        try:
            if self.store.header(INDEX) is None:
                return State(INDEX, None, MISSING, ("no index yet",))
        except DamagedTable as error:
            return State(INDEX, None, STALE, (str(error),))
        new = [n for n in self.recipes if n not in self.indexed]
        return State(INDEX, None, STALE if new else FRESH, tuple(f"dataset {n} is not in it" for n in new))

    def sharded(self, made_of: MadeOf, key: str, standing: Standing) -> State:
        """How one table of a shard stands, and why."""
        asset = made_of.part.asset
        behind = [a for a in made_of.needed if standing.waits_for(a, key)]
        behind += [a for a in made_of.part.slices if a != INDEX and standing.waits_for(a, None)]
        waits = tuple(f"waits for {a}" for a in behind)
        head: Head | None = made_of.own.get(key)
        hashes = made_of.hashes(key)
        if hashes is None:
            return State(asset, key, WAITING if head else MISSING, waits)
        if isinstance(made_of.weights, str):
            return State(asset, key, WAITING, (f"its model, or file of labels, cannot be told: {made_of.weights}",))
        now = made_of.fingerprint(hashes)
        if head is None:
            return State(asset, key, MISSING, waits, now)
        if head.fingerprint != now:
            found = self._changes(made_of, key, hashes) if self.why else ()
            return State(asset, key, STALE, found, now)
        if behind:
            return State(asset, key, WAITING, waits, now)
        if self.again(asset, key, head.stats):
            why = why_again(asset, head.header(asset, key), self.settings.max_attempts)
            return State(asset, key, RETRY, (why,), now)
        lost = self.lost(head.media)
        if lost:
            return State(asset, key, STALE, (f"{lost[0]} {LOST}",), now)
        return State(asset, key, FRESH, (), now)

    def looks_closer(self, asset: str) -> bool:
        """Whether a table that was made from what it would be made from now may be behind all the same."""
        return self.media or asset in RETRIED

    def again(self, asset: str, key: str, stats: str) -> bool:
        """Whether a table with such stats has failures that may pass, so that it is to be tried again."""
        if asset not in RETRIED or not stats:
            return False
        question = asset, stats
        if question not in self._again:
            header = Head("", 0, "", "", stats).header(asset, key)
            found = not settled(RETRIED[asset], header, self._shard(key))
            if self.of_its_shard(stats):
                return found
            self._again[question] = found
        return self._again[question]

    def of_its_shard(self, stats: str) -> bool:
        """Whether tables of different shards that have such stats may stand differently."""
        return OF_ITS_SHARD in stats

    def lost(self, media: str) -> list[str]:
        """Tars among those that a table names that are gone or cut short; none where nobody asks for it."""
        if not media or not self.media:
            return []
        named = json.loads(media)
        if self.store.storage.is_local:
            return [t for t, end in named.items() if self._size(t) < end]
        folder = next(iter(named), "").split("/")[0]
        if folder and folder not in self._files:
            self._files[folder] = self.store.storage.find(folder)
        return [t for t, end in named.items() if self._files[folder].get(t, -1) < end]

    def _size(self, path: str) -> int:
        """Bytes of a file of a local root; -1 if it is not there."""
        try:
            return os.stat(f"{self.store.storage.root}/{path}").st_size
        except (FileNotFoundError, NotADirectoryError):
            return -1

    def _changes(self, made_of: MadeOf, key: str, hashes: Mapping[str, str]) -> tuple[str, ...]:
        try:
            header = self.store.header(made_of.part.asset, key)
        except StorageError as error:
            return (str(error),)
        return reasons(header.provenance, made_of.provenance(hashes)) if header else ()

    def _shard(self, key: str) -> Shard:
        return Shard(key, self.recipes[dataset_of(key)], self.known, self.settings, None)

    def _gathered(self, asset: str, standing: Standing) -> State:
        part = component(asset)
        assert part.gathering is not None
        behind = sum(n for s, n in standing.counts(part.inputs[0]).items() if s not in SETTLED)
        try:
            now = part.gathering.made_of(self.known, self.recipes, self.settings)
        except (RecipeError, MissingWeights, WrongWeights, *READ_ERRORS) as error:  # or its model cannot be told
            return State(asset, None, WAITING, (str(error),))
        waits = behind and not (part.gathering.fitted and self.store.exists(asset))
        state = self._whole(asset, None, now, (f"waits for {plural(behind, 'shard')}",) if waits else ())
        header = self.store.usable_header(asset) if state.state == WAITING else None
        lacked = header.stats.get(MADE_WITHOUT) if header is not None else None
        return replace(state, reasons=(*state.reasons, f"was made without {lacked}")) if lacked else state

    def _subset(self, key: str, asset: str, standing: Standing) -> State:
        try:
            now = OF_SUBSET[asset](self.known, self.recipes, key)
        except (*READ_ERRORS, DamagedTable) as error:  # a list of ids that the subset names, or its curated table
            return State(asset, key, WAITING, (str(error),))
        except MissingTable:
            made = self.store.exists(asset, key)
            return State(asset, key, WAITING if made else MISSING, ("waits for its curated table",))
        recipe, subset = subsets(self.recipes)[key]
        datasets = set(subset.datasets or [recipe.dataset])
        behind = {a for a in now.inputs if a in SCHEMAS and self._waits(a, key, datasets, standing)}
        return self._whole(asset, key, now, tuple(f"waits for {a}" for a in SCHEMAS if a in behind))

    def _waits(self, asset: str, key: str, datasets: Collection[str], standing: Standing) -> bool:
        """Whether a table of a subset waits for an input."""
        if asset in SHARDED:
            return any(s not in SETTLED for d in datasets for s in standing.counts(asset, d))
        return standing.waits_for(asset, key) if asset in OF_SUBSET else False

    def _whole(self, asset: str, key: str | None, now: Provenance, waits: tuple[str, ...]) -> State:
        try:
            header = self.store.header(asset, key)
        except DamagedTable as error:
            return State(asset, key, STALE, (str(error),), now.fingerprint)
        if header is None:
            return State(asset, key, MISSING, waits, now.fingerprint)
        made = header.provenance
        lacking = made.params.get(LEFT_OUT) if isinstance(made.params, Mapping) else None
        if lacking and waits and complete(made).fingerprint == now.fingerprint:
            return State(
                asset, key, WAITING, (*waits, *(f"was made without {line}" for line in lacking)), now.fingerprint
            )
        if header.fingerprint != now.fingerprint:
            return State(asset, key, STALE, reasons(header.provenance, now), now.fingerprint)
        lost = self.store.lost_media(header) if self.media else []
        if lost:
            return State(asset, key, STALE, (f"{lost[0]} {LOST}",), now.fingerprint)
        if header.stats.get("unread"):
            return State(
                asset, key, RETRY, (f"{plural(header.stats['unread'], 'clip')} could not be read",), now.fingerprint
            )
        return State(asset, key, WAITING if waits else FRESH, waits, now.fingerprint)

    def seen_by(self, asset: str) -> Mapping[str, str]:
        """Shard -> content hash of its input with which a table over all shards, as it is in force, knows it."""
        gathering = component(asset).gathering
        assert gathering is not None
        try:
            return gathering.known(self.known, self.recipes, self.settings)
        except (RecipeError, MissingWeights, WrongWeights, *READ_ERRORS):
            return {}


def shard_states(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    settings: Settings,
    assets: Collection[str] | None = None,
    why: bool = True,
    remember: bool = True,
    media: bool = True,
) -> Iterator[State]:
    """How every partition of every asset that the recipes ask for stands, in graph order.

    Args:
        store: the tables.
        recipes: dataset -> recipe; shards of other datasets are left out.
        settings: of the installation.
        assets: only these.
        why: whether to say what changed; the footer of every stale table is read for it.
        remember: whether to keep what was learned of the tables for the next process.
        media: whether to see that the tars that tables name are there.
    """
    yield from looked_at(store, recipes, settings, why, remember, media).states(assets)


def looked_at(
    store: TableStore,
    recipes: Mapping[str, Recipe],
    settings: Settings,
    why: bool = True,
    remember: bool = True,
    media: bool = True,
) -> Graph:
    """The tables as they are now. Arguments as for `shard_states`."""
    return Graph(store, recipes, settings, known_tables(store, remember).heads, why, media)


def table(states: Collection[State]) -> pa.Table:
    """The states as a table, for reports."""
    return pa.Table.from_pylist(
        [
            {"asset": s.asset, "partition": s.partition or "", "state": s.state, "reasons": "; ".join(s.reasons)}
            for s in states
        ],
        schema=pa.schema([(n, pa.string()) for n in ("asset", "partition", "state", "reasons")]),
    )
