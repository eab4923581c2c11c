"""The contract of a table, as the store holds it against what is to be committed: columns, types, keys, ranges."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc


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
    def remedy(self) -> str: ...
    @property
    def key(self) -> tuple[str, ...]: ...
    @property
    def columns(self) -> Sequence[Any]: ...
    @property
    def arrow(self) -> pa.Schema: ...
    @property
    def volatile(self) -> frozenset[str]: ...
    @property
    def later(self) -> frozenset[str]: ...


def remedy(asset: str, partition: str | None, contract: TableContract | None = None) -> str:
    """What to do about a damaged table: as its contract says, else the command that makes it again."""
    if contract is not None and contract.remedy:
        return contract.remedy
    of_shard = partition is not None and partition.rpartition("-")[2].isdigit()
    return f"make it again with: curation run RECIPE --select {asset}" + (f" --shards {partition}" if of_shard else "")


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
