"""A table's columns in words: what each is, and its type."""

from __future__ import annotations

import pyarrow as pa

from curation_assets.contracts.tables import Column
from curation_assets.schemas import schema


def description(column: Column) -> str:
    """What a column is; of one that is taken over, what it is where it comes from."""
    if column.taken is None:
        return column.description
    asset, name = column.taken.split(".")
    own = column.description != column.taken
    return f"{column.description if own else schema(asset).column(name).description} From {column.taken}."


def type_name(kind: pa.DataType) -> str:
    """An Arrow type in one or two words: what nested structures hold is left to the column's description."""
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if pa.types.is_map(kind):
        return f"map<{type_name(kind.key_type)}, {type_name(kind.item_type)}>"
    return "struct" if pa.types.is_struct(kind) else str(kind)
