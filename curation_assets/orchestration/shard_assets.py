"""The Dagster assets that are partitioned by shard: their definitions, and the body that makes the partitions of a run one by one."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetOut,
    AssetsDefinition,
    Backoff,
    Failure,
    Jitter,
    MetadataValue,
    OpExecutionContext,
    RetryPolicy,
    multi_asset,
)

from curation_assets.contracts.component import Component, Stage
from curation_assets.engine.making import make_shard
from curation_assets.engine.progress import Reporter, left
from curation_assets.engine.run_tags import FORCE_TAG
from curation_assets.engine.shard import Shard
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.orchestration.events import check_outputs, check_specs, evaluations, materialization, silent_output
from curation_assets.orchestration.metadata import column_schema
from curation_assets.orchestration.partitions import SHARDS, backfill_policy
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_resources.presence import at_work
from curation_resources.progress import listening
from curation_resources.table_io_manager import Committed
from curation_resources.tables import DamagedTable, MissingTable, TableStore
from curation_resources.unwritable import UNWRITABLE, Unwritable
from curation_resources.weights import MissingWeights, WrongWeights

PLAIN = (MissingTable, DamagedTable, MissingWeights, WrongWeights, ValueError)
"""Errors whose message says all there is to say; trying again changes nothing."""
OWNERS = ["team:video-curation"]
RETRY_DELAY_S = 5
"""Before the first retry of a step; it doubles with each."""
SHOWN_REASONS = 20
"""Reasons why shards failed that a message tells apart."""
PICTURED_RUN = 20
"""Partitions of a run up to which those that were up to date show their pictures again. A longer run is a catching up that
nobody looks at partition by partition; it would write gigabytes of pictures into the event log anew."""


def forced(context: AssetExecutionContext | OpExecutionContext) -> bool:
    """Whether the run asks, by its tag or in the launchpad, for everything to be made again."""
    run_config: Mapping[str, Any] = context.run.run_config
    options = run_config.get("resources", {}).get("settings", {}).get("config", {})
    return bool(options.get("force")) or context.run.tags.get(FORCE_TAG, "").lower() == "true"


def run_shards(
    context: AssetExecutionContext, stage: Stage, parents: Mapping[str, Mapping[str, bool]]
) -> Iterator[Any]:
    """The body of every sharded asset: each partition of the run is made, committed and reported on its own; failures come together at the end."""
    store: TableStore = context.resources.tables
    recipes: Mapping[str, Recipe] = context.resources.recipes
    settings: Settings = context.resources.settings
    force = forced(context)
    wanted = [p.asset for p in stage.parts if AssetKey(p.asset) in context.selected_asset_keys]
    failures: dict[str, str] = {}
    permanent = True
    done: list[str] = []
    models: dict[Any, Any] = {}
    keys = list(context.partition_keys)
    began = time.monotonic()
    for position, key in enumerate(keys, 1):
        try:
            dataset, _ = parse_shard_key(key)
            if dataset not in recipes:
                raise MissingTable(
                    f"shard {key} belongs to dataset {dataset!r}, but no recipe declares it; recipes: {', '.join(recipes) or 'none'}"
                )
            shard = Shard(key, recipes[dataset], store, settings, context.log, force, models)
            place = f"{key} ({position} of {len(keys)}{left(began, position - 1, len(keys))})"
            with Reporter(f"{stage.name} {place}", context.log.info) as reporter, listening(reporter):
                for made in make_shard(stage, wanted, shard):
                    yield materialization(
                        context.instance, store, made, key, parents[made.asset], pictures=len(keys) <= PICTURED_RUN
                    )
                    yield from evaluations(store, made, key)
                    state = "unchanged" if made.made is None else "made"
                    context.log.info(f"{made.asset} {place}: {made.header.rows} rows, {state}")
            done.append(key)
        except Unwritable as error:
            raise Failure(str(error), metadata={UNWRITABLE: MetadataValue.text(key)}, allow_retries=False) from error
        except Exception as error:  # noqa: BLE001 - one bad shard must not hide the good ones; all are raised together below
            said_plainly = isinstance(error, PLAIN)
            failures[key] = str(error) if said_plainly else f"{type(error).__name__}: {error}"
            permanent = permanent and said_plainly
            context.log.error(f"{stage.name} {key}: {error}" + ("" if said_plainly else f"\n{traceback.format_exc()}"))
    if failures:
        rest = "; the others are committed" if done else ""
        by_reason: dict[str, list[str]] = {}
        for key, reason in failures.items():
            by_reason.setdefault(reason.replace(key, "..."), []).append(key)
        lines = [
            f"{_some(keys)}: {failures[keys[0]] if len(keys) == 1 else reason}" for reason, keys in by_reason.items()
        ]
        more = f"\n... and {len(lines) - SHOWN_REASONS} reasons more" if len(lines) > SHOWN_REASONS else ""
        shown = "\n".join(lines[:SHOWN_REASONS]) + more
        raise Failure(
            f"{stage.name} failed for {len(failures)} of {len(keys)} shards{rest}\n{shown}",
            metadata={"failed": MetadataValue.json(failures)},
            allow_retries=not permanent,
        )
    for asset in wanted:
        yield silent_output(asset, Committed(tuple(done)))
        yield from check_outputs(asset)


def _some(keys: Sequence[str]) -> str:
    """The first keys, and how many there are more."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def shard_assets(stage: Stage, settings: Settings, recipes: Mapping[str, Recipe]) -> AssetsDefinition:
    """The Dagster assets of a stage, partitioned by shard."""
    parents: dict[str, dict[str, bool]] = {}
    for part in stage.parts:
        tables = dict.fromkeys(part.inputs) | {t: None for r in recipes.values() for t in part.needed(r)}
        parents[part.asset] = dict.fromkeys(tables, True) | dict.fromkeys(part.slices, False)

    def body(context: AssetExecutionContext) -> Iterator[Any]:
        with at_work(context.resources.tables.storage, context.partition_keys):
            yield from run_shards(context, stage, parents)

    body.__annotations__["context"] = AssetExecutionContext  # Dagster reads the class, not its name
    return multi_asset(
        name=stage.name,
        outs={p.asset: _out(stage, p) for p in stage.parts},
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


def _out(stage: Stage, part: Component) -> AssetOut:
    contract = SCHEMAS[part.asset]
    return AssetOut(
        dagster_type=Committed,
        description=f"{part.about} One row is {contract.row}. Sorted by {', '.join(contract.key)}.",
        metadata={"dagster/column_schema": column_schema(part.asset)},
        group_name=stage.group,
        code_version=part.code_version,
        io_manager_key="io_manager",
        owners=OWNERS,
        kinds=set(stage.kinds) | {"parquet"},
        is_required=len(stage.parts) == 1,
    )
