"""Cuts the pieces of a clip export batch by batch: what a subset selected of each shard, as far as it is not there already.

What belongs here: what a batch has at hand. What does not: which rows (`batch_rows.py`), how the clips of a shard are cut (`cutting/shard_cutting.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.covering import Cover
from curation_assets.publish.curating.subset_inputs import Selection, clip_options
from curation_assets.publish.cutting.clip_plan import ClipToCut, SampleKeys, plan_cuts
from curation_assets.publish.cutting.pieces import Pieces
from curation_assets.publish.cutting.shard_cutting import ShardCut, ShardToCut, cut_shard
from curation_assets.publish.writing.batch_rows import EXPORT, BatchRows, ExportBatches
from curation_assets.publish.writing.versions import PIECES
from curation_assets.recipes import Recipe
from curation_assets.settings import Settings
from curation_assets.tracks.face_tables import joined, with_thing
from curation_resources import presence, sealed_parquet
from curation_resources.encoders import ENCODERS
from curation_resources.tables import MissingTable, TableStore


def pieces_of(store: TableStore, key: str) -> Pieces:
    """The pieces of a subset's next version."""
    return Pieces(store.storage, f"{store.folder(EXPORT, key)}/{PIECES}")


def clear_pieces(store: TableStore, key: str) -> None:
    """Removes the pieces of a subset, unless another run at work may be about to publish them; the next run removes them then."""
    if not presence.others(store.storage, key):
        pieces_of(store, key).clear()


def batches_of(store: TableStore, recipes: Mapping[str, Recipe], key: str, again: bool = False) -> ExportBatches:
    """The batches of a subset's export.

    Args:
        again: whether nothing is taken over from the version in force.

    Raises:
        MissingTable: the curated table does not exist.
    """
    asset = Selection.over(recipes, key, ()).asset
    curated = store.header(asset, key)
    if curated is None:
        raise MissingTable(f"{asset} does not exist for {key}: materialize it first")
    return ExportBatches(store, pieces_of(store, key), curated, None if again else store.header(EXPORT, key))


def cuts_of(
    store: TableStore, selection: Selection, recipes: Mapping[str, Recipe], shard: str, selected: pa.Table
) -> list[ClipToCut]:
    """The cuts of what was selected of a shard."""
    options = clip_options(selection, recipes, selection.shards[shard])
    return plan_cuts(selected, partial(_read, store, shard), options, SampleKeys(selection.subset.datasets))


def _read(store: TableStore, shard: str, name: str) -> pa.Table:
    return store.read(name, shard)


@dataclass(frozen=True)
class BatchCutter:
    """Cuts the pieces of a batch, one after the other.

    Attributes:
        store, recipes, settings: what the run has.
        key: the subset's.
        rows: of the batch.
        partial: whether pieces are finished without clips that cannot be read now.
    """

    store: TableStore
    recipes: Mapping[str, Recipe]
    settings: Settings
    key: str
    rows: BatchRows
    partial: bool = False

    @cached_property
    def _selection(self) -> Selection:
        return Selection.over(self.recipes, self.key, self.rows.selected)

    @cached_property
    def _to_cover(self) -> tuple[Cover, ...]:
        params = self._selection.subset.export.clips
        return params.covers if params is not None else ()

    def check(self) -> None:
        """Makes sure of what would fail for every clip: the encoder opens here, and the weights of what finds faces and plates are fetched.

        Raises:
            NoEncoder: it does not open.
            MissingWeights, WrongWeights: they cannot be had.
        """
        params = self._selection.subset.export.clips
        if params is not None and params.cut != "copy":
            ENCODERS[params.encoder].check()
        for cover in self._to_cover:
            cover.fetch()

    @cached_property
    def _covers(self) -> dict[str, pa.Table]:
        """File of each thing that the version in force covers in the batch's clips -> where, schema `COVERS`."""
        header = self.store.header(EXPORT, self.key)
        folder = f"{self.store.folder(EXPORT, self.key)}/{header.stats.get('version')}" if header else ""
        keys = self.rows.earlier["sample_key"].combine_chunks()
        found = {}
        for cover in self._to_cover:
            name = f"{folder}/{cover.file}"
            if folder and self.store.storage.exists(name):
                with self.store.storage.open(name) as file, sealed_parquet.open_file(file) as covers:
                    parts = [
                        b.filter(pc.is_in(b["sample_key"], value_set=keys)) for b in sealed_parquet.row_batches(covers)
                    ]
                    table = pa.Table.from_batches(parts, covers.schema_arrow)
                found[cover.file] = with_thing(table, cover.thing)
        return found

    def __iter__(self) -> Iterator[str]:
        """The shards of the batch."""
        return iter(self.rows.selected)

    def cut(self, shard: str) -> ShardCut:
        """Cuts the piece of a shard; clips of the version in force that would come out the same are kept.

        Raises:
            ReadFault: see `cut_shard`; not if `partial` or the subset's own `partial` allows to go on.
        """
        selection, store = self._selection, self.store
        params = clip_options(selection, self.recipes, selection.shards[shard])
        cuts = cuts_of(store, selection, self.recipes, shard, self.rows.selected[shard])
        earlier = self.rows.earlier if self.rows.earlier.num_rows else None
        covers = None
        if params.covers and earlier is not None:
            known = self._covers
            covers = joined(known.values()) if all(c.file in known for c in params.covers) else None
            earlier = earlier if covers is not None else None
        return cut_shard(
            ShardToCut(shard, cuts, store.read("raw_shards", shard), params, earlier, covers),
            store.storage,
            pieces_of(store, self.key),
            workers=self.settings.workers,
            partial=self.partial or selection.subset.partial is True,
            max_attempts=self.settings.max_attempts,
        )
