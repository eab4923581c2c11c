"""The unpartitioned assets in the middle of the graph: tables that are made of all shards of all datasets together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, asset

from curation_assets.engine.pods import pod
from curation_assets.makers import MAKERS
from curation_assets.orchestration.events import check_specs
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.steps import OWNERS, carried_out
from curation_assets.registry import component


def gathered(name: str) -> AssetsDefinition:
    """The asset of a table that is gathered of all shards."""
    part = component(name)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from carried_out(context, MAKERS[name], [None])

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name=name,
        group_name=part.group,
        description=f"{part.about} One row is {part.table.row}.",
        metadata={"dagster/column_schema": column_schema(name)},
        deps=[*part.inputs],
        code_version=part.code_version,
        owners=OWNERS,
        kinds={"parquet", "numpy"},
        io_manager_key="io_manager",
        check_specs=check_specs([name]),
        required_resource_keys={"tables", "recipes", "settings"},
        pool="cpu",
        op_tags=pod(cpu=4, memory="16Gi"),
    )(body)
