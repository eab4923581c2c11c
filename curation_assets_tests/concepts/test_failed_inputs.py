"""What is made over all shards, and what a shard takes of it, while what it is made from failed: nothing of no shard, and nothing for those that lack it."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.engine.plan import everything, plan
from curation_assets.engine.staleness import FRESH, State, shard_states
from curation_assets.registry import GATHERED, component
from curation_assets.report import dataset_report
from curation_assets_tests.concepts.planted import planted_videos
from curation_assets_tests.site import Site
from curation_assets_tests.tiny_clip import write_tiny_clip

RECIPE = """
dataset: planted
source: {{format: folder, path: {root}/videos}}
shard: {{videos: 2}}
clips: {{from: whole, min_s: 0.5}}
embeddings: {{model: "local-dir:{root}/model"}}
concepts: {{clusters: 2, sample: 8}}
semantic_dedup: {{threshold: 0.99}}
"""
SHARDS = ("planted-00000", "planted-00001", "planted-00002")
TAKEN = {"duplicate_clusters": "dedup", "concepts": "clip_concepts", "semantic_duplicates": "semantic_dedup"}
"""Table over all shards -> the table of a shard that takes its own rows of it."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    planted_videos(tmp_path / "videos", 2, 3)
    site.declare(RECIPE.format(root=tmp_path))
    site.index()
    return site


def run(site: Site) -> dict[str, str]:
    """Asks for everything, as `curation run` does; asset -> why it failed."""
    site.failed.clear()
    work = everything(site.recipes, SHARDS)
    work.index = False
    site.run(*plan(work, SHARDS))
    return {a: str(failed.error) for failed in site.failed for a in failed.assets}


def states(site: Site) -> list[State]:
    return list(shard_states(site.store, site.recipes, site.settings, remember=False))


def fresh(site: Site) -> set[tuple[str, str | None]]:
    return {(s.asset, s.partition) for s in states(site) if s.state == FRESH}


def without(site: Site) -> tuple[str, ...]:
    return dataset_report(site.store, site.recipes["planted"], site.settings).without


def test_of_inputs_that_all_failed_nothing_is_made_and_all_is_once_they_are_there(site: Site) -> None:
    failed = run(site)
    assert {*failed} == {"frame_embeddings", "concepts", "clip_concepts", "semantic_duplicates", "semantic_dedup"}
    assert "no shard of planted has that (3 shards looked at)" in failed["semantic_duplicates"]
    assert "semantic_duplicates, which is made from clip_concepts, which does not exist" in failed["semantic_dedup"]
    assert "MissingWeights" not in failed["concepts"], "a message says what is missing, not of which class the error is"
    assert not {a for a, _ in site.tables()} & failed.keys()
    assert not {a for a, _ in fresh(site)} & failed.keys()
    write_tiny_clip(site.root / "model", 64)
    assert run(site) == {}
    assert {a for a, _ in fresh(site)} >= failed.keys()


def test_a_shard_whose_input_failed_is_left_out_and_has_no_part(site: Site) -> None:
    write_tiny_clip(site.root / "model", 64)
    assert run(site) == {}
    assert {*TAKEN} == {*GATHERED}
    bad = SHARDS[1]
    for gathered, taken in TAKEN.items():
        source = component(gathered).inputs[0]
        kept = {a: (site.root / f"data/{a}/{bad}.parquet").read_bytes() for a in (source, taken)}
        for asset in kept:
            (site.root / f"data/{asset}/{bad}.parquet").unlink()
        work = everything(site.recipes, SHARDS, select=[gathered, taken])
        work.index = False
        site.failed.clear()
        site.run(*plan(work, SHARDS))
        (why,) = [str(f.error) for f in site.failed]
        assert f"{taken} failed for 1 of 3 shards; the others are committed" in why, gathered
        assert bad in why
        assert source in why
        assert not (site.root / f"data/{taken}/{bad}.parquet").exists()
        said, kept_said = f"{bad}, which lacks {source}", f"{bad}, which lacked {source} when it was made"
        assert (f"{gathered} was made without {said}" in without(site)) == (gathered != "concepts"), (
            "concepts were fitted with it"
        )
        if gathered != "concepts":
            assert site.store.header(gathered).stats["made_without"] == kept_said
            assert any(
                s.asset == gathered and s.state == "waiting" and f"was made without {kept_said}" in s.reasons
                for s in states(site)
            )
        for asset, data in kept.items():
            (site.root / f"data/{asset}/{bad}.parquet").write_bytes(data)
    assert run(site) == {}
    assert without(site) == ()


def test_concepts_say_which_shards_they_were_fitted_without(site: Site) -> None:
    write_tiny_clip(site.root / "model", 64)
    assert run(site) == {}
    path = site.root / f"data/frame_embeddings/{SHARDS[1]}.parquet"
    kept = path.read_bytes()
    for name in (path, site.root / "data/concepts.parquet"):
        name.unlink()
    work = everything(site.recipes, SHARDS, select=["concepts"])
    work.index = False
    site.run(*plan(work, SHARDS))
    path.write_bytes(kept)
    said = f"{SHARDS[1]}, which lacked frame_embeddings when it was made"
    assert site.store.header("concepts").stats["made_without"] == said
    assert f"concepts was made without {said}" in without(site), "though they are there by now"


@pytest.mark.parametrize("emptied", [False, True], ids=["its embeddings failed", "it has no clip"])
def test_embeddings_of_a_dataset_that_asks_for_no_concepts_are_none_of_another(tmp_path: Path, emptied: bool) -> None:
    site = Site(tmp_path)
    for folder in ("videos", "others"):
        planted_videos(tmp_path / folder, 2, 1)
    write_tiny_clip(tmp_path / "model", 64)
    own = RECIPE.format(root=tmp_path)
    short = own.replace("from: whole, min_s: 0.5", "from: detect, min_s: 5")
    other = "\n".join(line for line in own.splitlines() if not line.startswith(("concepts", "semantic")))
    other = other.replace("planted", "other").replace("/videos", "/others")
    site.declare(short if emptied else own, other)
    site.index()
    shards = ["other-00000", "planted-00000"]

    def asked(select: list[str] | None = None) -> None:
        work = everything(site.recipes, shards, select)
        work.index = False
        site.run(*plan(work, shards))

    asked()
    assert site.failed == []
    assert {a for a, s in site.tables() if s == shards[1]} >= {"clip_concepts", "semantic_dedup"}
    rows = [site.store.read("frame_embeddings", s).num_rows for s in shards]
    assert rows[0] > 0
    assert (rows[1] == 0) == emptied
    if not emptied:
        for name in ("frame_embeddings/planted-00000", "concepts"):
            (site.root / f"data/{name}.parquet").unlink()
        asked(["concepts"])
        assert [f.assets for f in site.failed] == [("concepts",)]
        assert "no shard of planted has that" in str(site.failed[0].error)
        assert not (site.root / "data/concepts.parquet").exists()
