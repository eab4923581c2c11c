"""The tables of several partitions as one input of a Dagster asset."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from curation_resources.tables import TableStore


class ShardTables(Mapping[str, pa.Table]):
    """The tables of an asset for the partitions of a run, read when asked for. Annotate an input with it to receive one."""

    def __init__(self, store: TableStore, asset: str, partitions: Collection[str]) -> None:
        self.store, self.asset, self._keys = store, asset, list(partitions)

    def __getitem__(self, partition: str) -> pa.Table:
        if partition not in self._keys:
            raise KeyError(partition)
        return self.store.read(self.asset, partition)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)
