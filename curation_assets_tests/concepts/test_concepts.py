"""Concepts: the fit against k-means in numpy, planted concepts found again in real embeddings, and what stays when clips come."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from curation_assets.concepts.assignment import centers_of, nearest_centers
from curation_assets.concepts.concept_sample import concepts_params, draw_sample
from curation_assets.concepts.spherical_kmeans import first_centers, fit_centers
from curation_assets.engine.plan import PlanStep
from curation_assets.explain import explain
from curation_assets.recipes import RecipeError
from curation_assets.selection import assets_of_recipe
from curation_assets_tests.concepts.planted import planted_videos
from curation_assets_tests.site import Site
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.content_hash import content_hash

CONCEPTS = 4
RECIPE = """
dataset: planted
source: {{format: folder, path: {root}/videos}}
shard: {{videos: 8}}
clips: {{from: whole, min_s: 0.5}}
embeddings: {{model: "local-dir:{root}/model"}}
concepts: {{clusters: 4, sample: 8}}
subsets:
  even: {{where: ["concept_distance < 0.5"], select: {{criterion: cluster_balanced, count: 8}}}}
  equal: {{where: ["concept != 0"], select: {{criterion: class_balanced, class_by: concept, per_class: 1}}}}
"""


def planted_vectors(each: int = 80, dimension: int = 32, concepts: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """float32 vectors of length 1 around some directions, and the direction of each."""
    rng = np.random.default_rng(5)
    directions = rng.normal(size=(concepts, dimension))
    of = np.repeat(np.arange(concepts), each)
    vectors = directions[of] / np.linalg.norm(directions[of], axis=1, keepdims=True)
    vectors = vectors + 0.08 * rng.normal(size=(len(of), dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), of


def converged(vectors: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Spherical k-means by its definition, in double precision, until no vector changes its centre."""
    points, centers = vectors.astype(np.float64), centers.astype(np.float64)
    before = np.full(len(points), -1)
    while (own := (points @ centers.T).argmax(axis=1)).tolist() != before.tolist():
        sums = np.stack([points[own == c].sum(axis=0) for c in range(len(centers))])
        centers, before = sums / np.linalg.norm(sums, axis=1, keepdims=True), own
    return centers


def test_the_fit_is_that_of_kmeans_in_numpy_and_finds_what_was_planted() -> None:
    vectors, of = planted_vectors()
    start = vectors[[*range(0, len(vectors), 80)]] + 0.3 * vectors[[*range(79, len(vectors), 80)][::-1]]
    start = (start / np.linalg.norm(start, axis=1, keepdims=True)).astype(np.float32)
    fitted = fit_centers(vectors, start, 50)
    np.testing.assert_allclose(fitted, converged(vectors, start), atol=1e-5)
    assert np.array_equal(fitted, fit_centers(vectors, start, 50))
    number, cosine = nearest_centers(vectors, fitted)
    assert len(set(zip(number.tolist(), of.tolist(), strict=True))) == 8, "a centre for each direction"
    np.testing.assert_allclose(cosine, (vectors @ fitted.T).max(axis=1), atol=1e-6)


def test_where_it_begins_are_different_vectors_drawn_by_the_seed() -> None:
    vectors, _ = planted_vectors(each=4)
    twice = np.concatenate([vectors, vectors])
    assert len(np.unique(first_centers(twice, 30, 0), axis=0)) == 30
    assert len(first_centers(twice, 100, 0)) == len(vectors)
    assert not np.array_equal(first_centers(twice, 5, 0), first_centers(twice, 5, 1))
    assert fit_centers(vectors[:0], vectors[:0], 3).shape == (0, 32)


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two shards of four videos of each of four concepts, brought up to date."""
    root = tmp_path_factory.mktemp("concepts")
    site = Site(root)
    planted_videos(root / "videos", CONCEPTS, 4)
    write_tiny_clip(root / "model", 64)
    site.declare(RECIPE.format(root=root))
    site.index()
    site.settle()
    return site


@pytest.fixture
def site(settled: Site, tmp_path: Path) -> Site:
    """A copy of all tables, which a test may change; the videos are the same."""
    shutil.copytree(settled.root / "data", tmp_path / "data")
    copy = Site(tmp_path)
    copy.recipes = settled.recipes
    return copy


def concept_of(site: Site) -> dict[str, int]:
    """Video -> concept of its clip."""
    shards = site.store.partitions("clip_concepts")
    rows = [r for s in shards for r in site.store.read("clip_concepts", s).to_pylist()]
    return {r["video_id"]: r["concept"] for r in rows}


def test_planted_concepts_are_found_again_in_real_embeddings(settled: Site) -> None:
    found = concept_of(settled)
    assert len(found) == 16
    assert len({(video[-1], concept) for video, concept in found.items()}) == CONCEPTS, found
    centers = centers_of(settled.store.read("concepts"))
    np.testing.assert_allclose(np.linalg.norm(centers, axis=1), 1, atol=1e-6)
    for shard in settled.store.partitions("clip_concepts"):
        frames = settled.store.read("frame_embeddings", shard).to_pylist()
        for row in settled.store.read("clip_concepts", shard).to_pylist():
            own = np.array([f["embedding"] for f in frames if f["clip_id"] == row["clip_id"]], np.float64)
            mean = (own / np.linalg.norm(own, axis=1, keepdims=True)).mean(axis=0)
            mean /= np.linalg.norm(mean)
            cosines = centers @ mean
            assert row["concept"] == cosines.argmax()
            assert row["concept_distance"] == pytest.approx(1 - cosines.max(), abs=1e-5)
            np.testing.assert_allclose(row["clip_embedding"], mean, atol=2e-3)


def test_subsets_draw_by_concepts_and_rules_name_them(settled: Site) -> None:
    assert settled.recipes["planted"].subsets["even"].select.class_by == "concept"
    found = concept_of(settled)
    even = settled.store.read("curated_clips", "planted-even").to_pylist()
    assert sum(r["selected"] for r in even) == 8
    assert {r["video_id"]: r["concept"] for r in even} == found
    equal = settled.store.read("curated_clips", "planted-equal").to_pylist()
    assert Counter(r["concept"] for r in equal if r["selected"]) == {1: 1, 2: 1, 3: 1}
    assert {r["drop_reason"] for r in equal if r["concept"] == 0} == {"concept != 0"}
    clip = equal[0]["clip_id"]
    told = {title: dict(lines) for title, lines in explain(settled.store, settled.recipes, clip)}
    assert told["clip_concepts"].keys() == {"concept", "concept_distance"}


def test_each_concept_has_a_row_of_pictures(settled: Site) -> None:
    from PIL import Image

    picture = Image.open(settled.root / "data/concepts/sheet.jpg").convert("L")
    cells = np.asarray(picture, np.float64)
    height, width = picture.height // CONCEPTS, picture.width // 6
    corner = [
        [cells[c * height + 4 : c * height + height // 2, n * width + 8 : (n + 1) * width - 8] for n in (0, 1)]
        for c in range(CONCEPTS)
    ]
    for one, row in enumerate(corner):
        for other in range(CONCEPTS):
            alike = np.abs(row[0] - corner[other][1]).mean() < 15
            assert alike == (one == other), "a concept's clips beside each other, other concepts below"


def test_clips_that_come_change_no_concept_until_a_refit_is_asked_for(settled: Site, site: Site) -> None:
    known = concept_of(site)
    shutil.copytree(settled.root / "videos", site.root / "videos")
    (site.root / "model").symlink_to(settled.root / "model")
    site.declare(RECIPE.format(root=site.root))
    site.index()
    site.settle()
    before = site.tables()
    planted_videos(site.root / "videos", CONCEPTS, 2, first=8)
    site.index()
    site.settle()
    made = site.made_since(before)
    assert ("concepts", None) not in made
    assert {key for asset, key in made if asset == "clip_concepts"} == {"planted-00002"}
    grown = concept_of(site)
    assert {v: c for v, c in grown.items() if v in known} == known
    assert len({(video[-1], concept) for video, concept in grown.items()}) == CONCEPTS

    before = site.tables()
    site.declare(RECIPE.format(root=site.root).replace("sample: 8", "sample: 8, refit: 1"))
    site.settle()
    made = site.made_since(before)
    assert site.store.header("concepts").stats["sampled"] == 24  # type: ignore[union-attr]
    shards = {f"planted-0000{n}" for n in range(3)}
    assert made == {("concepts", None), *(("clip_concepts", s) for s in shards)} | {
        ("curated_clips", f"planted-{s}") for s in ("even", "equal")
    }


def test_a_sample_is_drawn_by_the_seed_and_the_fit_is_the_same_each_time(site: Site) -> None:
    recipes = {
        n: r.model_copy(update={"concepts": r.concepts.model_copy(update={"sample": 2})})
        for n, r in site.recipes.items()
    }
    drawn = [draw_sample(site.store, recipes, site.settings) for _ in range(2)]
    assert [len(d.clips) for d in drawn] == [8, 8]
    assert drawn[0].clips.tolist() == drawn[1].clips.tolist()
    whole = draw_sample(site.store, site.recipes, site.settings)
    assert whole.clips.tolist()[:8] == drawn[0].clips.tolist(), "a smaller sample lies within a larger one"
    other = {
        n: r.model_copy(update={"concepts": r.concepts.model_copy(update={"seed": 1})}) for n, r in recipes.items()
    }
    assert draw_sample(site.store, other, site.settings).clips.tolist() != whole.clips.tolist()
    before = content_hash(site.store.read("concepts"))
    site.run(PlanStep("concepts", ("concepts",)), force=True)
    assert site.failed == []
    assert content_hash(site.store.read("concepts")) == before


@pytest.mark.slow
def test_a_clip_without_embedding_has_no_concept(settled: Site, site: Site) -> None:
    text = RECIPE.format(root=settled.root)
    site.declare(text.replace('/model"', '/model", where: ["duration_s > 100"]'))
    site.settle()
    assert set(concept_of(site).values()) == {None}
    assert site.store.read("concepts").num_rows == 0
    site.declare(text)
    site.settle()
    assert set(concept_of(site).values()) == set(range(CONCEPTS)), "fitted as soon as there is something to fit on"


def test_recipes_that_ask_for_different_concepts_are_told_so(tmp_path: Path) -> None:
    text = RECIPE.format(root=tmp_path)
    site = Site(tmp_path)
    site.declare(text, text.replace("dataset: planted", "dataset: other").replace("clusters: 4", "clusters: 5"))
    with pytest.raises(RecipeError, match="datasets other and planted ask for different concepts"):
        concepts_params(site.recipes)


def test_who_asks_for_none_has_none(tmp_path: Path) -> None:
    plain = RECIPE.replace("concepts: {{clusters: 4, sample: 8}}\n", "").split("subsets:")[0]
    site = Site(tmp_path)
    site.declare(plain.format(root=tmp_path) + "subsets: {all: {select: {criterion: cluster_balanced, count: 2}}}\n")
    (recipe,) = site.recipes.values()
    assert recipe.subsets["all"].select.class_by is None
    assert not {"concepts", "clip_concepts"} & set(assets_of_recipe(recipe))
