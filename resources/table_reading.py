"""Reading tables: one Parquet file per asset partition, held against its seal, its footer or its pages' checksums.

What belongs here: whatever leaves a table as it is. What does not: committing one (`tables.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from curation_resources import sealed_parquet
from curation_resources.provenance import combined_hash
from curation_resources.replace import ANY
from curation_resources.sealed_parquet import Damaged
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.table_contracts import TableContract, remedy
from curation_resources.table_headers import PREFIX, Base, TableHeader, read_header

WHOLE_ROWS, SAMPLED_GROUPS = 1_000_000, 8
"""A table of more rows is sampled by so many of its row groups, at most."""
READERS = 16
"""Threads that read table footers side by side."""


class MissingTable(LookupError):
    """A table that does not exist yet."""


class DamagedTable(StorageError):
    """A table whose bytes are not those that were committed; the message names it and the command that makes it again."""


class TableReader:
    """Tables below a storage root, to be read.

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

    def _open(self, asset: str, partition: str | None, coded: Sequence[str] = ()) -> pq.ParquetFile:
        """A table's file, its footer verified; the columns `coded` are read as codes and a dictionary."""
        with self._named(asset, partition):
            fs, name = self.storage.filesystem(self.path(asset, partition))
            fs.invalidate_cache(fs._parent(name))
            return sealed_parquet.open_file(fs.open(name, "rb", block_size=1 << 20), coded)

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

    def hashes(self, asset: str, partitions: Sequence[str] | None = None) -> dict[str, str]:
        """Content hashes of the partitions that exist. Raises as `headers`."""
        return {k: h.content_hash for k, h in self.headers(asset, partitions).items()}

    def combined_hash(self, asset: str, partitions: Sequence[str], stat: str | None = None) -> str | None:
        """One content hash for those of some partitions that exist; None if none does.

        Args:
            stat: only of tables whose stats have this, and not as nothing.

        Raises:
            DamagedTable: a table cannot be read.
        """
        found = self.headers(asset, partitions)
        hashes = {k: h.content_hash for k, h in found.items() if stat is None or h.stats.get(stat)}
        return combined_hash(hashes) if hashes else None

    def remembered(self, name: str, content_hash: str, compute: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
        """What is worked out from a table. A store that remembers does it once for each content of the table.

        Args:
            name: of what is remembered.
            content_hash: of the table.
            compute: works it out.
        """
        return compute()

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

    def sample(self, header: TableHeader, columns: Sequence[str]) -> pa.Table:
        """Some columns of a table; of one with more than `WHOLE_ROWS` rows, those of some row groups from all over it. Raises as `batches`."""
        asset, key = header.asset, header.partition
        if header.rows <= WHOLE_ROWS:
            return self.read(asset, key, columns)
        groups = self.row_groups(asset, key)
        chosen = sorted({groups * n // SAMPLED_GROUPS for n in range(SAMPLED_GROUPS)})
        return pa.concat_tables(self.groups(asset, columns, key, chosen))

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
            yield from sealed_parquet.row_batches(file, rows, columns)

    def row_groups(self, asset: str, partition: str | None = None) -> int:
        """How many row groups the file of a table has. Raises as `batches`."""
        with self._open(asset, partition) as file:
            return int(file.num_row_groups)

    def rows_of_groups(self, asset: str, partition: str | None = None) -> list[int]:
        """How many rows each row group of the file of a table has. Raises as `batches`."""
        with self._open(asset, partition) as file:
            return [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]

    def filled(self, asset: str, column: str, partition: str | None = None) -> bool:
        """Whether a table may have any value in a column, by what the footer says of its row groups. Raises as `batches`."""
        with self._open(asset, partition) as file:
            at = [file.metadata.schema.column(n).path for n in range(len(file.metadata.schema))].index(column)
            for number in range(file.num_row_groups):
                group = file.metadata.row_group(number)
                said = group.column(at).statistics
                if said is None or not said.has_null_count or said.null_count < group.num_rows:
                    return True
        return False

    def groups(
        self,
        asset: str,
        columns: Sequence[str],
        partition: str | None = None,
        chosen: Sequence[int] | None = None,
        coded: Sequence[str] = (),
    ) -> Iterator[pa.Table]:
        """The rows of a table in order, a table for each row group of its file, or for each of those that are `chosen`. Raises as `batches`.

        Args:
            coded: columns of text that are read as codes and a dictionary, which is cheaper where values repeat.
        """
        with self._open(asset, partition, coded) as file, self._named(asset, partition), sealed_parquet.plainly():
            for number in range(file.num_row_groups) if chosen is None else chosen:
                yield file.read_row_group(number, columns=list(columns)).replace_schema_metadata(None)

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
