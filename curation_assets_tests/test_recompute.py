"""A change recomputes what it touches and nothing else: the exact tables, over the real graph on tiny videos."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation_assets.staleness import FRESH, State, shard_states
from curation_assets_tests.installation import Installation, Table
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.tiny_clip import write_tiny_clip

DIMENSION = 32
DECODE = ("clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints")
SHARDS = ("toy-00000", "toy-00001")
SUBSET: Table = ("curated_clips", "toy-hq")

RECIPE = """
dataset: toy
description: a few tiny videos
source: {{format: table, path: {root}/list.csv, columns: {{id: id, url: url, caption: caption}}}}
shard: {{videos: 2}}
download: {{timeout_s: 60, info: false}}
clips: {{from: detect, detector: content, threshold: 27, min_s: 0.4}}
motion: {{fps: 4}}
embeddings: {{model: "local-dir:{root}/model", batch: 8}}
aesthetic: {{head: "{root}/head.pt"}}
categories: {{kind: {{noise: a picture of noise, cat: a picture of a cat}}}}
captions: {{backend: source, where: []}}
subsets:
  hq: {{where: [keep, "motion >= 0", "aesthetic >= -1000"]}}
"""


def write_head(path: Path, seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    torch.save({"weight": torch.randn(1, DIMENSION), "bias": torch.zeros(1)}, path)


def write_list(root: Path, captions: list[str]) -> None:
    lines = ["id,url,caption"]
    lines += [f"v{i},http://127.0.0.1:{(root / 'port').read_text()}/v{i}.mp4,{c}" for i, c in enumerate(captions)]
    (root / "list.csv").write_text("\n".join(lines) + "\n")


CAPTIONS = ["a red wall", "a green field", "a blue sky", "a dog that runs"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two shards of two videos, brought up to date; every test leaves it up to date."""
    import socket

    from curation_assets.demo import served

    root = tmp_path_factory.mktemp("toy")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (root / "port").write_text(str(port))
    (root / "web").mkdir()
    for i in range(4):
        (root / "web" / f"v{i}.mp4").write_bytes(sample_video(seed=i))
    write_list(root, CAPTIONS)
    write_head(root / "head.pt", 0)
    write_tiny_clip(root / "model", DIMENSION)
    with served(root / "web", port):
        installation = Installation(root)
        installation.declare(RECIPE.format(root=root))
        assert installation.run("index")
        installation.settle()
        assert installation.failed == []
        yield installation


@pytest.fixture(autouse=True)
def restored(toy: Installation) -> None:
    """The recipe as it stands above, and everything up to date with it."""
    declare(toy)
    toy.settle()


def declare(toy: Installation, old: str = "", new: str = "") -> None:
    assert old in RECIPE
    toy.declare(RECIPE.replace(old, new).format(root=toy.root) if old else RECIPE.format(root=toy.root))


def behind(toy: Installation) -> dict[Table, State]:
    states = shard_states(toy.store, toy.recipes, toy.settings, remember=False)
    return {(s.asset, s.partition): s for s in states if s.state != FRESH}


def over(*assets: str, shards: tuple[str, ...] = SHARDS) -> set[Table]:
    return {(a, s) for a in assets for s in shards}


def remade(toy: Installation, index: bool = False) -> set[Table]:
    """What is made until everything is up to date again."""
    before = toy.tables()
    if index:
        assert toy.run("index")
    toy.settle()
    assert toy.failed == []
    assert behind(toy) == {}
    return toy.made_since(before)


def test_everything_was_made_and_nothing_is_left(toy: Installation) -> None:
    assert behind(toy) == {}
    assert {a for a, _ in toy.tables()} >= {*DECODE, "dedup", "frame_embeddings", "caption_scores", "curated_clips"}
    assert remade(toy) == set()
    assert toy.said["gap_sensor"] == "every table is up to date"


def test_a_threshold_of_a_subset_remakes_that_subset_alone(toy: Installation) -> None:
    declare(toy, "motion >= 0", "motion >= 0.0001")
    assert set(behind(toy)) == {SUBSET}
    assert behind(toy)[SUBSET].reasons[0].startswith("parameter where")
    assert remade(toy) == {SUBSET}


def test_a_prompt_remakes_the_category_scores_and_what_shows_them(toy: Installation) -> None:
    declare(toy, "a picture of a cat", "a photo of a cat")
    stale = behind(toy)
    assert stale["category_scores", SHARDS[0]].reasons == (
        "parameter kind.prompts.cat: ['a picture of a cat'] -> ['a photo of a cat']",
    )
    assert remade(toy) == over("category_scores") | {SUBSET}


def test_a_head_remakes_the_aesthetic_scores_and_what_shows_them(toy: Installation) -> None:
    write_head(toy.root / "head.pt", 1)
    assert {a for a, _ in behind(toy)} == {"aesthetic_scores", "curated_clips"}
    assert any("weights head" in r for r in behind(toy)["aesthetic_scores", SHARDS[1]].reasons)
    assert remade(toy) == over("aesthetic_scores") | {SUBSET}


def test_a_detector_parameter_that_moves_no_cut_stops_where_content_is_the_same(toy: Installation) -> None:
    declare(toy, "threshold: 27", "threshold: 29")
    assert behind(toy)["clips", SHARDS[0]].reasons == ("parameter clips.threshold: 27.0 -> 29.0",)
    made = remade(toy)
    assert made >= over(*DECODE)
    assert not {a for a, _ in made} & {"raw_shards", "duplicate_clusters"}
    for asset in ("frames", "clip_fingerprints", "motion_scores", "quality_scores"):
        header = toy.store.header(asset, SHARDS[0])
        assert header is not None
        assert header.provenance.params["clips"]["threshold"] == 29.0


def test_one_row_of_the_source_touches_its_shard_alone(toy: Installation) -> None:
    write_list(toy.root, [*CAPTIONS[:3], "a cat that sleeps"])
    made = remade(toy, index=True)
    assert ("captions", SHARDS[1]) in made
    assert ("caption_scores", SHARDS[1]) in made
    assert not {t for t in made if t[1] == SHARDS[0]}
    assert not {a for a, _ in made} & {"duplicate_clusters", "dedup", "frame_embeddings", "category_scores"}, (
        "same content stops the wave"
    )


def test_other_weights_remake_what_they_decide(toy: Installation) -> None:
    shutil.rmtree(toy.root / "model")
    write_tiny_clip(toy.root / "model", DIMENSION, seed=1)
    assert any("weights clip" in r for r in behind(toy)["frame_embeddings", SHARDS[0]].reasons)
    assert remade(toy) == over("frame_embeddings", "aesthetic_scores", "category_scores", "caption_scores") | {SUBSET}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a few tiny videos", "some small videos"),
        ("batch: 8", "batch: 4"),
        ("timeout_s: 60", "timeout_s: 90"),
        ("shard: {{videos: 2}}", "shard: {{videos: 3}}"),
    ],
)
def test_what_has_no_effect_remakes_nothing(toy: Installation, old: str, new: str) -> None:
    declare(toy, old, new)
    assert behind(toy) == {}
    assert remade(toy) == set()


def test_a_removed_table_is_made_again_and_nothing_else(toy: Installation) -> None:
    toy.store.storage.remove(toy.store.path("motion_scores", SHARDS[0]))
    assert set(behind(toy)) == {("motion_scores", SHARDS[0]), SUBSET}
    assert remade(toy) == {("motion_scores", SHARDS[0])}
