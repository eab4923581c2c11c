"""The Dagster assets that are partitioned by shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dagster import AssetExecutionContext, AssetOut, AssetsDefinition, Backoff, Jitter, RetryPolicy, multi_asset

from curation_assets.contracts.component import Component, Stage
from curation_assets.engine.sharded import ShardMaker
from curation_assets.orchestration.descriptions import asked
from curation_assets.orchestration.events import check_specs
from curation_assets.orchestration.io_manager import Committed
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.partitions import SHARDS, backfill_policy
from curation_assets.orchestration.steps import OWNERS, carried_out, wanted_of
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings

RETRY_DELAY_S = 5
"""Before the first retry of a step; it doubles with each."""


def shard_assets(stage: Stage, settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    """The Dagster assets of a stage, partitioned by shard."""
    maker = ShardMaker(stage)
    parents = maker.parents(recipes)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        yield from carried_out(context, maker, list(context.partition_keys), wanted_of(context, maker), output=None)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return multi_asset(
        name=stage.name,
        outs={p.asset: _out(stage, p, asked(p.asset, recipes)) for p in stage.parts},
        deps=sorted({d for deps in parents.values() for d in deps}),
        partitions_def=SHARDS,
        backfill_policy=backfill_policy(settings.run_partitions),
        can_subset=len(stage.parts) > 1,
        check_specs=check_specs([p.asset for p in stage.parts]),
        required_resource_keys={"tables", "recipes", "settings"},
        pool=stage.pool,
        op_tags=dict(stage.op_tags),
        retry_policy=retry_policy(settings),
    )(body)


def retry_policy(settings: Settings) -> RetryPolicy | None:
    """How a step is tried again after a failure that may pass, the death of its process included; shards it committed are left alone."""
    if not settings.step_retries:
        return None
    return RetryPolicy(settings.step_retries, RETRY_DELAY_S, Backoff.EXPONENTIAL, Jitter.PLUS_MINUS)


def _out(stage: Stage, part: Component, who: str) -> AssetOut:
    contract = SCHEMAS[part.asset]
    return AssetOut(
        dagster_type=Committed,
        description=f"{part.about} One row is {contract.row}. Sorted by {', '.join(contract.key)}.{who}",
        metadata={"dagster/column_schema": column_schema(part.asset)},
        group_name=stage.group,
        code_version=part.code_version,
        io_manager_key="io_manager",
        owners=OWNERS,
        kinds=set(stage.kinds) | {"parquet"},
        is_required=len(stage.parts) == 1,
    )
