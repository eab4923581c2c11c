"""The store of tables: one Parquet file per asset partition, published atomically, with what it was made from in its metadata.

The table is the commit: a partition without its table does not exist, and media that no table names are removed after the next
commit. What belongs here: reading, validating and committing tables. What does not: what is in them (`curation_assets.schemas`) and
when they are made (`curation_assets.materialize`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from resources.content_hash import ContentHasher, content_hash
from resources.storage import Storage, StorageError, is_uri
from resources.urls import public_settings

PREFIX = "curation."
READERS = 16
"""Threads that read table footers side by side."""


class MissingTable(LookupError):
    """A table that does not exist yet."""


class ContractError(ValueError):
    """A table that breaks its contract; the message names table, column and row."""


class ColumnContract(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> pa.DataType: ...
    @property
    def nullable(self) -> bool: ...
    @property
    def minimum(self) -> float | None: ...
    @property
    def maximum(self) -> float | None: ...
    @property
    def allowed(self) -> tuple[str, ...]: ...


class TableContract(Protocol):
    """What the store asks of a schema; `curation_assets.schemas.TableSchema` is one."""

    @property
    def asset(self) -> str: ...
    @property
    def key(self) -> tuple[str, ...]: ...
    @property
    def columns(self) -> Sequence[Any]: ...
    @property
    def arrow(self) -> pa.Schema: ...
    @property
    def volatile(self) -> frozenset[str]: ...


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def combined_hash(hashes: Mapping[str, str]) -> str:
    """One content hash for the partitions of an all-to-one input."""
    return hashlib.sha256(canonical_json(dict(hashes)).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Provenance:
    """What a table is made from.

    Attributes:
        code_version: version of the stage's code.
        params: the stage's own parameters, JSON-able; secrets of URLs in them are taken out here, once for all tables.
        inputs: name of each input -> its content hash.
        weights: name of each set of model weights -> its identity.
    """

    code_version: str
    params: Any = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "params", public_settings(self.params))

    @cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits over all of it."""
        text = canonical_json([self.code_version, self.params, dict(self.inputs), dict(self.weights)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class TableHeader:
    """What a committed table says of itself, read from the footer alone."""

    asset: str
    partition: str | None
    rows: int
    provenance: Provenance
    fingerprint: str
    content_hash: str
    stats: Mapping[str, Any]


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
        return self.storage.exists(self.path(asset, partition))

    def _file(self, asset: str, partition: str | None) -> pq.ParquetFile:
        path = self.path(asset, partition)
        try:
            fs, name = self.storage.filesystem(path)
            fs.invalidate_cache(fs._parent(name))
            return pq.ParquetFile(fs.open(name, "rb", block_size=1 << 20))
        except FileNotFoundError as error:
            which = f" for {partition}" if partition else ""
            raise MissingTable(
                f"{asset} does not exist{which}: materialize it first ({self.storage.uri(path)})"
            ) from error
        except pa.ArrowInvalid as error:
            raise StorageError(
                f"{self.storage.uri(path)} is not a Parquet file ({error}); materialize {asset} again with curation/force"
            ) from error

    def header(self, asset: str, partition: str | None = None) -> TableHeader | None:
        """What the table says of itself; None if it does not exist."""
        try:
            with self._file(asset, partition) as file:
                return _header(asset, partition, file.metadata)
        except MissingTable:
            return None

    def headers(self, asset: str, partitions: Sequence[str] | None = None) -> dict[str, TableHeader]:
        """Headers of the partitions that exist, read side by side."""
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
        """A table, or some of its columns and the rows that pass `filters`.

        Raises:
            MissingTable: it does not exist.
        """
        with self._file(asset, partition) as file:
            if filters is None:
                return file.read(columns=list(columns) if columns is not None else None).replace_schema_metadata(None)
        fs, name = self.storage.filesystem(self.path(asset, partition))
        return (
            ds.dataset(name, format="parquet", filesystem=fs)
            .to_table(columns=columns, filter=filters)
            .replace_schema_metadata(None)
        )

    def dataset(self, asset: str, partitions: Sequence[str] | None = None) -> ds.Dataset:
        """A lazy dataset over the partitions that exist; empty with the asset's schema if none does."""
        fs, _ = self.storage.filesystem(asset)
        keys = self.partitions(asset) if partitions is None else list(partitions)
        names = [self.storage.filesystem(self.path(asset, k))[1] for k in keys]
        contract = self.contracts.get(asset)
        if not names:
            if contract is None:
                raise MissingTable(f"{asset} has no partition yet: materialize it first")
            return ds.dataset(contract.arrow.empty_table())
        return ds.dataset(names, format="parquet", filesystem=fs, schema=contract.arrow if contract else None)

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
    ) -> TableHeader:
        """Publishes a table atomically, then removes the partition's media that it does not name.

        Raises:
            ContractError: the table breaks its contract; nothing is written.
            StorageError: media that it names are gone; nothing is written.
        """
        contract = self.contracts.get(asset)
        table = self.prepare(asset, table)
        digest = content_hash(table, skip=contract.volatile if contract else ())
        named = self._check_media(asset, partition, table)
        header = TableHeader(
            asset, partition, table.num_rows, provenance, provenance.fingerprint, digest, dict(stats or {})
        )
        described = table.replace_schema_metadata(_metadata(header))
        with self.storage.publish(self.path(asset, partition)) as file:
            pq.write_table(described, file, compression="zstd", row_group_size=100_000)
        self._remove_orphans(asset, partition, named)
        return header

    def commit_file(
        self,
        asset: str,
        partition: str | None,
        local: Path,
        provenance: Provenance,
        digest: str,
        stats: Mapping[str, Any] | None = None,
    ) -> TableHeader:
        """Publishes a table without media that was written to a local Parquet file group by group, in key order.

        The file is copied group by group so that its footer carries the metadata; its contract is checked on the way.

        Args:
            digest: the content hash, from `file_content_hash`.
        """
        contract = self.contracts[asset]
        with pq.ParquetFile(local) as source:
            rows = source.metadata.num_rows
            header = TableHeader(asset, partition, rows, provenance, provenance.fingerprint, digest, dict(stats or {}))
            schema = contract.arrow.with_metadata(_metadata(header))
            target = self.path(asset, partition)
            with (
                self.storage.publish(target) as file,
                pq.ParquetWriter(file, schema, compression="zstd") as writer,
            ):
                for group in range(source.num_row_groups):
                    table = conform(source.read_row_group(group), contract)
                    writer.write_table(table.replace_schema_metadata(schema.metadata))
        return header

    def file_content_hash(self, asset: str, local: Path) -> str:
        """The content hash of a table in a local Parquet file that is in key order."""
        contract = self.contracts[asset]
        hasher = ContentHasher(contract.arrow, contract.volatile)
        with pq.ParquetFile(local) as file:
            for batch in file.iter_batches():
                hasher.update(batch)
        return hasher.hexdigest()

    def _check_media(self, asset: str, partition: str | None, table: pa.Table) -> set[str]:
        """Names of the own tars that the table names, after checking that each is there and long enough."""
        if "tar" not in table.column_names:
            return set()
        used = table.select(["tar", "offset", "size"]).filter(pc.is_valid(table["tar"]))
        ends = used.append_column("end", pc.add(pc.fill_null(used["offset"], 0), pc.fill_null(used["size"], 0)))
        named = set()
        for row in ends.group_by("tar").aggregate([("end", "max")]).to_pylist():
            if is_uri(row["tar"]):
                continue
            named.add(row["tar"].rsplit("/", 1)[-1])
            try:
                size = self.storage.size(row["tar"])
            except FileNotFoundError as error:
                raise StorageError(
                    f"{row['tar']} vanished while {asset} {partition or ''} was made; was the same partition made by two runs at once?"
                ) from error
            if size < row["end_max"]:
                raise StorageError(
                    f"{row['tar']} has {size} bytes where {row['end_max']} are named; its writing was not finished"
                )
        return named

    def _remove_orphans(self, asset: str, partition: str | None, named: set[str]) -> None:
        if partition is None:
            return
        folder = self.folder(asset, partition)
        for name in self.storage.list(folder):
            if name not in named:
                self.storage.remove(f"{folder}/{name}")


def conform(table: pa.Table, contract: TableContract) -> pa.Table:
    """See `TableStore.prepare`."""
    names = [c.name for c in contract.columns]
    unknown = sorted(set(table.column_names) - set(names))
    if unknown:
        raise ContractError(f"table {contract.asset}: undeclared column {', '.join(unknown)}; declare it in schemas.py")
    arrays = []
    for column in contract.columns:
        if column.name not in table.column_names:
            if not column.nullable:
                raise ContractError(f"table {contract.asset}: column {column.name} is missing")
            arrays.append(pa.chunked_array([pa.nulls(table.num_rows, column.type)]))
            continue
        try:
            arrays.append(table[column.name].cast(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ContractError(
                f"table {contract.asset}: column {column.name} must be {column.type}, got {table[column.name].type} ({error})"
            ) from error
    table = pa.table(arrays, schema=contract.arrow)
    table = table.sort_by([(k, "ascending") for k in contract.key])
    _check_keys(table, contract)
    for column in contract.columns:
        _check_values(table, contract, column)
    return table


def _row(table: pa.Table, contract: TableContract, index: int) -> str:
    return ", ".join(f"{k}={table[k][index].as_py()!r}" for k in contract.key)


def _check_keys(table: pa.Table, contract: TableContract) -> None:
    if table.num_rows < 2:
        return
    same = None
    for name in contract.key:
        values = table[name].combine_chunks()
        equal = pc.equal(values[1:], values[:-1])
        same = equal if same is None else pc.and_(same, equal)
    at = pc.index(same, True).as_py()
    if at >= 0:
        raise ContractError(f"table {contract.asset}: two rows have the key {_row(table, contract, at)}")


def _check_values(table: pa.Table, contract: TableContract, column: ColumnContract) -> None:
    values = table[column.name]

    def fail(bad: pa.ChunkedArray, what: str) -> None:
        at = pc.index(bad, True).as_py()
        if at >= 0:
            raise ContractError(
                f"table {contract.asset}: column {column.name} {what}, but is {values[at].as_py()!r} in the row {_row(table, contract, at)}"
            )

    if not column.nullable and values.null_count:
        fail(pc.is_null(values), "must not be null")
    if pa.types.is_floating(column.type) and not pa.types.is_float16(column.type):
        fail(pc.fill_null(pc.invert(pc.is_finite(values)), False), "must be finite (null where unknown)")
    if column.minimum is not None:
        fail(pc.fill_null(pc.less(values, column.minimum), False), f"must be at least {column.minimum:g}")
    if column.maximum is not None:
        fail(pc.fill_null(pc.greater(values, column.maximum), False), f"must be at most {column.maximum:g}")
    if column.allowed:
        known = pc.is_in(values, value_set=pa.array([*column.allowed, None], column.type))
        fail(pc.invert(known), f"must be one of {', '.join(column.allowed)}")


def _metadata(header: TableHeader) -> dict[bytes, bytes]:
    p = header.provenance
    values = {
        "asset": header.asset,
        "partition": header.partition or "",
        "code_version": p.code_version,
        "params": canonical_json(p.params),
        "inputs": canonical_json(dict(p.inputs)),
        "weights": canonical_json(dict(p.weights)),
        "fingerprint": header.fingerprint,
        "content_hash": header.content_hash,
        "stats": canonical_json(dict(header.stats)),
    }
    return {f"{PREFIX}{k}".encode(): v.encode() for k, v in values.items()}


def _header(asset: str, partition: str | None, metadata: pq.FileMetaData) -> TableHeader:
    raw = {k.decode(): v.decode() for k, v in (metadata.metadata or {}).items() if k.startswith(PREFIX.encode())}

    def get(name: str, default: str = "") -> str:
        return raw.get(PREFIX + name, default)

    provenance = Provenance(
        get("code_version"),
        json.loads(get("params", "null")),
        json.loads(get("inputs", "{}")),
        json.loads(get("weights", "{}")),
    )
    return TableHeader(
        asset,
        partition,
        metadata.num_rows,
        provenance,
        get("fingerprint"),
        get("content_hash"),
        json.loads(get("stats", "{}")),
    )


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
