"""What the recipes of several datasets must say alike, since concepts and semantic duplicates span them.

What belongs here: which recipes ask, and the one value that they name. What does not: what the tables are made from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from curation_assets.recipes import Recipe, RecipeError
from curation_assets.selection import assets_of_recipe

T = TypeVar("T")


def asking(recipes: Mapping[str, Recipe], asset: str) -> dict[str, Recipe]:
    """The recipes that ask for an asset."""
    return {n: r for n, r in recipes.items() if asset in assets_of_recipe(r)}


def agreed(named: Mapping[str, T], absent: T, otherwise: str) -> T:
    """What all datasets name.

    Args:
        named: dataset -> what its recipe says.
        absent: what holds if no dataset says anything.
        otherwise: how a message that begins with two datasets goes on.

    Raises:
        RecipeError: datasets say different things.
    """
    names = sorted(named)
    for name in names[1:]:
        if named[name] != named[names[0]]:
            raise RecipeError(f"datasets {names[0]} and {name} {otherwise}")
    return named[names[0]] if names else absent
