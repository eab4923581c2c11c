"""What the UI says of an asset beside what it is: which recipes ask for it, so that what nobody asks for does not look like what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curation_assets.recipes import Recipe, subset_key
from curation_assets.registry import component
from curation_assets.selection import assets_of_recipe

SHOWN = 8
"""Recipes or subsets that are named."""


def asked(asset: str, recipes: Mapping[str, Recipe]) -> str:
    """Who asks for a table, as a paragraph of Markdown; empty where all do."""
    part = component(asset)
    if part.partitioned == "subset":
        subsets = {subset_key(r.dataset, n): s for r in recipes.values() for n, s in r.subsets.items()}
        who = {key: part.in_subset(subset) for key, subset in subsets.items()}
        return _said("subset", who, "")
    how = " or ".join(f"`{key.name}:`" for key in part.keys)
    return _said("recipe", {n: asset in assets_of_recipe(r) for n, r in recipes.items()}, how)


def _said(kind: str, who: Mapping[str, bool], how: str) -> str:
    yes, no = ([n for n, asks in who.items() if asks == wanted] for wanted in (True, False))
    if who and not no:
        return ""
    if not yes:
        means = (
            f"; {how} in a recipe asks for it, and so does a rule or an export that names its columns" if how else ""
        )
        return f"\n\n**No {kind} asks for it**: that nothing of it is made is no failure{means}."
    return f"\n\nAsked for by {_names(yes)}; not by {_names(no)}."


def _names(names: Sequence[str]) -> str:
    listed = ", ".join(f"`{n}`" for n in names[:SHOWN])
    return listed + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
