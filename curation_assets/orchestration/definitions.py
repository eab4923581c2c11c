"""The Dagster code location. `build_definitions` is the only place that assembles; tests, the CLI and production all call it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from dagster import (
    Definitions,
    Field,
    InitResourceContext,
    Noneable,
    ResourceDefinition,
    in_process_executor,
    multiprocess_executor,
)

from curation_assets.orchestration.assets import all_assets
from curation_assets.orchestration.io_manager import TableIOManager
from curation_assets.orchestration.jobs import all_jobs
from curation_assets.orchestration.sensors import all_schedules, all_sensors
from curation_assets.recipes import Recipe, read_recipes
from curation_assets.registry import BROKEN
from curation_assets.settings import Settings
from curation_assets.stores import storage_options, table_store
from curation_resources.extras import require


def build_definitions(settings: Settings, recipes: Mapping[str, Recipe] | None = None) -> Definitions:
    """The whole graph over the settings' recipes (or the given ones) and storage.

    Raises:
        RecipeError: there are no recipes, or the one file that the settings name cannot be used. Of a folder, files that cannot be used
            are left out; the log, `dataset_index` and the ticks of the sensors say so.
    """
    found = read_recipes(settings.recipes, storage_options(settings, settings.recipes)) if recipes is None else None
    recipes, faults = (found.usable, found.faults) if found is not None else (recipes or {}, ())
    for fault in faults:
        logging.getLogger("dagster.recipes").warning(f"recipe left out: {fault.message}")
    for broken in BROKEN:
        logging.getLogger("dagster.recipes").warning(str(broken))
    store = table_store(settings)
    assets = all_assets(settings, recipes, faults)
    jobs = all_jobs(assets)
    return Definitions(
        assets=assets,
        jobs=jobs,
        sensors=all_sensors(settings, recipes, store, jobs, faults),
        schedules=all_schedules(recipes),
        executor=executor(settings),
        resources={
            "io_manager": TableIOManager(store),
            "tables": store,
            "recipes": dict(recipes),
            "settings": settings_of_run(settings),
        },
    )


def settings_of_run(settings: Settings) -> ResourceDefinition:
    """The settings as a resource whose configuration is what the launchpad lets one run do differently."""

    def make(context: InitResourceContext) -> Settings:
        workers = context.resource_config["workers"]
        return settings if workers is None else Settings(**{**settings.model_dump(), "workers": workers})

    fields = {
        "force": Field(
            bool,
            is_required=False,
            default_value=False,
            description="Make again what is up to date, videos included. The run's tag curation/force: true says the same.",
        ),
        "workers": Field(
            Noneable(int),
            is_required=False,
            default_value=None,
            description=f"Processes that each shard is spread over; null is CURATION_WORKERS, which is {settings.workers} here.",
        ),
    }
    return ResourceDefinition(
        make, config_schema=fields, description="What this run does otherwise than the settings say."
    )


def executor(settings: Settings) -> Any:
    """How the steps of a run are executed."""
    if settings.executor == "k8s":
        require("CURATION_EXECUTOR=k8s", "dagster_k8s")
        from dagster_k8s import k8s_job_executor

        return k8s_job_executor
    return multiprocess_executor if settings.executor == "multiprocess" else in_process_executor
