"""Which assets a recipe wants: what costs no model always, the rest where the recipe speaks of it."""

from __future__ import annotations

from collections.abc import Iterable

from curation_assets.publish.subsets import Subset
from curation_assets.recipes import Recipe
from curation_assets.registry import COMPONENTS, component, names
from curation_assets.rules.columns import tables_of_columns, tables_of_rules

SUBSET_ASSETS = names("subset")
UNPARTITIONED = names("whole")


def assets_of_subset(subset: Subset) -> list[str]:
    """Assets of group publish that the subset asks for."""
    return [a for a in SUBSET_ASSETS if component(a).in_subset(subset)]


def assets_of_recipe(recipe: Recipe) -> list[str]:
    """Names of the sharded and global assets that the recipe's sections, rules and exports ask for, in graph order."""
    judged = [c for c in COMPONENTS if c.partitioned != "subset"]
    wanted = {c.asset for c in judged if c.asked_by(recipe)}
    for c in judged:
        if c.prefilter in recipe.model_fields_set and "where" in getattr(recipe, c.prefilter).model_fields_set:
            wanted.update(tables_of_rules(getattr(recipe, c.prefilter).where, recipe))
    for subset in recipe.subsets.values():
        wanted.update(tables_of_rules(subset.where, recipe))
        for part in map(component, assets_of_subset(subset)):
            wanted.update(part.inputs, tables_of_columns(part.columns(subset), recipe))
    return in_order(_closure(wanted))


def _closure(wanted: Iterable[str]) -> set[str]:
    """The given assets and all that they cannot be made without."""
    closed: set[str] = set()
    left = list(wanted)
    while left:
        asset = left.pop()
        if asset not in closed:
            closed.add(asset)
            left += (*component(asset).inputs, *component(asset).slices)
    return closed


def in_order(assets: Iterable[str]) -> list[str]:
    """The given assets in graph order."""
    given = set(assets)
    return [c.asset for c in COMPONENTS if c.asset in given]
