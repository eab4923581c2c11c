"""Tables for reports that go on where one is damaged."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as ds

from curation_resources.table_headers import TableHeader
from curation_resources.tables import DamagedTable, TableStore


class Tolerant(TableStore):
    """A store to which damaged tables are missing ones, for reports that go on; what is wrong with them is kept."""

    def __init__(self, store: TableStore) -> None:
        super().__init__(store.storage, store.contracts)
        self._damaged: dict[tuple[str, str | None], str] = {}

    @property
    def damaged(self) -> list[str]:
        """A sentence for each damaged table that was asked for."""
        return list(self._damaged.values())

    def header(self, asset: str, partition: str | None = None) -> TableHeader | None:
        try:
            return super().header(asset, partition)
        except DamagedTable as error:
            self._damaged[asset, partition] = str(error)
            return None

    def exists(self, asset: str, partition: str | None = None) -> bool:
        return self.header(asset, partition) is not None

    def read(
        self,
        asset: str,
        partition: str | None = None,
        columns: Sequence[str] | None = None,
        filters: ds.Expression | None = None,
    ) -> pa.Table:
        """As of any store, but empty where the table is damaged."""
        try:
            return super().read(asset, partition, columns, filters)
        except DamagedTable as error:
            self._damaged[asset, partition] = str(error)
            empty = self.contracts[asset].arrow.empty_table()
            return empty if columns is None else empty.select(list(columns))
