"""What is missing or stale, and because of what: the tables' own provenance compared with what they would be made from now.

A table is stale when the stage's code version, its parameters, its weights or the content of its inputs are not what they were. A
table whose input is itself missing or stale waits: whether it will change is known only when the input has been made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from curation_assets.contracts.component import Component, Stage
from curation_assets.dedup.comparison import clusters_provenance
from curation_assets.dedup.duplicate_clusters import CLUSTER_INDEX
from curation_assets.dedup.index_files import is_whole, read_manifest
from curation_assets.engine.differences import reasons
from curation_assets.engine.heads import Head, Heads, cache_file
from curation_assets.engine.making import LOST
from curation_assets.engine.shard import Shard
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.engine.slices import identity, slice_hashes
from curation_assets.engine.unread import settled, why_again
from curation_assets.publish.curating.subset_inputs import (
    LEFT_OUT,
    clip_provenance,
    curated_provenance,
    embedding_provenance,
)
from curation_assets.recipes import Recipe, RecipeError, subsets
from curation_assets.registry import CLUSTERS, COMPARED, INDEX, JUDGED, STAGES
from curation_assets.rules.columns import inputs_of
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.selection import assets_of_recipe, assets_of_subset
from curation_assets.settings import Settings
from curation_resources.content_hash import ContentHasher
from curation_resources.provenance import Provenance
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.tables import DamagedTable, MissingTable, TableStore

MISSING, STALE, WAITING, RETRY, FRESH = "missing", "stale", "waiting", "retry", "fresh"
STATES = (FRESH, STALE, MISSING, WAITING, RETRY)
SETTLED = (FRESH, RETRY)
"""States of an input that its dependents need not wait for."""

SHARDED: Mapping[str, Component] = {p.asset: p for s in STAGES for p in s.parts}
"""The sharded assets."""
OF_SUBSET: Mapping[str, Callable[[TableStore, Mapping[str, Recipe], str], Provenance]] = {
    "curated_clips": curated_provenance,
    "curated_tracks": curated_provenance,
    "clip_dataset": clip_provenance,
    "embedding_dataset": embedding_provenance,
}
"""The assets that are partitioned by subset, and what they would be made from."""
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
    return Heads(store, {*RETRIED, "video_metadata"}, cache_file(store.storage) if remember else None)


class _Known(TableStore):
    """A store that answers questions about sharded tables from their heads, and knows slices of unpartitioned tables by hash."""

    def __init__(self, store: TableStore, heads: Heads) -> None:
        super().__init__(store.storage, store.contracts)
        self.heads = heads

    def partitions(self, asset: str) -> list[str]:
        return sorted(self.heads.of(asset)) if asset in SHARDED else super().partitions(asset)

    def headers(self, asset: str, partitions: Sequence[str] | None = None) -> dict[str, Any]:
        """From heads: they have the content hash and the few stats that provenance asks for."""
        known = self.heads.of(asset)
        keys = sorted(known) if partitions is None else partitions
        return {k: known[k].header(asset, k) for k in keys if k in known}

    def slices(self, asset: str) -> Mapping[str, str]:
        header = self.usable_header(asset)
        if header is None:
            return {}
        return self.heads.slices(asset, identity(asset, header.content_hash), lambda: slice_hashes(self, asset).items())


@dataclass
class MadeOf:
    """What the tables of one asset of one dataset would be made from now; what is common to all shards is worked out once."""

    part: Component
    recipe: Recipe
    store: _Known

    def __post_init__(self) -> None:
        self.needed = inputs_of(self.part, self.recipe)
        self.heads = {a: self.store.heads.of(a) for a in self.needed}
        self.slices = {a: self.store.slices(a) for a in self.part.slices}
        self.empty = {a: ContentHasher(schema(a).arrow, schema(a).volatile).hexdigest() for a in self.part.slices}
        self.own = self.store.heads.of(self.part.asset)

    @cached_property
    def weights(self) -> Mapping[str, str] | str:
        """Identities of the weights, or why they cannot be told."""
        try:
            return dict(self.part.weights(self.recipe))
        except Exception as error:  # noqa: BLE001 - one model that is not there must not hide how everything else stands
            return str(error)

    @cached_property
    def way(self) -> Provenance:
        """How all of them are made; the content of the inputs is left empty."""
        weights = self.weights if isinstance(self.weights, Mapping) else {}
        inputs = dict.fromkeys([*self.needed, *self.part.slices], "")
        return Provenance(self.part.code_version, self.part.params(self.recipe), inputs, weights)

    def hashes(self, shard: str) -> dict[str, str] | None:
        """Content hash of each input; None if one does not exist."""
        found = {}
        for asset, heads in self.heads.items():
            head = heads.get(shard)
            if head is None:
                return None
            found[asset] = head.content_hash
        for asset, slices in self.slices.items():
            found[asset] = slices.get(shard) or self.empty[asset]
        return found

    @cached_property
    def fingerprint(self) -> Callable[[Mapping[str, str]], str]:
        """Content hash of each input -> the fingerprint of a shard's table."""
        return self.way.fingerprinter()

    def provenance(self, hashes: Mapping[str, str]) -> Provenance:
        return replace(self.way, inputs=dict(hashes))


Standing = dict[tuple[str, str | None], str]


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
        self._known = _Known(self.store, self.heads)
        self._files: dict[str, dict[str, int]] = {}

    @cached_property
    def shards(self) -> list[str]:
        """Keys of all shards of the index, in order of datasets and numbers; empty without an index."""
        slices = self._known.slices(INDEX)
        return [k for k in sorted(slices) if parse_shard_key(k)[0] in self.recipes]

    def wanted(self, dataset: str, asset: str) -> bool:
        """Whether the recipe of a dataset asks for an asset."""
        return asset in self._assets[dataset]

    def made_of(self, dataset: str, asset: str) -> MadeOf:
        """What the tables of a sharded asset would be made from now."""
        return MadeOf(SHARDED[asset], self.recipes[dataset], self._known)

    @cached_property
    def _assets(self) -> dict[str, set[str]]:
        return {n: set(assets_of_recipe(r)) for n, r in self.recipes.items()}

    def states(self, assets: Collection[str] | None = None) -> Iterator[State]:
        """How every partition of every asset that the recipes ask for stands, in graph order; only `assets` if given."""
        standing: Standing = {}
        for asset in SCHEMAS:
            for state in self._of(asset, standing):
                standing[asset, state.partition] = state.state
                if assets is None or asset in assets:
                    yield state

    def _of(self, asset: str, standing: Standing) -> Iterator[State]:
        if asset == INDEX:
            yield self._index()
        elif asset == CLUSTERS:
            yield self._clusters(standing)
        elif asset in SHARDED:
            by_dataset = {n: self.made_of(n, asset) for n in self.recipes if self.wanted(n, asset)}
            for key in self.shards:
                made_of = by_dataset.get(parse_shard_key(key)[0])
                if made_of is not None:
                    yield self._sharded(made_of, key, standing)
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
        known = {parse_shard_key(k)[0] for k in self.shards}
        new = [n for n in self.recipes if n not in known]
        return State(INDEX, None, STALE if new else FRESH, tuple(f"dataset {n} is not in it" for n in new))

    def _sharded(self, made_of: MadeOf, key: str, standing: Standing) -> State:
        asset = made_of.part.asset
        behind = [a for a in made_of.needed if standing.get((a, key), FRESH) not in SETTLED]
        behind += [a for a in made_of.part.slices if a != INDEX and standing.get((a, None), FRESH) not in SETTLED]
        waits = tuple(f"waits for {a}" for a in behind)
        head: Head | None = made_of.own.get(key)
        hashes = made_of.hashes(key)
        if hashes is None:
            return State(asset, key, WAITING if head else MISSING, waits)
        if isinstance(made_of.weights, str):
            return State(asset, key, WAITING, (f"its model cannot be told: {made_of.weights}",))
        now = made_of.fingerprint(hashes)
        if head is None:
            return State(asset, key, MISSING, waits, now)
        if head.fingerprint != now:
            found = self._changes(made_of, key, hashes) if self.why else ()
            return State(asset, key, STALE, found, now)
        if behind:
            return State(asset, key, WAITING, waits, now)
        if asset in RETRIED and head.stats:
            header = head.header(asset, key)
            if not settled(RETRIED[asset], header, self._shard(key)):
                return State(asset, key, RETRY, (why_again(asset, header, self.settings.max_attempts),), now)
        lost = self._lost(asset, head) if self.media else []
        if lost:
            return State(asset, key, STALE, (f"{lost[0]} {LOST}",), now)
        return State(asset, key, FRESH, (), now)

    def _lost(self, asset: str, head: Head) -> list[str]:
        """Tars that a table names and that are gone or cut short."""
        if not head.media:
            return []
        if asset not in self._files:
            self._files[asset] = self.store.storage.find(asset)
        return [t for t, end in json.loads(head.media).items() if self._files[asset].get(t, -1) < end]

    def _changes(self, made_of: MadeOf, key: str, hashes: Mapping[str, str]) -> tuple[str, ...]:
        try:
            header = self.store.header(made_of.part.asset, key)
        except StorageError as error:
            return (str(error),)
        return reasons(header.provenance, made_of.provenance(hashes)) if header else ()

    def _shard(self, key: str) -> Shard:
        return Shard(key, self.recipes[parse_shard_key(key)[0]], self._known, self.settings, None)

    def _clusters(self, standing: Standing) -> State:
        behind = sum(a == COMPARED and s not in SETTLED for (a, _), s in standing.items())
        try:
            now, _ = clusters_provenance(self._known, self.recipes, self.settings)
        except RecipeError as error:
            return State(CLUSTERS, None, WAITING, (str(error),))
        return self._whole(CLUSTERS, None, now, (f"waits for {behind} shards",) if behind else ())

    def _subset(self, key: str, asset: str, standing: Standing) -> State:
        try:
            now = OF_SUBSET[asset](self._known, self.recipes, key)
        except (*READ_ERRORS, DamagedTable) as error:  # a list of ids that the subset names, or its curated table
            return State(asset, key, WAITING, (str(error),))
        except MissingTable:
            made = self.store.exists(asset, key)
            return State(asset, key, WAITING if made else MISSING, ("waits for its curated table",))
        recipe, subset = subsets(self.recipes)[key]
        datasets = set(subset.datasets or [recipe.dataset])
        behind = {
            a
            for (a, k), state in standing.items()
            if a in now.inputs and state not in SETTLED and (k == key if a in OF_SUBSET else _dataset(k) in datasets)
        }
        return self._whole(asset, key, now, tuple(f"waits for {a}" for a in SCHEMAS if a in behind))

    def _whole(self, asset: str, key: str | None, now: Provenance, waits: tuple[str, ...]) -> State:
        try:
            header = self.store.header(asset, key)
        except DamagedTable as error:
            return State(asset, key, STALE, (str(error),), now.fingerprint)
        if header is None:
            return State(asset, key, MISSING, waits, now.fingerprint)
        made = header.provenance
        lacking = made.params.get(LEFT_OUT) if isinstance(made.params, Mapping) else None
        if lacking and waits:
            params = {k: v for k, v in made.params.items() if k != LEFT_OUT}
            if replace(made, params=params).fingerprint == now.fingerprint:
                return State(
                    asset, key, WAITING, (*waits, *(f"was made without {line}" for line in lacking)), now.fingerprint
                )
        if header.fingerprint != now.fingerprint:
            return State(asset, key, STALE, reasons(header.provenance, now), now.fingerprint)
        lost = self.store.lost_media(header) if self.media else []
        if lost:
            return State(asset, key, STALE, (f"{lost[0]} {LOST}",), now.fingerprint)
        if header.stats.get("unread"):
            return State(asset, key, RETRY, (f"{header.stats['unread']} clips could not be read",), now.fingerprint)
        return State(asset, key, WAITING if waits else FRESH, waits, now.fingerprint)

    def seen_by_clusters(self) -> Mapping[str, str]:
        """Shard -> content hash of the fingerprints with which the duplicate clusters in force know it."""
        if not self.store.exists(CLUSTERS) or not is_whole(self.store.storage, CLUSTER_INDEX):
            return {}
        manifest = read_manifest(self.store.storage, CLUSTER_INDEX) or {"shards": {}}
        return {k: entry["content_hash"] for k, entry in manifest["shards"].items()}


def _dataset(shard: str | None) -> str:
    return parse_shard_key(shard)[0] if shard else ""


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
    heads = open_heads(store, remember)
    heads.look(list(SHARDED))
    yield from Graph(store, recipes, settings, heads, why, media).states(assets)


def table(states: Collection[State]) -> pa.Table:
    """The states as a table, for reports."""
    return pa.Table.from_pylist(
        [
            {"asset": s.asset, "partition": s.partition or "", "state": s.state, "reasons": "; ".join(s.reasons)}
            for s in states
        ],
        schema=pa.schema([(n, pa.string()) for n in ("asset", "partition", "state", "reasons")]),
    )
