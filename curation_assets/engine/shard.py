"""A shard as the function sees it that makes one of its tables: recipe, input tables, storage, models."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.engine.coming import Coming
from curation_assets.engine.run_tables import RunTables
from curation_assets.engine.slices import is_sliced
from curation_assets.recipes import Recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_resources.content_hash import ContentHasher, content_hash
from curation_resources.storage import Storage
from curation_resources.table_headers import TableHeader
from curation_resources.tables import DamagedTable, MissingTable, TableStore
from curation_resources.weights import MissingWeights, WrongWeights


class Shard:
    """One shard as a stage sees it: its recipe, its input tables, where its media go, and which shards come after it."""

    def __init__(
        self,
        key: str,
        recipe: Recipe,
        store: TableStore,
        settings: Settings,
        log: Any,
        force: bool = False,
        models: dict[Any, Any] | None = None,
    ) -> None:
        self.key, self.recipe, self.store, self.settings, self.log, self.force = (
            key,
            recipe,
            store,
            settings,
            log,
            force,
        )
        self.recipes: Mapping[str, Recipe] = {recipe.dataset: recipe}
        self._tables: dict[str, pa.Table] = {}
        self._videos: pa.Array | None = None
        self._slices: dict[str, pa.Table] = {}
        self._models: dict[Any, Any] = {} if models is None else models
        self.coming = Coming()

    def among(self, recipes: Mapping[str, Recipe]) -> Shard:
        """The same shard beside the recipes of all datasets, which what spans datasets is made by."""
        view = copy.copy(self)
        view.recipes = recipes
        return view

    @property
    def storage(self) -> Storage:
        return self.store.storage

    @property
    def workers(self) -> int:
        return self.settings.workers

    def folder(self, asset: str) -> str:
        """Folder of the asset's media for this shard."""
        return self.store.folder(asset, self.key)

    def table(self, asset: str) -> pa.Table:
        """An input table of this shard."""
        if asset not in self._tables:
            table = self.store.read(asset, self.key)
            if self._videos is not None:
                table = table.filter(pc.is_in(table["video_id"], value_set=self._videos))
            self._tables[asset] = table
        return self._tables[asset]

    def only(self, videos: Collection[str]) -> Shard:
        """The same shard with nothing but these videos in its input tables."""
        view = copy.copy(self)
        view._tables, view._videos = {}, pa.array(sorted(videos), pa.string())
        return view

    @property
    def is_part(self) -> bool:
        """Whether it is what `only` gives: some of its videos, beside others of which rows were made before."""
        return self._videos is not None

    def slice(self, asset: str) -> pa.Table:
        """The rows of an unpartitioned asset that belong to this shard; all of one that is not sliced."""
        if asset not in self._slices:
            sliced = is_sliced(asset)
            self._slices[asset] = self.store.rows_with(asset, "shard", self.key) if sliced else self.store.read(asset)
        return self._slices[asset]

    def slice_hash(self, asset: str) -> str:
        """Content hash of `slice(asset)`."""
        contract = schema(asset)
        if isinstance(self.store, RunTables):
            return (
                self.store.slice_hash(asset, self.key) or ContentHasher(contract.arrow, contract.volatile).hexdigest()
            )
        return content_hash(self.slice(asset), contract.key, contract.volatile, contract.later)

    def previous(self, asset: str) -> pa.Table | None:
        """The table that is in force now; None if there is none, or if everything is to be made anew."""
        if self.force or self.store.usable_header(asset, self.key) is None:
            return None
        try:
            return self.store.read(asset, self.key)
        except (MissingTable, DamagedTable):
            return None

    def model(self, load: Callable[[Any], Any], params: Any) -> Any:
        """What `load(params)` gives, loaded once for all shards of a run with the same parameters."""
        key = (load.__qualname__, repr(params))
        if key not in self._models:
            try:
                self._models[key] = load(params)
            except (MissingWeights, WrongWeights) as error:
                self._models[key] = error
        if isinstance(self._models[key], MissingWeights | WrongWeights):
            raise self._models[key]
        return self._models[key]

    def without_media(self, header: TableHeader) -> set[str]:
        """Videos of which a table names media that are gone."""
        lost = self.store.lost_media(header)
        if not lost:
            return set()
        rows = self.store.read(header.asset, header.partition, columns=["video_id", "tar"])
        return set(rows.filter(pc.is_in(rows["tar"], value_set=pa.array(lost)))["video_id"].to_pylist())

    def again(self) -> Shard:
        """The same shard with nothing of what was read of its tables."""
        fresh = copy.copy(self)
        fresh._tables, fresh._slices = {}, {}
        return fresh

    def forget(self, asset: str) -> None:
        """Drops a table that was read, because it has been made anew."""
        self._tables.pop(asset, None)
