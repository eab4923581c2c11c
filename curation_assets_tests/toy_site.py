"""A toy installation whose recipe is changed, and what is then behind and made: four tiny videos in two shards, served on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from curation_assets.demo.web_server import served
from curation_assets.engine.staleness import FRESH, State, shard_states
from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.site import Site, Table
from curation_assets_tests.tiny_clip import write_tiny_clip

DIMENSION = 32
DECODE = ("clips", "frames", "motion_scores", "quality_scores", "clip_fingerprints")
SHARDS = ("toy-00000", "toy-00001")
SUBSET: Table = ("curated_clips", "toy-hq")

WITHOUT_MODELS = """
dataset: toy
description: a few tiny videos
source: {{format: table, path: {root}/list.csv, columns: {{id: id, url: url, caption: caption}}}}
shard: {{videos: 2}}
download: {{timeout_s: 60, info: false}}
clips: {{from: detect, detector: content, threshold: 27, min_s: 0.4}}
motion: {{fps: 4}}
captions: {{backend: source, where: []}}
subsets:
  hq: {{where: [keep, "motion >= 0"]}}
"""
RECIPE = WITHOUT_MODELS.replace(
    "captions: ",
    """embeddings: {{model: "local-dir:{root}/model", batch: 8}}
aesthetic: {{head: "{root}/head.pt"}}
categories: {{kind: {{noise: a picture of noise, cat: a picture of a cat}}}}
captions: """,
).replace('"motion >= 0"', '"motion >= 0", "aesthetic >= -1000"')
CAPTIONS = ["a red wall", "a green field", "a blue sky", "a dog that runs"]


def write_head(path: Path, seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    torch.save({"weight": torch.randn(1, DIMENSION), "bias": torch.zeros(1)}, path)


def write_list(root: Path, captions: list[str], folder: str = "") -> None:
    lines = ["id,url,caption"]
    site = f"http://127.0.0.1:{(root / 'port').read_text()}/{folder}"
    lines += [f"v{i},{site}v{i}.mp4,{c}" for i, c in enumerate(captions)]
    (root / "list.csv").write_text("\n".join(lines) + "\n")


@contextmanager
def prepared(root: Path, models: bool = True) -> Iterator[None]:
    """Writes the videos, their list, and with `models` a head and a model, and serves the videos on loopback while the block runs."""
    with served(root / "web") as port:
        (root / "port").write_text(str(port))
        _write(root, models)
        yield


def _write(root: Path, models: bool) -> None:
    (root / "web").mkdir()
    for i in range(4):
        (root / "web" / f"v{i}.mp4").write_bytes(sample_video(seed=i))
    write_list(root, CAPTIONS)
    if models:
        write_head(root / "head.pt", 0)
        write_tiny_clip(root / "model", DIMENSION)


@dataclass
class Toy(Site):
    """The installation; `recipe` is the text that tests change and that is restored between them."""

    recipe: str = RECIPE

    def keep(self) -> None:
        """What there is now is what `restore` puts back."""
        shutil.copytree(self.root / "data", self.root / "kept")
        self._kept = self.tables()

    def restore(self) -> None:
        """The recipe, the list and all tables as they were, without making anything."""
        self.change()
        write_list(self.root, CAPTIONS)
        if self.tables() != self._kept:
            shutil.rmtree(self.root / "data")
            shutil.copytree(self.root / "kept", self.root / "data")
            self._kept = self.tables()

    def change(self, old: str = "", new: str = "") -> None:
        """The recipe with something replaced."""
        assert old in self.recipe
        text = self.recipe.replace(old, new) if old else self.recipe
        self.declare(text.format(root=self.root))

    def stale(self) -> dict[Table, State]:
        """What is not fresh."""
        states = shard_states(self.store, self.recipes, self.settings, remember=False)
        return {(s.asset, s.partition): s for s in states if s.state != FRESH}

    def remade(self, index: bool = False) -> set[Table]:
        """What is made until everything is up to date again."""
        before = self.tables()
        if index:
            self.index()
        self.settle()
        assert self.failed == []
        assert self.stale() == {}
        return self.made_since(before)


@contextmanager
def up_to_date(root: Path, recipe: str) -> Iterator[Toy]:
    """Two shards of two videos, brought up to date, with their server running."""
    with prepared(root, models=recipe == RECIPE):
        toy = Toy(root, recipe=recipe)
        toy.change()
        toy.index()
        toy.settle()
        assert toy.failed == []
        toy.keep()
        yield toy


def over(*assets: str, shards: tuple[str, ...] = SHARDS) -> set[Table]:
    return {(a, s) for a in assets for s in shards}
