"""SemDeDup's rule against its definition by brute force, what was compared before against all at once, and both on real embeddings."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation_assets.concepts.semantic_inputs import semantic_params
from curation_assets.concepts.semdedup import Nearest, compare, survivors
from curation_assets.engine.plan import PlanStep
from curation_assets.explain import explain
from curation_assets.recipes import RecipeError
from curation_assets_tests.concepts.planted import planted_videos
from curation_assets_tests.site import Site
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.content_hash import content_hash

RECIPE = """
dataset: planted
source: {{format: folder, path: {root}/videos}}
shard: {{videos: 5}}
clips: {{from: whole, min_s: 0.5}}
embeddings: {{model: "local-dir:{root}/model"}}
concepts: {{clusters: 3, sample: 8}}
semantic_dedup: {{threshold: {threshold}, survivor: {survivor}}}
subsets:
  once: {{where: [semantic_keep]}}
"""


def brute_force(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Which of some vectors, in order, are dropped: those whose cosine with one before them is above the threshold."""
    cosines = np.triu(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 1)
    found: np.ndarray = np.round(cosines, 5).max(axis=0) > threshold
    return found


def crowds(count: int, seed: int) -> np.ndarray:
    """float32 (count, 24) of length 1: some alone, some close to others, chains of resemblance among them."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count // 4, 24))[rng.integers(0, count // 4, count)]
    vectors += rng.choice([0, 0.05, 0.2, 0.5], (count, 1)) * rng.normal(size=(count, 24))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.8, 0.95, 0.999])
def test_the_rule_is_that_of_the_paper(threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation_assets.concepts.semdedup.BLOCK", 37)
    vectors = crowds(300, seed=int(1000 * threshold))
    found = compare(vectors, np.ones(300, bool), Nearest.unknown(300))
    dropped, kept = survivors(found, threshold)
    assert np.array_equal(dropped, brute_force(vectors, threshold))
    assert 0 < dropped.sum() < 300
    assert not dropped[kept].any(), "each group keeps one"
    assert np.array_equal(kept[~dropped], np.flatnonzero(~dropped))
    for place in np.flatnonzero(dropped).tolist():
        cosines = vectors[:place] @ vectors[place]
        assert found.cosine[place] == pytest.approx(cosines.max(), abs=2e-5)
        assert cosines[found.of[place]] == pytest.approx(cosines.max(), abs=2e-5)


def test_comparing_what_comes_gives_what_comparing_all_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation_assets.concepts.semdedup.BLOCK", 50)
    vectors = crowds(400, seed=3)
    whole = compare(vectors, np.ones(400, bool), Nearest.unknown(400))
    came = np.random.default_rng(4).integers(0, 4, 400)
    places, known = np.zeros(0, int), Nearest.unknown(0)
    for step in range(4):
        now = np.flatnonzero(came <= step)
        carried = Nearest.unknown(len(now))
        at = np.searchsorted(now, places)
        carried.cosine[at] = known.cosine
        carried.of[at] = np.where(
            known.of >= 0, np.searchsorted(now, places[np.maximum(known.of, 0)]) if len(places) else -1, -1
        )
        places, known = now, compare(vectors[now], came[now] == step, carried)
    for one, other in zip(survivors(known, 0.9), survivors(whole, 0.9), strict=True):
        assert np.array_equal(one, other)
    np.testing.assert_array_equal(known.of, whole.of)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, float]:
    """Four videos of each of three concepts with their embeddings and concepts, and the median cosine of two of a concept."""
    root = tmp_path_factory.mktemp("semantic")
    site = Site(root)
    planted_videos(root / "videos", 3, 4)
    write_tiny_clip(root / "model", 64)
    site.declare(RECIPE.format(root=root, threshold=0.5, survivor="farthest"))
    site.index()
    site.settle()
    rows = clips_of(site)
    cosines = [cosine(a, b) for n, a in enumerate(rows) for b in rows[:n] if a["concept"] == b["concept"]]
    return site, float(np.quantile(cosines, 0.6))


def clips_of(site: Site) -> list[dict[str, Any]]:
    return [r for s in site.store.partitions("clip_concepts") for r in site.store.read("clip_concepts", s).to_pylist()]


def cosine(a: dict[str, Any], b: dict[str, Any]) -> float:
    x, y = (np.array(r["clip_embedding"], np.float64) for r in (a, b))
    return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))


def expected(site: Site, threshold: float) -> dict[str, bool]:
    """clip_id -> whether it is kept, from the stored embeddings by the definition."""
    found = {}
    rows = clips_of(site)
    for concept in {r["concept"] for r in rows}:
        own = [r for r in rows if r["concept"] == concept]
        own.sort(key=lambda r: (-r["concept_distance"], named(r)))
        for n, row in enumerate(own):
            found[row["clip_id"]] = all(round(cosine(row, other), 5) <= threshold for other in own[:n])
    return found


def named(row: dict[str, Any]) -> int:
    digest = hashlib.blake2b(f"{row['dataset']}/{row['clip_id']}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def kept_in(site: Site) -> dict[str, bool]:
    shards = site.store.partitions("semantic_dedup")
    rows = [r for s in shards for r in site.store.read("semantic_dedup", s).to_pylist()]
    return {r["clip_id"]: r["semantic_keep"] for r in rows}


def test_real_embeddings_are_judged_as_by_brute_force_and_what_comes_too(
    embedded: tuple[Site, float], tmp_path: Path
) -> None:
    settled, threshold = embedded
    shutil.copytree(settled.root / "videos", tmp_path / "videos")
    shutil.copytree(settled.root / "data", tmp_path / "data")
    (tmp_path / "model").symlink_to(settled.root / "model")
    site = Site(tmp_path)
    site.declare(RECIPE.format(root=tmp_path, threshold=threshold, survivor="farthest"))
    site.index()
    site.settle()
    assert kept_in(site) == expected(site, threshold)
    assert 0 < sum(kept_in(site).values()) < 12
    curated = site.store.read("curated_clips", "planted-once").to_pylist()
    assert {r["clip_id"]: r["selected"] for r in curated} == kept_in(site)
    assert {r["drop_reason"] for r in curated} == {None, "semantic_keep"}
    dropped = next(r for r in curated if not r["selected"])
    told = {title: dict(lines) for title, lines in explain(site.store, site.recipes, dropped["clip_id"])}
    assert {"semantic_duplicate_of", "semantic_similarity"} <= told["semantic_dedup"].keys()
    assert (tmp_path / "data/semantic_duplicates/sheet.jpg").exists()

    planted_videos(site.root / "videos", 3, 2, first=8)
    site.index()
    site.settle()
    grown = site.store.header("semantic_duplicates")
    assert grown is not None
    assert grown.stats["compared"] < 18, "those that were compared before are not compared with each other again"
    assert kept_in(site) == expected(site, threshold)
    found = site.store.read("semantic_duplicates")
    site.run(PlanStep("semantic_duplicates", ("semantic_duplicates",)), force=True)
    assert site.failed == []
    assert content_hash(site.store.read("semantic_duplicates")) == content_hash(found)
    again = site.store.header("semantic_duplicates")
    assert again is not None
    assert again.stats["compared"] == 18

    before = site.tables()
    (site.root / "data/semantic_duplicates/compared" / f"{again.fingerprint}.parquet").unlink()
    site.settle()
    assert site.made_since(before) == set(), "nothing is made again for what is remembered of it"
    planted_videos(site.root / "videos", 1, 1, first=12)
    site.index()
    site.settle()
    assert kept_in(site) == expected(site, threshold)


@pytest.mark.slow
def test_what_was_kept_stays_where_the_recipe_says_so(embedded: tuple[Site, float], tmp_path: Path) -> None:
    settled, threshold = embedded
    shutil.copytree(settled.root / "videos", tmp_path / "videos")
    shutil.copytree(settled.root / "data", tmp_path / "data")
    (tmp_path / "model").symlink_to(settled.root / "model")
    site = Site(tmp_path)
    site.declare(RECIPE.format(root=tmp_path, threshold=threshold, survivor="first_seen"))
    site.index()
    site.settle()
    before = kept_in(site)
    planted_videos(site.root / "videos", 3, 4, first=8)
    site.index()
    site.settle()
    after = kept_in(site)
    assert {clip: after[clip] for clip in before} == before
    assert len(after) == 24


def test_recipes_that_compare_differently_are_told_so(tmp_path: Path) -> None:
    text = RECIPE.format(root=tmp_path, threshold=0.9, survivor="farthest")
    site = Site(tmp_path)
    site.declare(text, text.replace("dataset: planted", "dataset: other").replace("0.9", "0.8"))
    with pytest.raises(RecipeError, match="datasets other and planted compare clips differently"):
        semantic_params(site.recipes)
