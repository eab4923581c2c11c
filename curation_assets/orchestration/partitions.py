"""The two ways in which assets are partitioned: by shard and by subset.

Shards are one dynamic set over all datasets, because Dagster wires partitioned assets by identity of the set and a range then spans
datasets. Keys are only ever appended: ranges follow insertion order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dagster import BackfillPolicy, DagsterInstance, DynamicPartitionsDefinition, StaticPartitionsDefinition

from curation_assets.recipes import Recipe, subsets

SHARDS = DynamicPartitionsDefinition(name="shards")


def subset_partitions(recipes: Mapping[str, Recipe]) -> StaticPartitionsDefinition:
    return StaticPartitionsDefinition(sorted(subsets(recipes)))


def register_shards(instance: DagsterInstance, keys: Iterable[str]) -> list[str]:
    """Makes shard keys known to Dagster, in order and in one call; those it knows stay where they are. Returns the new ones."""
    known = set(instance.get_dynamic_partitions(SHARDS.name or ""))
    new = [k for k in keys if k not in known]
    if new:
        instance.add_dynamic_partitions(SHARDS.name or "", new)
    return new


def backfill_policy(run_partitions: int) -> BackfillPolicy:
    """Runs of so many partitions that follow each other; one run for all with 0."""
    return BackfillPolicy.multi_run(run_partitions) if run_partitions else BackfillPolicy.single_run()
