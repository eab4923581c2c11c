"""Runs recipes in this process on the persistent instance, so that the UI shows the same runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from curation_assets.engine.completeness import held_back, unread
from curation_assets.engine.heads import reach
from curation_assets.engine.plan import PHASES, PlanStep, everything, plan
from curation_assets.engine.progress import console
from curation_assets.engine.run_tags import FORCE_TAG, PARTIAL_TAG, SETTLED_TAG
from curation_assets.engine.shard_keys import dataset_of, named
from curation_assets.engine.tallies import Tallies
from curation_assets.failures import failures
from curation_assets.installed import require_packages
from curation_assets.orchestration.definitions import build_definitions
from curation_assets.orchestration.instance import opened, pools_of
from curation_assets.orchestration.partitions import SHARDS
from curation_assets.orchestration.reporters import reporting
from curation_assets.orchestration.runs import attended, execute_step
from curation_assets.orchestration.still_to_do import StillToDo
from curation_assets.outcome import Progress, outcome_of_subsets, summary
from curation_assets.projection import project
from curation_assets.projection_text import render
from curation_assets.recipes import Recipe, RecipeError, named_recipes, subset_key, subsets
from curation_assets.registry import INDEX
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from curation_assets.stores import storage_options, table_store
from curation_resources.presence import at_work
from curation_resources.tolerant_tables import Tolerant

RUN_SHARDS = 100
"""Most shards of a run where the settings leave it open: before a run begins Dagster writes an event for every table of it."""

Execute = Callable[[PlanStep], None]


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
        shards: shard keys, and ranges of them (`FIRST..LAST`); None is all of the recipes' datasets.
        force: make again what is up to date.
        partial: publish subsets although inputs that they use are missing, stale or not read in full.
        settled: leave files of sources that may still be being written for a later run.

    Returns:
        0 if all went well, 1 if anything failed.

    Raises:
        RecipeError: a recipe, asset or shard that does not exist.
        MissingExtra: what is asked for needs a package that is not installed here.
    """
    recipes: dict[str, Recipe] = {}
    progress = Progress()
    for one in settings:
        found = named_recipes(one.recipes, storage_options(one, one.recipes))
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
    reach(store)
    reporting(settings[0])
    require_packages(store, recipes, settings[0], select)
    tags = {FORCE_TAG: "true"} if force else {}
    tags |= {PARTIAL_TAG: "true"} if partial else {}
    started = time.perf_counter()
    with opened(pools_of(definitions)) as instance, console(), attended(instance, progress):
        if select is None or INDEX in select:
            progress.say(f"index: {', '.join(recipes)}")
            with at_work(store.storage, [INDEX]):  # so that a root that goes away meanwhile is missed
                index_tags = {SETTLED_TAG: "true"} if settled else {}
                execute_step(definitions, instance, PlanStep("index", (INDEX,)), index_tags, progress)

        def execute(step: PlanStep) -> None:
            execute_step(definitions, instance, step, tags, progress)

        order = instance.get_dynamic_partitions(SHARDS.name or "")
        own = [k for k in order if dataset_of(k) in recipes]
        if progress.unwritable or (progress.failures and not own):
            print("\n".join(progress.failed_lines()))
            return 1
        if select and not own:
            raise RecipeError(
                f"--select: {', '.join(recipes)} has no shards yet, because it was never indexed here, or its source lists nothing; "
                f"run the recipe without --select, or --select {INDEX},{','.join(a for a in select if a != INDEX)}"
            )
        try:
            chosen = named(shards, own) if shards else own
        except LookupError as error:
            wrong = ", ".join(error.args)
            raise RecipeError(
                f"--shards: {wrong} is no shard of {', '.join(recipes)}; there are {', '.join(own[:10])}{', ...' if len(own) > 10 else ''}"
            ) from error
        work = everything(recipes, chosen, select)
        work.index = False
        keys = [*chosen, *(subset_key(n, s) for n, r in recipes.items() for s in r.subsets), *work.gathered]
        with at_work(store.storage, keys):
            steps = list(plan(work, order, settings[0].run_partitions or RUN_SHARDS))
            still = StillToDo(store, recipes, settings[0], instance, progress)
            for phase in PHASES[:-1]:
                asked = [s for s in steps if s.phase == phase]
                for step in asked if force else still.left(asked):
                    named_keys = f"{' ... '.join(dict.fromkeys((step.keys[0], step.keys[-1])))}: " if step.keys else ""
                    words = f"{named_keys}{', '.join(step.assets)}"
                    progress.say(words)
                    execute(step)
            held = held_back(store, recipes, settings[0], partial) if shards else {}
            left = still.left_of if not force else lambda step: step
            _run_subsets(execute, left, (s for s in steps if s.phase == "subsets"), recipes, progress, held)
    progress.failures += unread(store, recipes, settings[0], chosen)
    tolerant = Tolerant(store)
    print(summary(tolerant, chosen))
    tallies, own_shards = Tallies(tolerant), set(chosen)
    for recipe in recipes.values():
        for failed in failures(tolerant, tallies, recipe, own_shards, asked_again=False):
            print(f"{recipe.dataset}: {failed.line}" if len(recipes) > 1 else failed.line)
    for line in outcome_of_subsets(tolerant, recipes, progress.in_hand):
        print(line)
    for damage in tolerant.damaged:
        print(f"DAMAGED {damage}")
    print(f"{time.perf_counter() - started:.1f} s")
    print("\n".join([*progress.lines(), *progress.failed_lines()]))
    if settings[0].sample is not None and select is None:
        for recipe in recipes.values():
            print(f"\n{render(project(store, recipe, settings[0]))}")
    return 1 if progress.failures else 0


def _run_subsets(
    execute: Execute,
    left: Callable[[PlanStep], PlanStep | None],
    steps: Iterable[PlanStep],
    recipes: Mapping[str, Recipe],
    progress: Progress,
    held: Collection[str] = (),
) -> None:
    """Publishes the subsets, as far as something is `left` to do, but for those `held` back because only some shards were asked for, and those whose shards
    do not pass a check."""
    for step in steps:
        (key,) = step.keys
        recipe, subset = subsets(recipes)[key]
        blocked = next((d for d in subset.datasets or [recipe.dataset] if d in progress.blocked), None)
        if blocked is not None:
            progress.failures.append(
                f"{key}: not made, since shards of {blocked} do not pass the blocking check {progress.blocked[blocked]}"
            )
            progress.say(f"  FAILED {key} (see below)")
        elif key in held:
            progress.say(f"{key}: left as it is, since shards that were not asked for are not complete")
        elif (todo := left(step)) is not None:
            progress.say(f"{key}: {', '.join(todo.assets)}")
            execute(todo)
