"""Runs recipes in this process on the persistent instance, so that the UI shows the same runs."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from dagster import AssetKey, DagsterInstance, Definitions, ExecuteInProcessResult

from curation_assets.definitions import build_definitions, storage_options, table_store
from curation_assets.engine.completeness import held_back, unread
from curation_assets.engine.progress import console
from curation_assets.engine.run_tags import FORCE_TAG, PARTIAL_TAG, SETTLED_TAG
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.orchestration import dead_runs
from curation_assets.orchestration.instance import opened, pools_of
from curation_assets.orchestration.partitions import SHARDS, contiguous
from curation_assets.outcome import Progress, outcome_of_subsets, summary
from curation_assets.recipes import Recipe, RecipeError, read_recipes, subset_key
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS, assets_of_recipe, assets_of_subset, in_order
from curation_assets.settings import Settings
from curation_resources.presence import at_work, check_root
from curation_resources.tables import Tolerant, remedy
from curation_resources.unwritable import Unwritable, full_folder

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
ALONE = {"dagster/max_retries": "0"}
"""Dagster's daemon does not start such a run again: whoever started the command does."""


def _materialize(
    definitions: Definitions,
    instance: DagsterInstance,
    assets: Iterable[str],
    tags: Mapping[str, str],
    progress: Progress,
    partition: str | None = None,
) -> bool:
    """One run. Whatever keeps it from succeeding is a failure, also what happens outside its steps.

    Returns:
        whether it succeeded; false, without trying, if storage takes nothing more.
    """
    if progress.unwritable:
        return False
    job = definitions.resolve_implicit_global_asset_job_def()
    names = list(assets)
    try:
        result = job.execute_in_process(
            run_config=QUIET,
            instance=instance,
            asset_selection=[AssetKey(a) for a in names],
            partition_key=partition,
            tags={**tags, **dead_runs.run_tags(), **ALONE},
            raise_on_error=False,
        )
    except Exception as error:  # noqa: BLE001 - the database, the plan, whatever Dagster stumbles over: the other runs go on
        full = full_folder(str(error), os.environ.get("DAGSTER_HOME"))
        if full is not None:
            progress.stop(", ".join(names), str(full))
            return False
        progress.fail(", ".join(names), f"the run could not be carried out: {type(error).__name__}: {error}")
        return False
    if not result.success:
        try:
            check_root()
        except Unwritable as error:
            progress.stop(", ".join(names), str(error))
            return False
    seen = len(progress.failures)
    for event in result.all_events:
        if event.event_type_value == "STEP_FAILURE":
            progress.failed(event)
        elif event.event_type_value == "ASSET_MATERIALIZATION":
            progress.materialized(event)
    if not result.success and len(progress.failures) == seen:
        progress.fail(", ".join(names), _why(result))
    for check in result.get_asset_check_evaluations():
        if check.blocking and not check.passed and check.partition is not None and partition is None:
            asset = check.asset_key.to_user_string()
            progress.blocked.setdefault(
                parse_shard_key(check.partition)[0],
                f"{asset}: {check.check_name} ({check.description}; {remedy(asset, check.partition)})",
            )
    return bool(result.success)


def _why(result: ExecuteInProcessResult) -> str:
    """What ended a run of which no step failed."""
    for event in reversed(result.all_events):
        if event.is_run_failure or event.event_type_value == "PIPELINE_CANCELED":
            data = event.event_specific_data
            error = getattr(data, "error", None)
            cause = (error.cause or error) if error else None
            return f"{event.message or ''} {cause.message if cause else ''}".strip()
    return f"the run ended as {result.dagster_run.status.value}"


def run_recipes(
    settings: Sequence[Settings],
    select: Sequence[str] | None = None,
    shards: Sequence[str] | None = None,
    force: bool = False,
    partial: bool = False,
    settled: bool = False,
) -> int:
    """Indexes the recipes, materializes their shards, then their subsets, and prints what came of it.

    Args:
        settings: one per recipe; they differ in `recipes` alone.
        select: assets; None is what each recipe asks for.
        shards: shard keys; None is all of the recipes' datasets.
        force: make again what is up to date.
        partial: publish subsets although inputs that they use are missing, stale or not read in full.
        settled: leave files of sources that may still be being written for a later run.

    Returns:
        0 if all went well, 1 if anything failed.

    Raises:
        RecipeError: a recipe, asset or shard that does not exist.
    """
    recipes: dict[str, Recipe] = {}
    progress = Progress()
    for one in settings:
        found = read_recipes(one.recipes, storage_options(one, one.recipes))
        progress.failures += [f"recipe left out: {fault.message}" for fault in found.faults]
        for name, recipe in found.usable.items():
            if name in recipes:
                raise RecipeError(f"{one.recipes}: dataset {name!r} is declared by another recipe of this run too")
            recipes[name] = recipe
    unknown = [a for a in select or [] if a not in SCHEMAS]
    if unknown:
        raise RecipeError(f"--select: no asset is called {', '.join(unknown)}; there are {', '.join(SCHEMAS)}")
    definitions = build_definitions(settings[0], recipes)
    store = table_store(settings[0])
    store.storage.check()
    tags = {FORCE_TAG: "true"} if force else {}
    tags |= {PARTIAL_TAG: "true"} if partial else {}
    started = time.perf_counter()
    with opened(pools_of(definitions)) as instance, console(), attended(instance, progress):
        if select is None or "dataset_index" in select:
            progress.say(f"index: {', '.join(recipes)}")
            with at_work(store.storage, ["dataset_index"]):  # so that a root that goes away meanwhile is missed
                index_tags = {SETTLED_TAG: "true"} if settled else {}
                _materialize(definitions, instance, ["dataset_index"], index_tags, progress)
        order = instance.get_dynamic_partitions(SHARDS.name or "")
        own = [k for k in order if parse_shard_key(k)[0] in recipes]
        if progress.unwritable or (progress.failures and not own):
            print("\n".join(progress.failed_lines()))
            return 1
        if select and not own:
            raise RecipeError(
                f"--select: {', '.join(recipes)} has no shards yet, because it was never indexed here, or its source lists nothing; "
                f"run the recipe without --select, or --select dataset_index,{','.join(a for a in select if a != 'dataset_index')}"
            )
        missing = [k for k in shards or [] if k not in own]
        if missing:
            raise RecipeError(
                f"--shards: {', '.join(missing)} is no shard of {', '.join(recipes)}; there are {', '.join(own[:10])}{', ...' if len(own) > 10 else ''}"
            )
        chosen = list(shards) if shards else own
        known = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
        wanted = {n: [a for a in (select or assets_of_recipe(r)) if a in known] for n, r in recipes.items()}
        keys = [*chosen, *(subset_key(n, s) for n, r in recipes.items() for s in r.subsets), "duplicate_clusters"]
        with at_work(store.storage, keys):
            _run_shards(definitions, instance, chosen, order, wanted, tags, progress)
            held = held_back(store, recipes, settings[0], partial) if shards else {}
            _run_subsets(definitions, instance, recipes, select, known, tags, progress, held)
    progress.failures += unread(store, recipes, settings[0], chosen)
    tolerant = Tolerant(store)
    print(summary(tolerant, chosen))
    for line in [*outcome_of_subsets(tolerant, recipes), *(f"DAMAGED {line}" for line in tolerant.damaged)]:
        print(line)
    print(f"{time.perf_counter() - started:.1f} s")
    print("\n".join([*progress.lines(), *progress.failed_lines()]))
    return 1 if progress.failures else 0


@contextmanager
def attended(instance: DagsterInstance, progress: Progress) -> Iterator[None]:
    """Clears dead runs before the block; within it, waiting for a slot costs no time, says what is waited for, and ends when the holder is
    dead."""
    for holder in dead_runs.clear(instance, dead_runs.dead(instance)):
        progress.say(f"{holder} is dead: marked as failed, its slots are free")
    with dead_runs.unhurried_claims(), dead_runs.Watch(instance, progress.say):
        yield


def _run_shards(
    definitions: Definitions,
    instance: DagsterInstance,
    chosen: Sequence[str],
    order: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
    tags: Mapping[str, str],
    progress: Progress,
) -> None:
    """Ranged runs over the chosen shards: up to the duplicate clusters, the clusters, and what comes after them.

    The stages before and after the clusters are separate runs, so that the clusters see the shards of all recipes, and a shard that
    fails before them does not keep the others from going on.
    """
    assets = in_order({a for names in wanted.values() for a in names} - set(SUBSET_ASSETS) - {"dataset_index"})
    position = list(SCHEMAS).index("duplicate_clusters")
    before = [a for a in assets if list(SCHEMAS).index(a) < position]
    after = [a for a in assets if list(SCHEMAS).index(a) > position]

    def ranged(names: Sequence[str]) -> None:
        groups: dict[tuple[str, ...], list[str]] = {}
        for key in chosen:
            own = tuple(a for a in names if a in wanted[parse_shard_key(key)[0]])
            if own:
                groups.setdefault(own, []).append(key)
        for own, keys in groups.items():
            for first, last in contiguous(keys, order):
                progress.say(f"{first} ... {last}: {', '.join(own)}")
                bounds = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
                _materialize(definitions, instance, own, {**tags, **bounds}, progress)

    ranged(before)
    if "duplicate_clusters" in assets:
        progress.say("duplicate_clusters")
        _materialize(definitions, instance, ["duplicate_clusters"], tags, progress)
    ranged(after)


def _run_subsets(
    definitions: Definitions,
    instance: DagsterInstance,
    recipes: Mapping[str, Recipe],
    select: Sequence[str] | None,
    known: set[str],
    tags: Mapping[str, str],
    progress: Progress,
    held: Collection[str] = (),
) -> None:
    """Publishes the subsets, but for those `held` back because only some shards were asked for."""
    for recipe in recipes.values():
        for name, subset in recipe.subsets.items():
            assets = [a for a in assets_of_subset(subset) if a in known and (select is None or a in select)]
            key = subset_key(recipe.dataset, name)
            blocked = next((d for d in subset.datasets or [recipe.dataset] if d in progress.blocked), None)
            if assets and blocked is not None:
                progress.failures.append(
                    f"{key}: not made, since shards of {blocked} do not pass the blocking check {progress.blocked[blocked]}"
                )
                progress.say(f"  FAILED {key} (see below)")
            elif key in held:
                progress.say(f"{key}: left as it is, since shards that were not asked for are not complete")
            elif assets:
                progress.say(f"{key}: {', '.join(assets)}")
                _materialize(definitions, instance, assets, tags, progress, partition=key)
