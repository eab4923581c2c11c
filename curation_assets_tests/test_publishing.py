"""What is published over: complete and fresh inputs, unless somebody allows less, and then it says what it lacks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from dagster import AssetKey

from curation_assets.engine.run_tags import PARTIAL_TAG
from curation_assets.engine.staleness import FRESH, shard_states
from curation_assets.recipes import load_recipes
from curation_assets.report import dataset_report, render
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.test_unread import away
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_assets_tests.toy_site import write_head

RECIPE = """
dataset: toy
source: {{format: folder, path: {root}/videos}}
clips: {{from: fixed, max_s: 0.5, min_s: 0.2}}
captions: {{backend: source, where: []}}
{more}subsets:
  hq:
    where: [{rules}]
    export: {{clips: {{format: folder, audio: false}}}}
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """One shard of two videos and a subset of which a version is in force."""
    root = tmp_path_factory.mktemp("publishing")
    (root / "videos").mkdir()
    for i in range(2):
        (root / "videos" / f"v{i}.mp4").write_bytes(sample_video(seed=i))
    write_tiny_clip(root / "model", 32)
    installation = Installation(root)
    declare(installation)
    assert installation.run("index")
    installation.settle()
    assert installation.failed == []
    return installation


def declare(toy: Installation, rules: str = "keep", more: str = "") -> None:
    (toy.root / "recipes").mkdir(exist_ok=True)
    (toy.root / "recipes" / "toy.yaml").write_text(RECIPE.format(root=toy.root, rules=rules, more=more))
    toy.recipes = load_recipes(str(toy.root / "recipes"))


def in_force(toy: Installation) -> tuple[str, str]:
    """The selection and the version that readers see."""
    curated, exported = toy.store.header("curated_clips", "toy-hq"), toy.store.header("clip_dataset", "toy-hq")
    assert curated is not None
    assert exported is not None
    return curated.content_hash, str(exported.stats["version"])


def publish(toy: Installation, partial: bool = False) -> bool:
    assets = [AssetKey("curated_clips"), AssetKey("clip_dataset")]
    return toy.run(
        "publish", partition_key="toy-hq", asset_selection=assets, tags={PARTIAL_TAG: "true"} if partial else {}
    )


def version_files(toy: Installation) -> tuple[str, str]:
    """Card and Croissant of the version in force."""
    folder = Path(toy.store.storage.root, "clip_dataset", "toy-hq", in_force(toy)[1])
    return (folder / "README.md").read_text(), (folder / "croissant.json").read_text()


AESTHETIC = "embeddings: {{model: 'local-dir:{root}/model', batch: 8}}\naesthetic: {{head: '{root}/head.pt'}}\n"


def test_weights_that_cannot_be_had_leave_the_good_version_in_force(toy: Installation) -> None:
    before = in_force(toy)
    declare(toy, 'keep, "aesthetic >= -1000"', AESTHETIC.format(root=toy.root))
    toy.settle()
    assert in_force(toy) == before, "nothing was published over missing scores"
    assert "toy-hq: curated_clips waits for aesthetic_scores of toy-00000: " in toy.said["gap_sensor"]
    assert not publish(toy)
    assert "curated_clips of toy-hq is not made" in toy.reasons[-1]
    assert "aesthetic_scores of toy-00000" in toy.reasons[-1]
    assert in_force(toy) == before
    assert publish(toy, partial=True)
    card, croissant = version_files(toy)
    assert "## Not complete" in card
    assert "aesthetic_scores of toy-00000" in card
    assert "aesthetic_scores of toy-00000" in json.loads(croissant)["description"]
    report = render(dataset_report(toy.store, toy.recipes["toy"], toy.settings), toy.settings)
    assert "toy-hq was published without:\n- aesthetic_scores of toy-00000" in report
    write_head(toy.root / "head.pt", 0)
    toy.cursors.clear()  # attempts are taken up again
    toy.settle()
    header = toy.store.header("curated_clips", "toy-hq")
    assert header is not None
    assert header.stats["left_out"] == []
    assert "## Not complete" not in version_files(toy)[0]
    declare(toy)
    toy.settle()
    assert in_force(toy) == before


def test_what_a_subset_does_not_use_holds_it_back_in_nothing(toy: Installation) -> None:
    """Scores that fail, of which no rule speaks: other rules are tried as before."""
    before = in_force(toy)
    broken = AESTHETIC.format(root=toy.root).replace("head.pt", "none.pt")
    declare(toy, 'keep, "motion >= 0", "duration_s > 0.4"', broken)
    toy.settle()
    curated = toy.store.header("curated_clips", "toy-hq")
    assert curated is not None
    assert "duration_s > 0.4" in [step[0] for step in curated.stats["funnel"]]
    declare(toy)
    toy.settle()
    assert in_force(toy) == before


def test_a_video_that_was_not_read_holds_back_what_draws_on_it(toy: Installation) -> None:
    before = in_force(toy)
    declare(toy, 'keep, "motion >= 0"', "motion: {fps: 3}\n")
    assert toy.run("curate", partition_key="toy-00000", asset_selection=[AssetKey("motion_scores")])
    for asset in ("clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints"):
        toy.store.storage.remove(toy.store.path(asset, "toy-00000"))
    with away(toy.root / "videos" / "v1.mp4"):
        for assets in (["clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints"], ["captions"]):
            toy.run("curate", partition_key="toy-00000", asset_selection=[AssetKey(a) for a in assets])
        toy.run("deduplicate")
        toy.run("curate", partition_key="toy-00000", asset_selection=[AssetKey("dedup"), AssetKey("captions")])
        assert not publish(toy)
        assert "not read in full (1 video could not be read (1 for storage))" in toy.reasons[-1]
        assert in_force(toy) == before
    declare(toy)
    toy.settle()
    assert in_force(toy) == before


def test_a_video_that_is_away_while_clips_are_cut_is_cut_by_the_next_run(toy: Installation) -> None:
    before = in_force(toy)
    tables = toy.store.read("clip_dataset", "toy-hq").to_pylist()
    for name in ("clip_dataset/toy-hq.parquet",):
        toy.store.storage.remove(name)
    shutil.rmtree(Path(toy.store.storage.root, "clip_dataset", "toy-hq"))
    with away(toy.root / "videos" / "v1.mp4"):
        assert not publish(toy)
        assert "2 of 4 clips of toy-00000 could not be cut (storage)" in toy.reasons[-1]
        assert not toy.store.exists("clip_dataset", "toy-hq")
        assert publish(toy, partial=True)
        assert "2 clips that could not be read when it was published" in version_files(toy)[0]
        (state,) = [s for s in shard_states(toy.store, toy.recipes, toy.settings) if s.asset == "clip_dataset"]
        assert state.state != FRESH
    assert publish(toy)
    assert in_force(toy) == before
    same = [{k: v for k, v in row.items() if k not in ("tar", "offset")} for row in tables]
    again = toy.store.read("clip_dataset", "toy-hq").to_pylist()
    assert [{k: v for k, v in row.items() if k not in ("tar", "offset")} for row in again] == same
