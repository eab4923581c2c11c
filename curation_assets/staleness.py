"""What is missing or stale, and because of what: the tables' own provenance compared with what they would be made from now.

A table is stale when the stage's code version, its parameters, its weights or the content of its inputs are not what they were. A
table whose input is itself missing or stale waits: whether it will change is known only when the input has been made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.assets import STAGES
from curation_assets.assets.dedup import clusters_provenance
from curation_assets.assets.publish import curated_provenance
from curation_assets.materialize import Part, Shard, expected
from curation_assets.partitions import subset_key
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.selection import assets_of_recipe
from curation_assets.settings import Settings
from curation_assets.shard_keys import parse_shard_key
from resources.content_hash import ContentHasher
from resources.tables import MissingTable, Provenance, TableHeader, TableStore

MISSING, STALE, WAITING, FRESH, RETRY = "missing", "stale", "waiting", "fresh", "retry"


@dataclass(frozen=True)
class State:
    """How one partition of an asset stands.

    Attributes:
        asset, partition: which; None for an unpartitioned asset.
        state: missing, stale, waiting (an input is missing or stale), retry (made, with failures that may pass), or fresh.
        reasons: what changed, one phrase each.
    """

    asset: str
    partition: str | None
    state: str
    reasons: tuple[str, ...] = ()


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ: `clips.threshold: 11.5 -> 27.0`."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield f"{path or 'parameters'}: {_short(old)} -> {_short(new)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def reasons(old: Provenance, new: Provenance) -> tuple[str, ...]:
    """Why a table made from `old` would be made anew from `new`."""
    found = []
    if old.code_version != new.code_version:
        found.append(f"code version {old.code_version} -> {new.code_version}")
    found += [f"parameter {d}" for d in differences(old.params, _plain(new.params))]
    found += [f"weights {d}" for d in differences(dict(old.weights), dict(new.weights))]
    for name in sorted({*old.inputs, *new.inputs}):
        if old.inputs.get(name) != new.inputs.get(name):
            what = "changed" if name in old.inputs and name in new.inputs else "is new" if name in new.inputs else "is no longer used"
            found.append(f"input {name} {what}")
    return tuple(found)


def _plain(value: Any) -> Any:
    """As it looks after a round trip through JSON, which is how the old value was stored."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


class _Known(TableStore):
    """A store that answers questions about headers from one listing, and hashes slices of unpartitioned tables in one pass."""

    def __init__(self, store: TableStore) -> None:
        super().__init__(store.storage, store.contracts)
        self._store = store
        self._headers: dict[str, dict[str, TableHeader]] = {}
        self._slices: dict[str, dict[str, str]] = {}

    def header(self, asset: str, partition: str | None = None) -> TableHeader | None:
        if partition is None:
            return self._store.header(asset)
        return self.headers(asset).get(partition)

    def headers(self, asset: str, partitions: Any = None) -> dict[str, TableHeader]:
        if asset not in self._headers:
            self._headers[asset] = self._store.headers(asset)
        known = self._headers[asset]
        return dict(known) if partitions is None else {k: known[k] for k in partitions if k in known}

    def slice_hash(self, asset: str, shard: str) -> str:
        if asset not in self._slices:
            self._slices[asset] = dict(slice_hashes(self, asset))
        contract = schema(asset)
        return self._slices[asset].get(shard) or ContentHasher(contract.arrow, contract.volatile).hexdigest()


def slice_hashes(store: TableStore, asset: str) -> Iterator[tuple[str, str]]:
    """(shard, content hash of its rows) of an unpartitioned table with a `shard` column."""
    contract = schema(asset)
    try:
        table = store.read(asset)
    except MissingTable:
        return
    keys = list(dict.fromkeys(["shard", *contract.key]))
    table = table.sort_by([(k, "ascending") for k in keys])
    runs = pc.run_end_encode(table["shard"].combine_chunks()) if table.num_rows else None
    if runs is None:
        return
    start = 0
    for shard, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        hasher = ContentHasher(contract.arrow, contract.volatile)
        hasher.update(table.slice(start, end - start))
        yield shard, hasher.hexdigest()
        start = end


class _ShardNow(Shard):
    """A shard whose slices are known by hash alone."""

    def slice_hash(self, asset: str) -> str:
        store = self.store
        assert isinstance(store, _Known)
        return store.slice_hash(asset, self.key)


def shard_states(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, assets: Collection[str] | None = None
) -> Iterator[State]:
    """How every partition of every asset that the recipes ask for stands, in graph order.

    Args:
        store: the tables.
        recipes: dataset -> recipe; shards of other datasets are left out.
        settings: of the installation.
        assets: only these.
    """
    known = _Known(store)
    try:
        shards = list(dict.fromkeys(store.read("dataset_index", columns=["shard"])["shard"].to_pylist()))
    except MissingTable:
        yield State("dataset_index", None, MISSING, ("no index yet",))
        return
    wanted = {n: set(assets_of_recipe(r)) for n, r in recipes.items()}
    parts = {p.asset: (s, p) for s in STAGES for p in s.parts}
    standing: dict[tuple[str, str | None], str] = {}
    for asset in SCHEMAS:
        found: list[State] = []
        if asset == "duplicate_clusters":
            found.append(_clusters(known, recipes, standing))
        elif asset in parts:
            stage, part = parts[asset]
            for key in shards:
                dataset = parse_shard_key(key)[0]
                if asset in wanted.get(dataset, ()):
                    shard = _ShardNow(key, recipes[dataset], known, settings, None)
                    found.append(_sharded(part, shard, standing, stage.up_to_date))
        elif asset in ("curated_clips", "curated_tracks"):
            for recipe in recipes.values():
                for name, subset in recipe.subsets.items():
                    if subset.of == asset.removeprefix("curated_"):
                        found.append(_subset(known, recipes, subset_key(recipe.dataset, name), asset, standing))
        for state in found:
            standing[asset, state.partition] = state.state
            if assets is None or asset in assets:
                yield state


def _compare(asset: str, partition: str | None, header: TableHeader | None, now: Provenance) -> State:
    if header is None:
        return State(asset, partition, MISSING)
    if header.fingerprint != now.fingerprint:
        return State(asset, partition, STALE, reasons(header.provenance, now))
    return State(asset, partition, FRESH)


def _sharded(part: Part, shard: _ShardNow, standing: Mapping[tuple[str, str | None], str], up_to_date: Any) -> State:
    behind = [a for a in part.needed(shard.recipe) if standing.get((a, shard.key), FRESH) not in (FRESH, RETRY)]
    behind += [a for a in part.slices if standing.get((a, None), FRESH) not in (FRESH, RETRY)]
    header = shard.store.header(part.asset, shard.key)
    try:
        now = expected(part, shard)
    except MissingTable:
        return State(part.asset, shard.key, WAITING if header else MISSING, tuple(f"waits for {a}" for a in behind))
    state = _compare(part.asset, shard.key, header, now)
    if behind and state.state == FRESH:
        return State(part.asset, shard.key, WAITING, tuple(f"waits for {a}" for a in behind))
    if state.state == FRESH and header is not None and not up_to_date(header):
        return State(part.asset, shard.key, RETRY, ("some rows failed for a reason that may pass",))
    return state


def _clusters(store: _Known, recipes: Mapping[str, Recipe], standing: Mapping[tuple[str, str | None], str]) -> State:
    behind = [k for (a, k), s in standing.items() if a == "clip_fingerprints" and s not in (FRESH, RETRY)]
    now, _ = clusters_provenance(store, recipes)
    state = _compare("duplicate_clusters", None, store.header("duplicate_clusters"), now)
    if state.state == FRESH and behind:
        return State("duplicate_clusters", None, WAITING, (f"waits for {len(behind)} shards",))
    return state


def _subset(store: _Known, recipes: Mapping[str, Recipe], key: str, asset: str, standing: Mapping[tuple[str, str | None], str]) -> State:
    now = curated_provenance(store, recipes, key)
    state = _compare(asset, key, store.header(asset, key), now)
    behind = {a for (a, _), s in standing.items() if a in now.inputs and s not in (FRESH, RETRY)}
    if state.state == FRESH and behind:
        return State(asset, key, WAITING, tuple(f"waits for {a}" for a in sorted(behind)))
    return state


def table(states: Collection[State]) -> pa.Table:
    """The states as a table, for reports."""
    return pa.Table.from_pylist(
        [{"asset": s.asset, "partition": s.partition or "", "state": s.state, "reasons": "; ".join(s.reasons)} for s in states],
        schema=pa.schema([(n, pa.string()) for n in ("asset", "partition", "state", "reasons")]),
    )
