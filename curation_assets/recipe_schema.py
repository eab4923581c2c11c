"""The JSON Schema of recipes, by which editors complete and check them as they are written.

It is derived from the models that read recipes, so that it has the keys of installed packages too. What belongs here: what of the models JSON Schema says
otherwise. What does not: the keys (the rooms), and what a schema cannot say (`recipes.py`, `rules/faults.py`).
"""

from __future__ import annotations

from typing import Any

from curation_assets.recipes import Recipe

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def recipe_schema() -> dict[str, Any]:
    """The schema, of draft 2020-12. What it refuses, `parse_recipe` refuses too; not the other way round, since it knows neither rules nor columns."""
    found: dict[str, Any] = Recipe.model_json_schema(by_alias=True, mode="validation")
    _close(found)
    return {"$schema": DIALECT, **found, "title": "Recipe of a curated dataset"}


def _close(value: Any) -> None:
    """Mappings whose keys have a pattern take no others; pydantic leaves that open."""
    if isinstance(value, dict):
        if "patternProperties" in value:
            value.setdefault("additionalProperties", False)
        for inner in value.values():
            _close(inner)
    elif isinstance(value, list):
        for inner in value:
            _close(inner)
