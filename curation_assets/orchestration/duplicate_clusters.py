"""The unpartitioned asset in the middle of the graph: near-duplicates over all shards and datasets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, asset

from curation_assets.dedup.cluster_maker import ClusterMaker
from curation_assets.dedup.duplicate_clusters import CLUSTERS_VERSION
from curation_assets.engine.pods import pod
from curation_assets.orchestration.events import check_specs
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.steps import OWNERS, carried_out
from curation_assets.registry import CLUSTERS, COMPARED
from curation_assets.schemas import schema

MAKER = ClusterMaker()


def duplicate_clusters() -> AssetsDefinition:
    """The unpartitioned asset in the middle of the graph."""
    contract = schema(CLUSTERS)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from carried_out(context, MAKER, [None])

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name=CLUSTERS,
        group_name="dedup",
        description=f"Near-duplicates over all shards of all datasets that exist; missing ones block nothing. One row is {contract.row}.",
        metadata={"dagster/column_schema": column_schema(CLUSTERS)},
        deps=[COMPARED],
        code_version=CLUSTERS_VERSION,
        owners=OWNERS,
        kinds={"parquet", "numpy"},
        io_manager_key="io_manager",
        check_specs=check_specs([CLUSTERS]),
        required_resource_keys={"tables", "recipes", "settings"},
        pool="cpu",
        op_tags=pod(cpu=4, memory="16Gi"),
    )(body)
