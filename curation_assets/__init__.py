"""Lists of videos become curated training sets: a graph of partitioned tables, made by Dagster or from Python.

    import curation_assets as curation

    with curation.open("recipes/mine.yaml", storage="./data") as mine:
        mine.run()
        print(mine.table("clips").num_rows)

Names are loaded when they are asked for, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation_assets.api import Clip, ExportedClips, Installation, RunFailed, Sample, load_recipe, open, save_recipe
    from curation_assets.recipes import Recipe, RecipeError

_HOMES = {
    **dict.fromkeys(
        ("Clip", "ExportedClips", "Installation", "RunFailed", "Sample", "load_recipe", "open", "save_recipe"),
        "curation_assets.api",
    ),
    **dict.fromkeys(("Recipe", "RecipeError"), "curation_assets.recipes"),
}
__all__ = [
    "Clip",
    "ExportedClips",
    "Installation",
    "Recipe",
    "RecipeError",
    "RunFailed",
    "Sample",
    "load_recipe",
    "open",
    "save_recipe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
