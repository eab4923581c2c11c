"""What the UI shows of an asset in Dagster's own types: its columns, where they come from, and the values that a table's making shows."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from typing import Any

from dagster import (
    AssetKey,
    MetadataValue,
    TableColumn,
    TableColumnConstraints,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
)

from curation_assets.contracts.tables import ID_COLUMNS
from curation_assets.schemas import schema
from curation_assets.showing.columns import description, type_name
from curation_assets.showing.sheets import Sheet, thumbnail
from curation_resources.markdown import Markdown


def shown_metadata(shown: Mapping[str, Any], sheet: str | None) -> dict[str, Any]:
    """What the making of a table shows, as metadata of its event. The first contact sheet has a thumbnail; all lead to the one beside the table.

    Args:
        shown: name -> plain value, `Markdown` or `Sheet`; None is left out.
        sheet: address of the table's contact sheet, if it has one.
    """
    found: dict[str, Any] = {}
    pictured = False
    for name, value in shown.items():
        if isinstance(value, Sheet):
            small = "" if pictured else inline(thumbnail(value.jpeg))
            found[name] = MetadataValue.md(
                "\n\n".join(filter(None, (value.said, small, f"[open the pictures]({sheet})")))
            )
            pictured = True
        elif value is not None:
            found[name] = metadata_value(value)
    return found


def inline(jpeg: bytes) -> str:
    """A picture as Markdown with its bytes in it."""
    return f"![contact sheet](data:image/jpeg;base64,{base64.b64encode(jpeg).decode()})"


def metadata_value(value: Any) -> Any:
    """A plain value as Dagster shows it: `Markdown` is rendered, mappings and lists are JSON, numbers and texts stay."""
    if isinstance(value, Markdown):
        return MetadataValue.md(str(value))
    if isinstance(value, Mapping):
        return MetadataValue.json(dict(value))
    return MetadataValue.json(list(value)) if isinstance(value, list | tuple) else value


def column_schema(asset: str) -> TableSchema:
    """The asset's table as Dagster shows it."""
    contract = schema(asset)
    return TableSchema(
        columns=[
            TableColumn(
                c.name,
                type_name(c.type),
                description(c),
                TableColumnConstraints(nullable=c.nullable, unique=contract.key == (c.name,)),
            )
            for c in contract.columns
        ]
    )


def column_lineage(asset: str, parents: Collection[str]) -> TableColumnLineage:
    """Which columns are those of other tables, as the registry says; ids come from the first parent that has them.

    Args:
        asset: whose columns.
        parents: assets it is made from, in graph order; nothing else is named.
    """
    deps: dict[str, list[TableColumnDep]] = {}
    for column in schema(asset).columns:
        source = column.taken
        if source is None and column.name in ID_COLUMNS:
            source = next((f"{p}.{column.name}" for p in parents if column.name in schema(p).names), None)
        if source is not None and (table := source.split(".")[0]) in parents:
            deps[column.name] = [TableColumnDep(AssetKey(table), source.removeprefix(f"{table}."))]
    return TableColumnLineage(deps)


def plain(stats: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and texts of `stats` as metadata, mappings as JSON; lists are left out, since they are shown as tables."""
    return {k: metadata_value(v) for k, v in stats.items() if v is not None and not isinstance(v, list) and v != {}}
