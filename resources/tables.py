"""The store of tables: one Parquet file per asset partition, published atomically, with what it was made from in its metadata.

The table is the commit: a partition without its table does not exist. A commit replaces the table that its run has read and no other,
and files of a partition that no table names are removed once no other run at work can name them (`presence`). What belongs here: validating and committing tables. What does not: reading them (`table_reading.py`), what is in them (`curation_assets.schemas`) and
when they are made (`curation_assets.engine.making`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from curation_resources import presence, sealed_parquet
from curation_resources.content_hash import ContentHasher, HashParts, content_hash
from curation_resources.listed_files import ListedFiles, NamedFiles
from curation_resources.parquet_columns import with_columns, with_metadata
from curation_resources.provenance import Provenance
from curation_resources.replace import ANY
from curation_resources.storage_errors import StorageError
from curation_resources.table_contracts import conform
from curation_resources.table_headers import (
    KEPT_FILE,
    MEDIA_NAMED,
    SHEET_FILE,
    Base,
    TableHeader,
    ends_of,
    expected_tag,
    footer_metadata,
    media_columns,
    own_media,
    parts_metadata,
)
from curation_resources.table_reading import READERS, DamagedTable, MissingTable, TableReader

__all__ = ["READERS", "DamagedTable", "MediaGone", "MissingTable", "TableStore"]

GROUP_ROWS = 100_000
READ_ROWS = 65_536
SLICED_ROWS = 16_384
"""Rows of a row group; fewer where a table over all shards is read a shard at a time."""


class MediaGone(StorageError):
    """Media that a table names, or was to name, are not in storage."""


class TableStore(TableReader):
    """Tables and their media below a storage root."""

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
        named = own_media([table])
        media = beside or contract is None or named is not None
        found = self._check_media(asset, partition, [named or {}]) if media else {}
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
        digest: str | HashParts,
        stats: Mapping[str, Any] | None = None,
        base: Base = ANY,
    ) -> TableHeader:
        """Publishes a table that was written to a local Parquet file group by group, in key order; then sweeps its folder as `commit` does, if it names media.

        The file is copied group by group so that its footer carries the metadata; its contract is checked on the way.

        Args:
            digest: the content hash, from `file_content_hash`; or what it is made of, from `file_hash_parts`, which the footer keeps then, so that
                columns can be replaced (`commit_columns`).
            base: as for `commit`.

        Raises:
            MediaGone: media that it names are gone or cut short; nothing is written.
            Superseded: another run has committed since; nothing is written.
        """
        contract = self.contracts[asset]
        presence.ensure(self.storage)
        with pq.ParquetFile(local) as source:
            rows, columns = source.metadata.num_rows, media_columns(source.schema_arrow.names)

            def parts() -> Iterator[pa.Table]:
                return (pa.Table.from_batches([b]) for b in sealed_parquet.row_batches(source, READ_ROWS, columns))

            named = (
                own_media(parts() if rows else [source.schema_arrow.empty_table()], MEDIA_NAMED) if columns else None
            )
            found = self._check_media(asset, partition, map(ends_of, parts())) if columns else {}
            said = digest if isinstance(digest, str) else digest.hexdigest()
            header = TableHeader(
                asset, partition, rows, provenance, provenance.fingerprint, said, dict(stats or {}), media=named
            )
            schema = contract.arrow.with_metadata({**footer_metadata(header), **parts_metadata(digest)})

            def write(file: BinaryIO) -> None:
                with pq.ParquetWriter(file, schema, **sealed_parquet.WRITING) as writer:
                    for group in range(source.num_row_groups):
                        table = conform(source.read_row_group(group), contract)
                        writer.write_table(table.replace_schema_metadata(schema.metadata))
                file.flush()
                sealed_parquet.seal(file)

            tag = self.storage.replace(self.path(asset, partition), write, expected_tag(base))
        header = replace(header, tag=tag)
        if columns:
            self.sweep(header, found)
        return header

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
        """Publishes a table without media that was written to a local file as it is to lie in storage (`WrittenTable`): only its footer becomes another one.

        Args:
            parts: what its content hash is made of.
            base: as for `commit`.

        Raises:
            Superseded: another run has committed since; nothing is written.
        """
        presence.ensure(self.storage)
        digest = parts.hexdigest()
        header = TableHeader(
            asset, partition, parts.rows, provenance, provenance.fingerprint, digest, dict(stats or {})
        )

        def write(file: BinaryIO) -> None:
            with open(local, "rb") as written:
                with_metadata(written, file, {**footer_metadata(header), **parts_metadata(parts)})

        return replace(header, tag=self.storage.replace(self.path(asset, partition), write, expected_tag(base)))

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
        """Publishes a table without media that comes in parts, of which one is held at a time; each is held against the contract by itself.

        Args:
            tables: its rows, in key order over all parts; asked for twice, for the content hash and to be written.
            base: as for `commit`.
            before: is told the content hash before the table is there.

        Raises:
            ContractError, Superseded: as `commit`.
        """
        contract = self.contracts[asset]
        presence.ensure(self.storage)
        hasher = ContentHasher(contract.arrow, contract.volatile, contract.later)
        for table in tables():
            hasher.update(table)
        digest = hasher.hexdigest()
        if before is not None:
            before(digest)
        header = TableHeader(
            asset, partition, hasher.rows, provenance, provenance.fingerprint, digest, dict(stats or {})
        )
        form = contract.arrow.with_metadata(footer_metadata(header))
        rows = SLICED_ROWS if contract.key[0] == "shard" else GROUP_ROWS
        size = 0

        def write(file: BinaryIO) -> None:
            nonlocal size
            with pq.ParquetWriter(file, form, **sealed_parquet.WRITING) as writer:
                for table in tables():
                    writer.write_table(conform(table, contract).replace_schema_metadata(form.metadata), rows)
            file.flush()
            sealed_parquet.seal(file)
            size = file.seek(0, 2)

        tag = self.storage.replace(self.path(asset, partition), write, expected_tag(base))
        return replace(header, tag=tag, size=size)

    def file_content_hash(self, asset: str, local: Path) -> str:
        """The content hash of a table in a local Parquet file that is in key order."""
        return self.file_hash_parts(asset, local).hexdigest()

    def file_hash_parts(self, asset: str, local: Path) -> HashParts:
        """What the content hash of a table, or of some of its columns, in a local Parquet file is made of; rows are in key order."""
        contract = self.contracts[asset]
        with pq.ParquetFile(local) as file:
            names = set(file.schema_arrow.names)
            hasher = ContentHasher(
                pa.schema([f for f in contract.arrow if f.name in names]), contract.volatile, contract.later
            )
            for batch in sealed_parquet.row_batches(file):
                hasher.update(batch)
        return hasher.parts()

    def form(self, asset: str, partition: str | None = None) -> pa.Schema:
        """The columns of a table as its file has them, with the entries of its footer. Raises as `batches`."""
        with self._open(asset, partition) as file:
            return file.schema_arrow

    def commit_columns(
        self,
        base: TableHeader,
        local: Path,
        provenance: Provenance,
        parts: HashParts,
        stats: Mapping[str, Any] | None = None,
    ) -> TableHeader:
        """Publishes the table of `base` with other values in some columns; the bytes of the others are copied.

        Args:
            base: the table in force, which alone may be replaced.
            local: a Parquet file with the columns, in the order and the row groups of the table. That they fit its contract is the caller's to know.
            parts: what the content hash of the whole is made of.

        Raises:
            Superseded: another run has committed since; nothing is written.
            DamagedTable: the table in force is not what was committed.
        """
        asset, partition = base.asset, base.partition
        presence.ensure(self.storage)
        header = TableHeader(
            asset, partition, base.rows, provenance, provenance.fingerprint, parts.hexdigest(), dict(stats or {})
        )
        metadata = {**footer_metadata(header), **parts_metadata(parts)}
        path = self.path(asset, partition)

        def write(file: BinaryIO) -> None:
            with self._named(asset, partition), self.storage.open(path) as old, open(local, "rb") as new:
                sealed_parquet.verify_footer(old)
                with_columns(old, new, file, metadata)

        return replace(header, tag=self.storage.replace(path, write, expected_tag(base)))

    def media(self, header: TableHeader) -> Mapping[str, int]:
        """Own tar, or other file that belongs to a table in storage -> bytes that it must have at least; from its rows where its footer does not say."""
        found: dict[str, int] = {}
        for part in self.media_parts(header):
            found |= {tar: max(end, found.get(tar, 0)) for tar, end in part.items()}
        return found

    def media_parts(self, header: TableHeader) -> Iterator[Mapping[str, int]]:
        """The same part by part, of a table whose footer does not say from some of its rows at a time; a tar may come more than once."""
        yield header.files
        contract = self.contracts.get(header.asset)
        if header.media is not None or contract is None or "tar" not in contract.arrow.names:
            yield header.media or {}
            return
        columns = media_columns(self.form(header.asset, header.partition).names)
        for batch in self.batches(header.asset, columns, READ_ROWS, header.partition):
            yield ends_of(pa.Table.from_batches([batch]))

    def lost_media(self, header: TableHeader, found: Mapping[str, int] | None = None) -> list[str]:
        """Own tars of a table that are gone or cut short, told from one listing of each folder that it names.

        Args:
            found: what lies in the partition's folder, if it was listed already: path -> size.
        """
        return sorted(self.looked_at(header, found).lost)

    def looked_at(self, header: TableHeader, found: Mapping[str, int] | None = None) -> NamedFiles:
        """What became of the files of a table: counted, and looked for as `lost_media` does."""
        listed = ListedFiles(self.storage)
        if found is not None:
            listed.know(self.folder(header.asset, header.partition), found)
        return listed.look(self.media_parts(header), found or {})

    def _files(self, folder: str) -> dict[str, int]:
        """Path -> size of the files directly in a folder."""
        return {f"{folder}/{name}": size for name, (size, _) in self.storage.entries(folder).items()}

    def files(self, asset: str, partition: str | None) -> dict[str, int]:
        """Path -> size of what lies in a partition's folder: tars, ledgers, journals; nothing of an unpartitioned table."""
        return {} if partition is None else self._files(self.folder(asset, partition))

    def _check_media(self, asset: str, partition: str | None, named: Iterable[Mapping[str, int]]) -> dict[str, int]:
        """What lies in the partition's folder, after checking that every tar that is named is there, long enough and durable."""
        found = self.files(asset, partition)
        listed = ListedFiles(self.storage)
        listed.know(self.folder(asset, partition), found)
        looked = listed.look(named, {})
        for lost, end in sorted(looked.lost.items())[:1]:
            size = found.get(lost)
            said = (
                "vanished while it was made; it is made again by the next run"
                if size is None
                else f"has {size} bytes where {end} are named; its writing was not finished"
            )
            raise MediaGone(f"{asset} {partition or ''}: {lost} {said}")
        for folder in listed.folders if looked.count else ():
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
        folder = self.folder(header.asset, header.partition)
        named = {p for part in self.media_parts(header) for p in part if p in found} if found else set()
        beside = {f"{folder}/{KEPT_FILE}", *([f"{folder}/{SHEET_FILE}"] if header.sheet else [])}
        orphans = sorted(path for path in found if path not in named and path not in beside)
        if not orphans or header.tag is None or presence.others(self.storage, header.partition):
            return []
        if self.storage.tag(self.path(header.asset, header.partition)) != header.tag:
            return []
        self.storage.remove_all(orphans)
        return orphans
