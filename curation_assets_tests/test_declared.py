"""What is said of a dataset that is stored and that no recipe names: whoever follows the advice loses nothing that was paid for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from curation_assets.engine.declared import record, undeclared
from curation_assets.recipes import load_recipes
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_resources.provenance import Provenance
from curation_resources.tables import TableStore

RECIPE = "dataset: {name}\nsource: {{format: folder, path: videos}}\n"


def indexed(store: TableStore, *names: str) -> None:
    rows = [
        {"dataset": n, "video_id": "v", "shard": f"{n}-00000", "source": "v.mp4", "line": 1, "status": "present"}
        for n in names
    ]
    store.commit(
        "dataset_index", None, pa.Table.from_pylist(rows, schema=schema("dataset_index").arrow), Provenance("1")
    )


@pytest.mark.parametrize("file", ["a.yaml", "b.yaml"], ids=["of the same file", "the file renamed too"])
def test_the_new_name_of_a_dataset_is_proposed_until_something_of_it_is_stored(tmp_path: Path, file: str) -> None:
    settings = Settings(storage=str(tmp_path / "data"))
    store = table_store(settings)
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    (recipes / "a.yaml").write_text(RECIPE.format(name="old"))
    (recipes / "other.yaml").write_text(RECIPE.format(name="other"))
    record(store.storage, load_recipes(str(recipes)))
    indexed(store, "old", "other")
    (recipes / "a.yaml").unlink()
    (recipes / file).write_text(RECIPE.format(name="new"))
    declared = load_recipes(str(recipes))
    [left] = undeclared(store, declared, settings)
    assert "`curation rename old new` keeps what was made" in left.remedy
    indexed(store, "new", "old", "other")
    [left] = undeclared(store, declared, settings)
    assert left.remedy == "`curation remove old` removes it"


def test_of_several_new_datasets_that_of_the_same_file_is_proposed_or_none(tmp_path: Path) -> None:
    settings = Settings(storage=str(tmp_path / "data"))
    store = table_store(settings)
    (tmp_path / "a.yaml").write_text(RECIPE.format(name="old"))
    record(store.storage, load_recipes(str(tmp_path / "a.yaml")))
    indexed(store, "old")
    for file, name in (("a", "new"), ("b", "another")):
        (tmp_path / f"{file}.yaml").write_text(RECIPE.format(name=name))
    declared = {k: v for f in ("b", "a") for k, v in load_recipes(str(tmp_path / f"{f}.yaml")).items()}
    [left] = undeclared(store, declared, settings)
    assert left.heir == "new"
    (tmp_path / "a.yaml").rename(tmp_path / "c.yaml")
    declared = {k: v for f in ("b", "c") for k, v in load_recipes(str(tmp_path / f"{f}.yaml")).items()}
    [left] = undeclared(store, declared, settings)
    assert left.heir is None, "which of the two cannot be told"
