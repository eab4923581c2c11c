"""Whether what recipes ask for can be made with the packages that are installed here, asked before anything is fetched or computed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from curation_assets.engine.staleness import FRESH, looked_at
from curation_assets.recipes import Recipe
from curation_assets.registry import component
from curation_assets.selection import assets_of_recipe
from curation_assets.settings import Settings
from curation_resources.extras import MissingExtra
from curation_resources.tables import TableStore


def lacking(recipes: Mapping[str, Recipe], select: Collection[str] | None) -> Iterator[tuple[str, str, str]]:
    """(dataset, asset, sentence) of each table that is asked for and needs a package that is not installed."""
    for dataset, recipe in recipes.items():
        for asset in assets_of_recipe(recipe):
            if select is None or asset in select:
                try:
                    component(asset).installed(recipe)
                except MissingExtra as error:
                    yield dataset, asset, str(error)


def require_packages(
    store: TableStore, recipes: Mapping[str, Recipe], settings: Settings, select: Collection[str] | None
) -> None:
    """Refuses a run that would come to a table that cannot be made here. What is up to date already, made elsewhere maybe, needs nothing.

    Raises:
        MissingExtra: says what is missing, of which recipe, and what to do.
    """
    missing = list(lacking(recipes, select))
    if not missing:
        return
    graph = looked_at(store, recipes, settings, why=False, media=False)
    standing = graph.look()
    for dataset, asset, said in missing:
        counts = standing.counts(asset, dataset)
        if dataset not in graph.spans or counts.keys() - {FRESH}:
            raise MissingExtra(f"{recipes[dataset].declared_in or dataset}: {asset} cannot be made here: {said}")
