"""The pieces of a version that is about to be written: all of them are there, and one is read at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa

from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.publish.cutting.pieces import COVERS_SUFFIX
from curation_assets.publish.writing.batch_rows import EXPORT
from curation_assets.publish.writing.clip_batches import batches_of, cuts_of, pieces_of
from curation_assets.recipes import Recipe
from curation_resources.storage_errors import StorageError
from curation_resources.tables import TableStore


class FinishedPieces:
    """The pieces of a subset's export, in order of shards.

    Args:
        store, recipes: what the run has.
        key: the subset's.
        again: whether they were cut with nothing taken over from the version in force.

    Attributes:
        names: shard -> name of its piece, of those that `found` has given.
    """

    def __init__(self, store: TableStore, recipes: Mapping[str, Recipe], key: str, again: bool) -> None:
        self._store, self._recipes, self._key = store, recipes, key
        self._batches, self._pieces = batches_of(store, recipes, key, again), pieces_of(store, key)
        self.names: dict[str, str] = {}

    def found(self) -> Iterator[pa.Table]:
        """Each piece, once it is known to be there.

        Raises:
            StorageError: one is missing.
        """
        for number, shards in enumerate(self._batches.shards):
            selection, rows = Selection.over(self._recipes, self._key, shards), self._batches.read(number)
            for shard in shards:
                cuts = cuts_of(self._store, selection, self._recipes, shard, rows.selected[shard])
                piece = self._pieces.get(shard, cuts)
                if piece is None:
                    raise self._gone(shard)
                self.names[shard] = self._pieces.name(shard, cuts)
                yield piece

    def __iter__(self) -> Iterator[tuple[str, pa.Table, pa.Table]]:
        """(shard, its selected rows, its piece) of each that was found."""
        for number, shards in enumerate(self._batches.shards):
            rows = self._batches.read(number)
            for shard in shards:
                yield shard, rows.selected[shard], self._read(shard, ".parquet")

    def covers(self) -> Iterator[pa.Table]:
        """Where faces and plates of each shard's clips were covered."""
        return (self._read(shard, COVERS_SUFFIX) for shard in self.names)

    def _read(self, shard: str, suffix: str) -> pa.Table:
        found = self._pieces.read(f"{self.names[shard]}{suffix}")
        if found is None:
            raise self._gone(shard)
        return found

    def _gone(self, shard: str) -> StorageError:
        return StorageError(f"the clips of {shard} were cut but are gone; run {EXPORT} of {self._key} again")
