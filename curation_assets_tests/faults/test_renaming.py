"""Datasets whose recipe is gone or has another name: they compete with nobody, are listed, move without being made again, and can be removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curation_assets import renaming
from curation_assets.engine.declared import undeclared
from curation_assets.engine.staleness import SHARDED
from curation_assets.orchestration.instance import Instance
from curation_assets.recipes import RecipeError, load_recipes
from curation_assets.renaming import Holdings, holdings, remove, rename
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video
from curation_resources.tables import TableStore

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

RECIPE = """
dataset: {name}
source: {{format: folder, path: {root}/videos}}
download: {{store: copy}}
shard: {{videos: 2}}
clips: {{from: fixed, max_s: 0.5, min_s: 0.2}}
audio: {{}}
subsets:
  all: {{where: [keep], export: {{clips: {{format: folder, audio: false}}}}}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Installation:
    """Dataset `sl` of three videos in two shards, published."""
    (tmp_path / "videos").mkdir()
    for i in range(3):
        (tmp_path / "videos" / f"v{i}.mp4").write_bytes(sample_video(seed=i))
    (tmp_path / "recipes").mkdir()
    installation = Installation(tmp_path)
    declare(installation, "sl")
    assert installation.run("index")
    installation.settle()
    assert installation.failed == []
    return installation


def declare(site: Installation, *names: str) -> None:
    for old in (site.root / "recipes").glob("*.yaml"):
        old.unlink()
    for name in names:
        (site.root / "recipes" / f"{name}.yaml").write_text(RECIPE.format(name=name, root=site.root))
    site.recipes = load_recipes(str(site.root / "recipes"))


def selected(site: Installation, key: str) -> int:
    header = site.store.header("curated_clips", key)
    assert header is not None
    return int(header.stats["selected"])


def renamed(site: Installation, say: Any = lambda text: None) -> None:
    rename(site.store, site.instance, site.recipes, site.settings, "sl", "sl2", say)


def test_a_renamed_dataset_keeps_all_that_was_made_also_if_the_command_was_killed(site: Installation) -> None:
    published = selected(site, "sl-all")
    before = {
        (a, k): (h.content_hash, h.stats.get("videos")) for a, k in site.tables() if (h := site.store.header(a, k))
    }
    with pytest.raises(RecipeError, match="still declared"):
        renamed(site)
    declare(site, "sl2")

    class Killed(Exception):
        pass

    def dies(text: str) -> None:
        raise Killed

    with pytest.raises(Killed):
        renamed(site, dies)
    with pytest.MonkeyPatch.context() as patch:

        def takes_tables_and_dies(store: TableStore, instance: Instance, found: Holdings) -> None:
            remove(store, instance, Holdings(found.name, found.tables))
            raise Killed

        patch.setattr(renaming, "remove", takes_tables_and_dies)
        with pytest.raises(Killed):
            renamed(site)
    assert (Path(site.settings.storage) / "raw_shards" / "sl-00000").is_dir()
    renamed(site)
    assert not (Path(site.settings.storage) / "raw_shards" / "sl-00000").exists()
    with pytest.raises(RecipeError, match="nothing of sl is stored here"):
        renamed(site)
    tables = site.tables()
    assert {(a, k) for a, k in tables if a in SHARDED} == {
        (a, (k or "").replace("sl-", "sl2-")) for a, k in before if a in SHARDED
    }
    assert list(site.instance.get_dynamic_partitions("shards")) == ["sl2-00000", "sl2-00001"]
    (left,) = undeclared(site.store, site.recipes, site.settings)
    assert str(left).startswith(
        "sl: 2 tables that no recipe here names; only what it has published is left of it; it takes part in nothing"
    )
    assert site.run("index")
    site.settle()
    assert site.failed == []
    made = {a for a, _ in site.made_since(tables)} & set(SHARDED)
    assert made <= {"dedup"}, "nothing that costs was made again"
    assert selected(site, "sl2-all") == published
    exported = site.store.read("clip_dataset", "sl2-all")
    assert set(exported["status"].to_pylist()) == {"ok"}
    assert set(exported["dataset"].to_pylist()) == {"sl2"}
    fresh = Installation(site.root / "other")
    fresh.recipes = site.recipes
    assert fresh.run("index")
    fresh.settle()
    for asset, key in fresh.tables():
        ours, theirs = site.store.header(asset, key), fresh.store.header(asset, key)
        assert ours is not None
        assert theirs is not None
        assert ours.content_hash == theirs.content_hash, (asset, key)


def test_a_dataset_whose_recipe_is_gone_competes_with_nobody_is_listed_and_can_be_removed(site: Installation) -> None:
    published = selected(site, "sl-all")
    declare(site, "sl2")
    (found,) = undeclared(site.store, site.recipes, site.settings)
    assert found.name == "sl"
    assert found.gone
    assert site.run("index")
    site.settle()
    assert selected(site, "sl2-all") == published, "its clips are no copies of what is gone"
    declare(site, "sl", "sl2")
    site.settle()
    assert selected(site, "sl2-all") + selected(site, "sl-all") == published, "as soon as both are declared, they are"
    declare(site, "sl2")
    site.settle()
    gone = holdings(site.store, site.instance, "sl")
    assert any("raw_shards: 2 tables" in line for line in gone.lines())
    remove(site.store, site.instance, gone)
    assert not holdings(site.store, site.instance, "sl")
    assert not list(Path(site.store.storage.root).rglob("sl-*"))
    assert list(undeclared(site.store, site.recipes, site.settings)) == []
    site.settle()
    assert selected(site, "sl2-all") == published


def test_a_run_of_one_recipe_leaves_datasets_that_are_declared_elsewhere_in_place(site: Installation) -> None:
    other = site.root / "elsewhere"
    other.mkdir()
    (other / "twin.yaml").write_text(RECIPE.format(name="twin", root=site.root))
    site.recipes = load_recipes(str(other / "twin.yaml"))
    assert site.run("index")
    site.settle()
    (found,) = undeclared(site.store, site.recipes, site.settings)
    assert (found.name, found.gone) == ("sl", False)
    assert selected(site, "twin-all") == 0, "they are copies of videos of a dataset that is declared in another file"
