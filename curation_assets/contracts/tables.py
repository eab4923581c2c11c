"""Columns and tables: what a table's contract is made of, and the columns that most tables share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

STRING, BOOL = pa.string(), pa.bool_()
INT32, INT64, FLOAT, DOUBLE = pa.int32(), pa.int64(), pa.float32(), pa.float64()
RECT = pa.struct([("x", FLOAT), ("y", FLOAT), ("w", FLOAT), ("h", FLOAT)])


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: column name.
        type: Arrow type of the stored column.
        description: what the value is, with its unit.
        nullable: whether null (always "unknown", never a sentinel) is allowed.
        volatile: left out of the content hash, because it says where or when something was made, not what it is.
        minimum, maximum: inclusive bounds of numeric values; None is unbounded.
        allowed: the values a string column may take; empty is any.
        taken: `<asset>.<column>` whose values these are; None for what the asset itself finds.
        later: what the column got after tables with it were made: "" for the column itself, or paths of fields within it. The content
            hash leaves it out where it holds nothing, so that older tables whose rows say the same keep theirs.
    """

    name: str
    type: pa.DataType
    description: str
    nullable: bool = True
    volatile: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    taken: str | None = None
    later: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSchema:
    """The contract of one asset's tables.

    Attributes:
        asset: name of the asset.
        row: what one row is, as a phrase ("a sampled frame of a clip").
        key: the columns that identify a row; tables are sorted by them and they are unique.
        columns: the columns in order.
        remedy: what to do about a damaged table, where making it again is not all.
    """

    asset: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...] = field(repr=False)
    remedy: str = ""

    @cached_property
    def arrow(self) -> pa.Schema:
        """The pyarrow schema, with each description as field metadata."""
        return pa.schema([pa.field(c.name, c.type, c.nullable, {"description": c.description}) for c in self.columns])

    @cached_property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    @property
    def volatile(self) -> frozenset[str]:
        """Columns that the content hash leaves out."""
        return frozenset(c.name for c in self.columns if c.volatile)

    @property
    def later(self) -> frozenset[str]:
        """Columns, and fields within one, that count for the content hash only where they hold something."""
        return frozenset(f"{c.name}{path}" for c in self.columns for path in c.later)

    def column(self, name: str) -> Column:
        """The column called `name`; KeyError names the table and what it has."""
        for c in self.columns:
            if c.name == name:
                return c
        raise KeyError(f"table {self.asset} has no column {name!r}; it has {', '.join(self.names)}")

    def empty(self) -> pa.Table:
        return self.arrow.empty_table()


def identifier(name: str, description: str) -> Column:
    """A column of ids, never null."""
    return Column(name, STRING, description, nullable=False)


def share(name: str, description: str) -> Column:
    """A column of shares from 0 to 1; null is unknown."""
    return Column(name, FLOAT, description, minimum=0.0, maximum=1.0)


def taken_from(kind: pa.DataType, source: str) -> Column:
    """The column `<asset>.<column>` under its own name, as another table takes it over."""
    return Column(source.split(".")[1], kind, source, taken=source)


DATASET = identifier("dataset", "Name of the dataset, as in its recipe.")
VIDEO_ID = identifier(
    "video_id", "The source's own id if it is unique, else a stable hash of the URL or relative path."
)
CLIP_ID = identifier("clip_id", "`<video_id>_<start_ms>_<end_ms>` of the actual span.")
CLIP_KEYS = (DATASET, VIDEO_ID, CLIP_ID)
MEDIA = (
    Column("tar", STRING, "Tar or file with the bytes, relative to the storage root or a URI.", volatile=True),
    Column("offset", INT64, "First byte within `tar`.", volatile=True, minimum=0),
    Column("size", INT64, "Bytes.", minimum=0),
    Column(
        "sha256", STRING, "SHA-256 of the bytes, hexadecimal; null for media referenced in place until they are read."
    ),
)
BESIDE = "inputs"
"""The column of further media that lie in the same tar as those of the row: structs with an offset that counts from the row's, size and SHA-256."""


def beside(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The further media of a row of media, placed as a row of their own would be."""
    return [{**m, "tar": row["tar"], "offset": row["offset"] + m["offset"]} for m in row.get(BESIDE) or ()]


ID_COLUMNS = ("dataset", "video_id", "clip_id", "track_id")
"""Columns that name what a row is of; a table has them from the tables it is made from."""
ERROR = Column("error", STRING, "One sentence that says what went wrong; null if nothing did.", volatile=True)
