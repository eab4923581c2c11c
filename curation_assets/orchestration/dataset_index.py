"""The asset at the root of the graph: the index of all sources, and the shard keys that it registers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dagster import AssetExecutionContext, AssetsDefinition, asset

from curation_assets.engine.pods import pod
from curation_assets.ingest.dataset_index import INDEX_VERSION
from curation_assets.ingest.index_maker import IndexMaker
from curation_assets.orchestration.events import check_specs
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.shard_assets import retry_policy
from curation_assets.orchestration.steps import OWNERS, carried_out
from curation_assets.recipes import RecipeFault
from curation_assets.registry import INDEX
from curation_assets.schemas import schema
from curation_assets.settings import Settings

MAKER = IndexMaker()


def dataset_index(settings: Settings, faults: Sequence[RecipeFault] = ()) -> AssetsDefinition:
    """The one unpartitioned asset at the root of the graph. Its description begins with the recipes that cannot be used, if there are any."""
    contract = schema(INDEX)
    left_out = "".join("**Recipe left out:** `{}`\n\n".format(f.message.replace("`", "'")) for f in faults)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from carried_out(context, MAKER, [None])

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name=INDEX,
        group_name="ingest",
        description=f"{left_out}**Start here.** Reads the sources of all recipes and registers their shards, the partitions of most other assets. "
        f"On a fresh instance there are none before this has run: *Materialize all* then makes this table alone; "
        f"launched once more it takes up the shards. One row is {contract.row}.",
        metadata={"dagster/column_schema": column_schema(INDEX)},
        code_version=INDEX_VERSION,
        owners=OWNERS,
        kinds={"duckdb", "parquet"},
        op_tags=pod(cpu=1, memory="2Gi", scratch="50Gi"),
        io_manager_key="io_manager",
        check_specs=check_specs([INDEX]),
        required_resource_keys={"tables", "recipes", "settings"},
        retry_policy=retry_policy(settings),
    )(body)
