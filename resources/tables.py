"""The store of tables: one Parquet file per asset partition, published atomically, with what it was made from in its metadata.

The table is the commit: a partition without its table does not exist. A commit replaces the table that its run has read and no other,
and files of a partition that no table names are removed once no other run at work can name them (`presence`). What belongs here: reading, validating and committing tables. What does not: what is in them (`curation_assets.schemas`) and
when they are made (`curation_assets.engine.making`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from curation_resources import presence, sealed_parquet
from curation_resources.content_hash import ContentHasher, content_hash
from curation_resources.provenance import Provenance
from curation_resources.replace import ANY
from curation_resources.sealed_parquet import Damaged
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.table_contracts import TableContract, conform, remedy
from curation_resources.table_headers import (
    PREFIX,
    Base,
    TableHeader,
    expected_tag,
    footer_metadata,
    own_media,
    read_header,
)

READERS = 16
"""Threads that read table footers side by side."""
GROUP_ROWS = 100_000
SLICED_ROWS = 16_384
"""Rows of a row group; fewer where a table over all shards is read a shard at a time."""


class MissingTable(LookupError):
    """A table that does not exist yet."""


class DamagedTable(StorageError):
    """A table whose bytes are not those that were committed; the message names it and the command that makes it again."""


class MediaGone(StorageError):
    """Media that a table names, or was to name, are not in storage."""


class TableStore:
    """Tables and their media below a storage root.

    Args:
        storage: where they lie.
        contracts: asset -> contract. An asset without one is stored as it comes.
    """

    def __init__(self, storage: Storage, contracts: Mapping[str, TableContract]) -> None:
        self.storage, self.contracts = storage, contracts

    def path(self, asset: str, partition: str | None = None) -> str:
        """Path of a table, relative to the storage root."""
        return f"{asset}.parquet" if partition is None else f"{asset}/{partition}.parquet"

    def folder(self, asset: str, partition: str | None = None) -> str:
        """Folder of a partition's media, relative to the storage root."""
        return asset if partition is None else f"{asset}/{partition}"

    def partitions(self, asset: str) -> list[str]:
        """Keys of the partitions that exist, sorted."""
        return [
            n.removesuffix(".parquet")
            for n in self.storage.list(asset)
            if n.endswith(".parquet") and not n.startswith(".")
        ]

    def exists(self, asset: str, partition: str | None = None) -> bool:
        return self.storage.tag(self.path(asset, partition)) is not None

    def _open(self, asset: str, partition: str | None) -> pq.ParquetFile:
        """A table's file, its footer verified."""
        with self._named(asset, partition):
            fs, name = self.storage.filesystem(self.path(asset, partition))
            fs.invalidate_cache(fs._parent(name))
            return sealed_parquet.open_file(fs.open(name, "rb", block_size=1 << 20))

    @contextmanager
    def _named(self, asset: str, partition: str | None) -> Iterator[None]:
        """Within the block, what goes wrong with a table's file is said with the table's name and what to do."""
        uri = self.storage.uri(self.path(asset, partition))
        try:
            yield
        except FileNotFoundError as error:
            which = f" for {partition}" if partition else ""
            raise MissingTable(f"{asset} does not exist{which}: materialize it first ({uri})") from error
        except (Damaged, pa.ArrowInvalid) as error:
            raise DamagedTable(
                f"{uri} is damaged ({error}); {remedy(asset, partition, self.contracts.get(asset))}"
            ) from error

    def header(self, asset: str, partition: str | None = None) -> TableHeader | None:
        """What the table says of itself; None if it does not exist.

        Raises:
            DamagedTable: it exists and cannot be read.
        """
        path = self.path(asset, partition)
        try:
            with self._named(asset, partition):
                tail, size, tag = self.storage.tail(path, sealed_parquet.TAIL)
                footer = sealed_parquet.read_footer(
                    lambda n: tail if len(tail) in (n, size) else self.storage.tail(path, n)[0], size
                )
                return replace(read_header(asset, partition, footer, tag), size=size)
        except MissingTable:
            return None

    def usable_header(self, asset: str, partition: str | None = None) -> TableHeader | None:
        """As `header`; None also for a damaged table, which is to be made again like one that is missing."""
        return self.standing(asset, partition)[0]

    def check(self, asset: str, partition: str | None = None) -> None:
        """Holds a table's bytes against its seal, for those who read its file in their own way.

        Raises:
            MissingTable: it does not exist.
            DamagedTable: its bytes are not those that were committed.
        """
        with self._named(asset, partition), self.storage.open(self.path(asset, partition)) as file:
            sealed_parquet.verify_file(file)

    def standing(self, asset: str, partition: str | None = None) -> tuple[TableHeader | None, Base]:
        """(the header of the table in force, None also of a damaged one; what a commit may replace: of a damaged table, whatever there is)."""
        try:
            header = self.header(asset, partition)
        except DamagedTable:
            return None, ANY
        return header, header

    def headers(self, asset: str, partitions: Sequence[str] | None = None) -> dict[str, TableHeader]:
        """Headers of the partitions that exist, read side by side.

        Raises:
            DamagedTable: a table cannot be read.
        """
        keys = self.partitions(asset) if partitions is None else list(partitions)
        with ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda k: self.header(asset, k), keys)
            return {k: h for k, h in zip(keys, found, strict=True) if h is not None}

    def read(
        self,
        asset: str,
        partition: str | None = None,
        columns: Sequence[str] | None = None,
        filters: ds.Expression | None = None,
    ) -> pa.Table:
        """A table, or some of its columns and the rows that pass `filters`. Read whole, it is held against its seal byte by byte;
        read in part, its footer is, and its pages against their checksums.

        Raises:
            MissingTable: it does not exist.
            DamagedTable: its bytes are not those that were committed.
        """
        if columns is None and filters is None:
            return self.read_with_hash(asset, partition)[0]
        with self._open(asset, partition) as file, self._named(asset, partition), sealed_parquet.plainly():
            if filters is None:
                return file.read(columns=list(columns or ())).replace_schema_metadata(None)
            fs, name = self.storage.filesystem(self.path(asset, partition))
            return (
                ds.dataset(name, format=sealed_parquet.FORMAT, filesystem=fs)
                .to_table(columns=columns, filter=filters)
                .replace_schema_metadata(None)
            )

    def rows_with(self, asset: str, column: str, value: str) -> pa.Table:
        """The rows of an unpartitioned table in which a column has a value; of one in order of it, from few requests. Raises as `read`."""
        with self._open(asset, None) as file, self._named(asset, None), sealed_parquet.plainly():
            return sealed_parquet.rows_with(file, column, value).replace_schema_metadata(None)

    def read_with_hash(self, asset: str, partition: str | None = None) -> tuple[pa.Table, str]:
        """A whole table, held against its seal byte by byte, and the content hash that its footer gives. Raises as `read`."""
        with self._named(asset, partition):
            table = sealed_parquet.read_bytes(self.storage.read(self.path(asset, partition)))
        said = (table.schema.metadata or {}).get(f"{PREFIX}content_hash".encode(), b"")
        return table.replace_schema_metadata(None), said.decode()

    def batches(
        self, asset: str, columns: Sequence[str] | None = None, rows: int = 16_384, partition: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a table in order, so many at a time; pages are held against their checksums.

        Raises:
            MissingTable: it does not exist.
            DamagedTable: its bytes are not those that were committed.
        """
        with self._open(asset, partition) as file, self._named(asset, partition), sealed_parquet.plainly():
            yield from file.iter_batches(rows, columns=list(columns) if columns is not None else None)

    def dataset(self, asset: str, partitions: Sequence[str] | None = None) -> ds.Dataset:
        """A lazy dataset over the partitions that exist; empty with the asset's schema if none does.

        Raises:
            DamagedTable: the footer of one is not what was committed.
        """
        fs, _ = self.storage.filesystem(asset)
        keys = self.partitions(asset) if partitions is None else list(partitions)
        names = [self.storage.filesystem(self.path(asset, k))[1] for k in keys]
        contract = self.contracts.get(asset)
        if not names:
            if contract is None:
                raise MissingTable(f"{asset} has no partition yet: materialize it first")
            return ds.dataset(contract.arrow.empty_table())
        self.headers(asset, keys)
        return ds.dataset(
            names, format=sealed_parquet.FORMAT, filesystem=fs, schema=contract.arrow if contract else None
        )

    def prepare(self, asset: str, table: pa.Table) -> pa.Table:
        """`table` as its contract wants it: declared columns in order and type, sorted by key, checked.

        Raises:
            ContractError: names table, column and the first row that breaks the contract.
        """
        contract = self.contracts.get(asset)
        return table if contract is None else conform(table, contract)

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
        """Publishes a table atomically, then sweeps the partition's folder (see `sweep`) if it may have one.

        Args:
            base: the table that was in force when this one was begun, which alone may be replaced.
            beside: whether files may lie in its folder although it names no media: journals. Of other tables without media, nothing is listed.

        Raises:
            ContractError: the table breaks its contract; nothing is written.
            MediaGone: media that it names are gone or cut short; nothing is written.
            Superseded: another run has committed since; nothing is written.
        """
        contract = self.contracts.get(asset)
        table = self.prepare(asset, table)
        digest = content_hash(table, skip=contract.volatile, later=contract.later) if contract else content_hash(table)
        presence.ensure(self.storage)
        named = own_media(table)
        found = self._check_media(asset, partition, named) if beside or contract is None or named is not None else {}
        header = TableHeader(
            asset, partition, table.num_rows, provenance, provenance.fingerprint, digest, dict(stats or {}), media=named
        )
        described = table.replace_schema_metadata(footer_metadata(header))
        rows = SLICED_ROWS if contract and contract.key[0] == "shard" else GROUP_ROWS
        size = 0

        def write(file: BinaryIO) -> None:
            nonlocal size
            sealed_parquet.write_table(described, file, row_group_size=rows)
            size = file.seek(0, 2)

        tag = self.storage.replace(self.path(asset, partition), write, expected_tag(base))
        header = replace(header, tag=tag, size=size)
        self.sweep(header, found)
        return header

    def commit_file(
        self,
        asset: str,
        partition: str | None,
        local: Path,
        provenance: Provenance,
        digest: str,
        stats: Mapping[str, Any] | None = None,
        base: Base = ANY,
    ) -> TableHeader:
        """Publishes a table without media that was written to a local Parquet file group by group, in key order.

        The file is copied group by group so that its footer carries the metadata; its contract is checked on the way.

        Args:
            digest: the content hash, from `file_content_hash`.
            base: as for `commit`.

        Raises:
            Superseded: another run has committed since; nothing is written.
        """
        contract = self.contracts[asset]
        presence.ensure(self.storage)
        with pq.ParquetFile(local) as source:
            rows = source.metadata.num_rows
            header = TableHeader(asset, partition, rows, provenance, provenance.fingerprint, digest, dict(stats or {}))
            schema = contract.arrow.with_metadata(footer_metadata(header))

            def write(file: BinaryIO) -> None:
                with pq.ParquetWriter(file, schema, **sealed_parquet.WRITING) as writer:
                    for group in range(source.num_row_groups):
                        table = conform(source.read_row_group(group), contract)
                        writer.write_table(table.replace_schema_metadata(schema.metadata))
                file.flush()
                sealed_parquet.seal(file)

            tag = self.storage.replace(self.path(asset, partition), write, expected_tag(base))
        return replace(header, tag=tag)

    def file_content_hash(self, asset: str, local: Path) -> str:
        """The content hash of a table in a local Parquet file that is in key order."""
        contract = self.contracts[asset]
        hasher = ContentHasher(contract.arrow, contract.volatile, contract.later)
        with pq.ParquetFile(local) as file:
            for batch in file.iter_batches():
                hasher.update(batch)
        return hasher.hexdigest()

    def media(self, header: TableHeader) -> Mapping[str, int]:
        """Own tar -> bytes that it must have at least, of a table in storage; from its rows where its footer does not say."""
        contract = self.contracts.get(header.asset)
        if header.media is not None or contract is None or "tar" not in contract.arrow.names:
            return header.media or {}
        return own_media(self.read(header.asset, header.partition, columns=["tar", "offset", "size"])) or {}

    def lost_media(self, header: TableHeader, found: Mapping[str, int] | None = None) -> list[str]:
        """Own tars of a table that are gone or cut short, told from one listing of each folder that it names.

        Args:
            found: what lies in the partition's folder, if it was listed already: path -> size.
        """
        named = self.media(header)
        there = dict(found or {})
        listed = {self.folder(header.asset, header.partition)} if found is not None else set()
        for folder in sorted({t.rsplit("/", 1)[0] for t in named} - listed):
            there |= self._files(folder)
        return [tar for tar, end in sorted(named.items()) if there.get(tar, -1) < end]

    def _files(self, folder: str) -> dict[str, int]:
        """Path -> size of the files directly in a folder."""
        return {f"{folder}/{name}": size for name, (size, _) in self.storage.entries(folder).items()}

    def files(self, asset: str, partition: str | None) -> dict[str, int]:
        """Path -> size of what lies in a partition's folder: tars, ledgers, journals; nothing of an unpartitioned table."""
        return {} if partition is None else self._files(self.folder(asset, partition))

    def _check_media(self, asset: str, partition: str | None, named: Mapping[str, int] | None) -> dict[str, int]:
        """What lies in the partition's folder, after checking that every tar that is named is there, long enough and durable."""
        found = self.files(asset, partition)
        header = TableHeader(asset, partition, 0, Provenance(""), "", "", {}, media=named or {})
        lost = self.lost_media(header, found)
        if lost:
            size = found.get(lost[0])
            said = (
                "vanished while it was made; it is made again by the next run"
                if size is None
                else f"has {size} bytes where {(named or {})[lost[0]]} are named; its writing was not finished"
            )
            raise MediaGone(f"{asset} {partition or ''}: {lost[0]} {said}")
        for folder in {t.rsplit("/", 1)[0] for t in named or ()}:
            self.storage.sync_folder(folder)
        return found

    def sweep(self, header: TableHeader, found: Mapping[str, int]) -> list[str]:
        """Removes what lies in a partition's folder and the table does not name, unless another run at work may still name or read it.

        Whoever wrote a file was at work before it was there. So if nobody else is at work now, only the table in force can name it, and
        that is looked at last: if it is no longer the one of `header`, nothing is removed.

        Args:
            header: of the table in force, with its tag.
            found: from `files`, listed before the table was committed or after its header was read.

        Returns:
            What was removed.
        """
        named = self.media(header)
        orphans = sorted(path for path in found if path not in named)
        if not orphans or header.tag is None or presence.others(self.storage, header.partition):
            return []
        if self.storage.tag(self.path(header.asset, header.partition)) != header.tag:
            return []
        self.storage.remove_all(orphans)
        return orphans
