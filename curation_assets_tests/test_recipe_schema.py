"""The JSON Schema of recipes takes what `parse_recipe` takes, and what it refuses, that refuses too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from curation_assets.cli import main
from curation_assets.recipe_schema import recipe_schema
from curation_assets.recipes import RecipeError, parse_recipe

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = [
    p for d in ("recipes", "recipes/examples", "curation_assets/starter") for p in sorted((ROOT / d).glob("*.yaml"))
]
RECIPES = [
    p for p in SHIPPED if "\ndataset: " in p.read_text(encoding="utf-8") and "$dataset" not in p.read_text("utf-8")
]
GOOD = "dataset: good\nsource: {format: ids, path: ids.txt}\n"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    found = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(found)
    return found


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_every_recipe_that_is_shipped_fits(path: Path, schema: dict[str, Any]) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


@pytest.mark.parametrize(
    "more",
    [
        "subsets: {s: {where: keep}}",
        "subsets: {s: {where: [keep, 'motion > 0']}}",
        "categories: {kind: [cat, dog], style: {cartoon: a cartoon, photo: [a photo, a picture]}}",
        "categories: {kind: {prompts: {cat: a cat}}}",
    ],
)
def test_short_forms_fit(more: str, schema: dict[str, Any]) -> None:
    parse_recipe(GOOD + more, "r")
    jsonschema.validate(yaml.safe_load(GOOD + more), schema)


@pytest.mark.parametrize(
    "more",
    [
        "motoin: {fps: 4}",
        "motion: {fsp: 4}",
        "subsets: {s: {select: {criterion: best}}}",
        "clips: {min_s: soon}",
        "subsets: {S: {}}",
    ],
)
def test_what_it_refuses_cannot_be_used(more: str, schema: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        parse_recipe(GOOD + more, "r")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(GOOD + more), schema)


def test_validate_names_what_is_wrong_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD + "subsets: {s: {where: keep}}\n")
    assert main(["validate", "good.yaml"]) == 0
    assert "good.yaml: can be used; dataset good, subsets: good-s" in capsys.readouterr().out
    (tmp_path / "bad.yaml").write_text("dataset: bad\nsource: {format: ids, path: ids.txt}\nmotoin: {}\n")
    assert main(["validate", "."]) == 2
    said = capsys.readouterr()
    assert "good.yaml: can be used" in said.out
    assert "bad.yaml: motoin: unknown key" in said.err
    assert main(["validate", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["clips"]
