"""The comparison spans datasets: what holds where their recipes differ, and what the pictures of an audit show."""

from __future__ import annotations

from itertools import permutations

import pytest

from curation_assets.assets.dedup import clusters_params
from curation_assets.recipes import Dedup, Recipe, RecipeError, parse_recipe


def _recipe(dataset: str, dedup: str = "{}") -> Recipe:
    return parse_recipe(f"dataset: {dataset}\nsource: {{format: folder, path: videos}}\ndedup: {dedup}\n", dataset)


def test_parameters_do_not_depend_on_the_order_of_recipes() -> None:
    recipes = [
        _recipe("a", "{distance: 8, coverage: 0.7, center: false, frames: 5, step: 2}"),
        _recipe("b", "{agree: 12, matches: 3, flipped: true, confirm_cosine: 0.8}"),
        _recipe("c", "{agree: 16, coverage: 0.5, survivor: first_seen, confirm_cosine: 0.9, fps: 5}"),
    ]
    for order in permutations(recipes):
        assert clusters_params({r.dataset: r for r in order}) == Dedup(
            distance=8,
            matches=3,
            agree=12,
            coverage=0.7,
            center=True,
            flipped=True,
            confirm_cosine=0.9,
            survivor="first_seen",
        )


def test_parameters_of_one_recipe_and_of_none() -> None:
    alone = "{method: dhash, agree: 16, coverage: 0.5, center: false}"
    assert clusters_params({"a": _recipe("a", alone)}) == Dedup(method="dhash", agree=16, coverage=0.5, center=False)
    assert clusters_params({}) == Dedup()


def test_hashes_of_different_methods_are_refused() -> None:
    with pytest.raises(RecipeError, match="datasets a and b hash by dhash and phash"):
        clusters_params({"a": _recipe("a", "{method: dhash}"), "b": _recipe("b")})
