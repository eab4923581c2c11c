"""What the tables of one asset of one dataset would be made from now, told from the heads of their inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from curation_assets.contracts.component import Component
from curation_assets.engine.head_columns import HeadColumns, strings
from curation_assets.engine.heads import Heads
from curation_assets.engine.slices import identity, is_sliced, slice_hashes
from curation_assets.recipes import Recipe
from curation_assets.registry import STAGES
from curation_assets.rules.columns import inputs_of
from curation_assets.schemas import schema
from curation_resources.content_hash import ContentHasher
from curation_resources.provenance import Provenance, combined_hash
from curation_resources.tables import TableStore

SHARDED: Mapping[str, Component] = {p.asset: p for s in STAGES for p in s.parts}
"""The sharded assets."""


class Known(TableStore):
    """A store that answers questions about sharded tables from their heads, and knows slices of unpartitioned tables by hash."""

    def __init__(self, store: TableStore, heads: Heads) -> None:
        super().__init__(store.storage, store.contracts)
        self.heads = heads
        self._combined: dict[tuple[str, tuple[str, ...], str | None], str | None] = {}

    def partitions(self, asset: str) -> list[str]:
        return list(self.heads.of(asset)) if asset in SHARDED else super().partitions(asset)

    def headers(self, asset: str, partitions: Sequence[str] | None = None) -> dict[str, Any]:
        """From heads: they have the content hash and the few stats that provenance asks for."""
        known = self.heads.of(asset)
        keys = sorted(known) if partitions is None else partitions
        return {k: known[k].header(asset, k) for k in keys if k in known}

    def hashes(self, asset: str, partitions: Sequence[str] | None = None) -> dict[str, str]:
        if asset not in SHARDED:
            return super().hashes(asset, partitions)
        columns = self.heads.columns(asset)
        names, hashes = columns.names, columns.contents
        if partitions is not None and partitions != names:
            places = columns.places(partitions)
            names = [n for n, at in zip(partitions, places.tolist(), strict=True) if at >= 0]
            hashes = hashes[places[places >= 0]]
        return dict(zip(names, strings(hashes), strict=True))

    def combined_hash(self, asset: str, partitions: Sequence[str], stat: str | None = None) -> str | None:
        """Worked out once for each set of partitions: subsets ask for the same ones again and again."""
        if asset not in SHARDED:
            return super().combined_hash(asset, partitions, stat)
        question = asset, tuple(partitions), stat
        if question not in self._combined:
            columns = self.heads.columns(asset)
            said = [stat is None or bool(t and json.loads(t).get(stat)) for t in columns.stats.each]
            chosen = partitions if all(said) else self._that_say(columns, partitions, said)
            found = self.hashes(asset, chosen)
            self._combined[question] = combined_hash(found) if found else None
        return self._combined[question]

    def _that_say(self, columns: HeadColumns, partitions: Sequence[str], said: Sequence[bool]) -> list[str]:
        """Those of some partitions whose stats are among what `said` marks."""
        if not len(columns):
            return []
        places = columns.places(partitions)
        which = (places >= 0) & np.array(said, bool)[columns.stats.numbers[places]]
        return [partitions[i] for i in np.flatnonzero(which).tolist()]

    def remembered(self, name: str, content_hash: str, compute: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        return self.heads.slices(name, content_hash, lambda: compute().items())

    def slices(self, asset: str) -> Mapping[str, str]:
        header = self.usable_header(asset)
        if header is None:
            return {}
        if not is_sliced(asset):
            return slice_hashes(self, asset)
        return self.heads.slices(asset, identity(asset, header.content_hash), lambda: slice_hashes(self, asset).items())


@dataclass
class MadeOf:
    """What the tables of one asset of one dataset would be made from now; what is common to all shards is worked out once."""

    part: Component
    recipe: Recipe
    store: Known

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
