"""What of a video's frames the models of a recipe take, which the one decode keeps for them."""

from __future__ import annotations

from collections.abc import Callable

from curation_assets.recipes import Recipe
from curation_assets.registry import component
from curation_assets.selection import assets_of_recipe
from curation_resources.extras import MissingExtra
from curation_resources.model_input import Fit
from curation_resources.weights import MissingWeights, WrongWeights


def frame_fits(recipe: Recipe, said: Callable[[str], None]) -> list[Fit]:
    """How the models of all tables that a recipe asks for take stored frames, each way once.

    A model of which that cannot be told here is `said` and left out: it reads the stored pictures.
    """
    found: dict[str, Fit] = {}
    for part in map(component, assets_of_recipe(recipe)):
        try:
            fit = part.frame_fit(recipe)
        except (MissingWeights, WrongWeights, MissingExtra, OSError, ValueError) as error:
            said(
                f"no input of {part.asset} is kept beside the frames, which takes it from their pictures then: {error}"
            )
            continue
        if fit is not None:
            found[fit.name] = fit
    return list(found.values())
