"""The assets that are partitioned by subset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dagster import (
    AllPartitionMapping,
    AssetDep,
    AssetExecutionContext,
    AssetsDefinition,
    StaticPartitionsDefinition,
    asset,
)

from curation_assets.engine.pods import pod
from curation_assets.orchestration import exports
from curation_assets.orchestration.descriptions import asked
from curation_assets.orchestration.events import check_specs
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.partitions import subset_partitions
from curation_assets.orchestration.steps import OWNERS, carried_out
from curation_assets.publish.curated_maker import CuratedMaker
from curation_assets.publish.curating.versions import CURATE_VERSION
from curation_assets.recipes import Recipe
from curation_assets.registry import JUDGED
from curation_assets.schemas import schema
from curation_assets.settings import Settings


def publish_assets(settings: Settings, recipes: Mapping[str, Recipe]) -> list[AssetsDefinition]:
    """The assets that are partitioned by subset."""
    partitions = subset_partitions(recipes)
    return [
        *(_curated(CuratedMaker(kind), recipes, partitions) for kind in JUDGED),
        exports.clip_dataset(recipes, partitions),
        exports.embedding_dataset(recipes, partitions),
    ]


def _curated(
    maker: CuratedMaker, recipes: Mapping[str, Recipe], partitions: StaticPartitionsDefinition
) -> AssetsDefinition:
    name = maker.name
    contract = schema(name)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from carried_out(context, maker, context.partition_keys)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return asset(
        name=name,
        group_name="publish",
        description=f"One row is {contract.row}. Thresholds live in the recipe's subset: changing one recomputes this table alone.{asked(name, recipes)}",
        metadata={"dagster/column_schema": column_schema(name)},
        deps=[AssetDep(a, partition_mapping=AllPartitionMapping()) for a in maker.parents(recipes)[name]],
        partitions_def=partitions,
        code_version=CURATE_VERSION,
        owners=OWNERS,
        kinds={"parquet"},
        op_tags=pod(cpu=2, memory="8Gi", scratch="50Gi"),
        io_manager_key="io_manager",
        check_specs=check_specs([name]),
        required_resource_keys={"tables", "recipes", "settings"},
    )(body)
