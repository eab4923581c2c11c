"""The tables as one run sees them: what it has asked of storage once, it does not ask again.

A header that was read counts until the run itself commits the table. That another run commits meanwhile is seen when the table's rows are read
whole, which must be those of the header, and when a table is replaced, which must be the one that was read: then all that is known of the
partition is forgotten, and the partition is tried again (`making.over_others`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from curation_assets.engine.slices import hashes_in
from curation_resources import sealed_parquet
from curation_resources.content_hash import HashParts
from curation_resources.provenance import Provenance
from curation_resources.replace import ANY, Superseded
from curation_resources.table_headers import PREFIX, TableHeader
from curation_resources.tables import Base, DamagedTable, MediaGone, MissingTable, TableStore

HEADERS = 4096
"""Headers that are remembered. Those of a shard may have 10 kB of hashes of videos."""

CONTENT_HASH = f"{PREFIX}content_hash".encode()

Key = tuple[str, str | None]


class RunTables(TableStore):
    """A store for one run, whose partitions it takes one after the other."""

    def __init__(self, store: TableStore) -> None:
        super().__init__(store.storage, store.contracts)
        self._headers: OrderedDict[Key, TableHeader | None] = OrderedDict()
        self._slices: dict[str, tuple[TableHeader | None, Mapping[str, str]]] = {}
        self._gathered: dict[str, Mapping[str, str]] = {}
        self._opened: dict[str, pq.ParquetFile] = {}
        self._last: tuple[Key, pa.Table] | None = None

    def header(self, asset: str, partition: str | None = None) -> TableHeader | None:
        key = (asset, partition)
        if partition is None:  # of few tables, which other runs commit while this one works
            return super().header(asset)
        if key not in self._headers:
            self._remember(key, super().header(asset, partition))
        self._headers.move_to_end(key)
        return self._headers[key]

    def _remember(self, key: Key, header: TableHeader | None) -> None:
        self._headers[key] = header
        if len(self._headers) > HEADERS:
            self._headers.popitem(last=False)

    def _remembered(self, header: TableHeader) -> TableHeader:
        """The header of a table by shard or subset that was committed, which is known from now on."""
        if header.partition is not None:
            self._remember((header.asset, header.partition), header)
        return header

    def forget(self, partition: str | None) -> None:
        """Forgets what is known of a partition."""
        for key in [k for k in self._headers if k[1] == partition]:
            del self._headers[key]
        for asset in {*self._slices, *self._gathered, *self._opened}:
            self._let_go(asset)
        self._last = None

    def _let_go(self, asset: str) -> None:
        """Forgets the slices of a table over all shards, and closes its file."""
        self._slices.pop(asset, None)
        self._gathered.pop(asset, None)
        if asset in self._opened:
            self._opened.pop(asset).close(force=True)

    def slice_hash(self, asset: str, shard: str) -> str | None:
        """Content hash of a shard's rows in a table over all shards; None if it has none there."""
        if asset not in self._slices:
            header = self.usable_header(asset)
            self._slices[asset] = (header, hashes_in(self, header))
        return self._slices[asset][1].get(shard)

    def gathered(self, asset: str, known: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        """What a table over all shards knows of them, asked once."""
        if asset not in self._gathered:
            self._gathered[asset] = known()
        return self._gathered[asset]

    def rows_with(self, asset: str, column: str, value: str) -> pa.Table:
        """As `TableStore.rows_with`, from a file that is opened once for all shards: the run reads its footer once.

        Raises:
            Superseded: another run has committed since the table's slices were looked up.
        """
        if asset in self._opened:
            try:
                return self._rows_with(asset, column, value)
            except (DamagedTable, MissingTable):  # the footer that was read is of a file that is no more
                self._opened.pop(asset).close(force=True)
        opened = self._open(asset, None)
        said = (opened.schema_arrow.metadata or {}).get(CONTENT_HASH, b"").decode()
        known = self._slices[asset][0] if asset in self._slices else None
        if known is not None and said != known.content_hash:
            opened.close(force=True)
            self._let_go(asset)
            raise Superseded(f"{self.path(asset)} was written by another run in the meantime")
        self._opened[asset] = opened
        return self._rows_with(asset, column, value)

    def _rows_with(self, asset: str, column: str, value: str) -> pa.Table:
        with self._named(asset, None), sealed_parquet.plainly():
            return sealed_parquet.rows_with(self._opened[asset], column, value).replace_schema_metadata(None)

    def read(
        self,
        asset: str,
        partition: str | None = None,
        columns: Sequence[str] | None = None,
        filters: ds.Expression | None = None,
    ) -> pa.Table:
        """As `TableStore.read`. What this run committed last is at hand.

        Raises:
            Superseded: another run has committed since the table's header was read.
        """
        key = (asset, partition)
        if self._last is not None and self._last[0] == key and filters is None:
            return self._last[1] if columns is None else self._last[1].select(list(columns))
        if columns is not None or filters is not None or self._headers.get(key) is None:
            return super().read(asset, partition, columns, filters)
        table, content_hash = self.read_with_hash(asset, partition)
        known = self._headers[key]
        if known is not None and content_hash != known.content_hash:
            self.forget(partition)
            raise Superseded(f"{self.path(asset, partition)} was written by another run in the meantime")
        return table

    def commit(
        self,
        asset: str,
        partition: str | None,
        table: pa.Table,
        provenance: Provenance,
        stats: Mapping[str, Any] | None = None,
        base: Base = ANY,
        beside: bool = False,
    ) -> TableHeader:
        table = self.prepare(asset, table)
        with self._committing(asset, partition):
            header = super().commit(asset, partition, table, provenance, stats, base, beside)
        if partition is not None:
            self._last = ((asset, partition), table)
        return self._remembered(header)

    @contextmanager
    def _committing(self, asset: str, partition: str | None) -> Iterator[None]:
        """Forgets what is known of the table that is replaced; of the whole partition, if another run has committed it or media are gone."""
        try:
            yield
        except (Superseded, MediaGone):
            self.forget(partition)
            raise
        self._let_go(asset)
        if self._last is not None and self._last[0] == (asset, partition):
            self._last = None

    def commit_file(
        self,
        asset: str,
        partition: str | None,
        local: Path,
        provenance: Provenance,
        digest: str | HashParts,
        stats: Mapping[str, Any] | None = None,
        base: Base = ANY,
    ) -> TableHeader:
        with self._committing(asset, partition):
            return self._remembered(super().commit_file(asset, partition, local, provenance, digest, stats, base))

    def commit_written(
        self,
        asset: str,
        partition: str | None,
        local: Path,
        provenance: Provenance,
        parts: HashParts,
        stats: Mapping[str, Any] | None = None,
        base: Base = ANY,
    ) -> TableHeader:
        with self._committing(asset, partition):
            return self._remembered(super().commit_written(asset, partition, local, provenance, parts, stats, base))

    def commit_rows(
        self,
        asset: str,
        partition: str | None,
        tables: Callable[[], Iterable[pa.Table]],
        provenance: Provenance,
        stats: Mapping[str, Any] | None = None,
        base: Base = ANY,
        before: Callable[[str], Any] | None = None,
    ) -> TableHeader:
        with self._committing(asset, partition):
            return self._remembered(super().commit_rows(asset, partition, tables, provenance, stats, base, before))

    def commit_columns(
        self,
        base: TableHeader,
        local: Path,
        provenance: Provenance,
        parts: HashParts,
        stats: Mapping[str, Any] | None = None,
    ) -> TableHeader:
        with self._committing(base.asset, base.partition):
            return self._remembered(super().commit_columns(base, local, provenance, parts, stats))
