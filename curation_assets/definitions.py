"""The Dagster code location. `build_definitions` is the only place that assembles; tests, the CLI and production all call it."""

from __future__ import annotations

from collections.abc import Mapping

from dagster import Definitions
from dagster_aws.s3 import S3Resource

from curation_assets.assets import all_assets
from curation_assets.jobs import all_jobs
from curation_assets.recipes import Recipe, load_recipes
from curation_assets.schemas import SCHEMAS
from curation_assets.settings import Settings
from resources.s3 import storage_options
from resources.storage import Storage
from resources.table_io_manager import TableIOManager
from resources.tables import TableStore


def table_store(settings: Settings) -> TableStore:
    """The tables of an installation."""
    s3 = S3Resource(endpoint_url=settings.s3_endpoint, region_name=settings.s3_region, profile_name=settings.s3_profile)
    options = storage_options(s3) if settings.storage.startswith("s3://") else {}
    return TableStore(Storage(settings.storage, options), SCHEMAS)


def build_definitions(settings: Settings, recipes: Mapping[str, Recipe] | None = None) -> Definitions:
    """The whole graph over the settings' recipes (or the given ones) and storage.

    Raises:
        RecipeError: a recipe that cannot be used; names file, key and what is allowed.
    """
    recipes = load_recipes(settings.recipes, storage_options_for_recipes(settings)) if recipes is None else recipes
    store = table_store(settings)
    return Definitions(
        assets=all_assets(settings, recipes),
        jobs=all_jobs(recipes),
        resources={
            "io_manager": TableIOManager(store),
            "tables": store,
            "recipes": dict(recipes),
            "settings": settings,
        },
    )


def storage_options_for_recipes(settings: Settings) -> dict[str, object]:
    """fsspec options for recipes that lie in a bucket: the same credentials as the tables."""
    if not settings.recipes.startswith("s3://"):
        return {}
    return storage_options(
        S3Resource(endpoint_url=settings.s3_endpoint, region_name=settings.s3_region, profile_name=settings.s3_profile)
    )


defs = build_definitions(Settings.load())
