"""As test_recompute.py, of what models decide: prompts, heads, weights and where they lie, with a tiny CLIP in the place of a large one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from torch import Tensor

from curation_assets.contracts.tables import beside
from curation_assets.explain import explain
from curation_assets.scores.embedding_line import EmbeddingLine
from curation_assets.tracks.shard_search import TrackingLine
from curation_assets.verify import DAMAGE, Verifier
from curation_assets_tests.resources.detectors.tiny_models import save_owlv2
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_assets_tests.tiny_vlm import write_tiny_idefics3
from curation_assets_tests.toy_site import (
    CAPTIONS,
    DECODE,
    DIMENSION,
    RECIPE,
    SHARDS,
    SUBSET,
    Toy,
    over,
    up_to_date,
    write_head,
    write_list,
)
from curation_resources.captioners.transformers_model import TransformersCaptioner
from curation_resources.clip_model import ClipModel
from curation_resources.detectors.text_prompted import Owlv2Detector


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toy]:
    """Brought up to date; each test begins with that."""
    with up_to_date(tmp_path_factory.mktemp("toy"), RECIPE) as made:
        yield made


@pytest.fixture(autouse=True)
def restored(toy: Toy) -> None:
    """The recipe as it was, everything up to date with it, and the same head and model."""
    toy.restore()
    write_head(toy.root / "head.pt", 0)
    if toy.stale():
        shutil.rmtree(toy.root / "model")
        write_tiny_clip(toy.root / "model", DIMENSION)


def test_a_prompt_remakes_the_category_scores_and_what_shows_them(toy: Toy) -> None:
    toy.change("a picture of a cat", "a photo of a cat")
    stale = toy.stale()
    assert stale["category_scores", SHARDS[0]].reasons == (
        "parameter kind.prompts.cat: ['a picture of a cat'] -> ['a photo of a cat']",
    )
    assert toy.remade() == over("category_scores") | {SUBSET}


def test_a_head_remakes_the_aesthetic_scores_and_what_shows_them(toy: Toy) -> None:
    write_head(toy.root / "head.pt", 1)
    assert {a for a, _ in toy.stale()} == {"aesthetic_scores", "curated_clips"}
    assert any("weights head" in r for r in toy.stale()["aesthetic_scores", SHARDS[1]].reasons)
    assert toy.remade() == over("aesthetic_scores") | {SUBSET}


def test_weights_at_another_path_remake_nothing(toy: Toy) -> None:
    shutil.copy(toy.root / "head.pt", toy.root / "moved.pt")
    shutil.copytree(toy.root / "model", toy.root / "moved", dirs_exist_ok=True)
    text = RECIPE.replace("{root}/head.pt", "{root}/moved.pt").replace("{root}/model", "{root}/moved")
    toy.declare(text.format(root=toy.root))
    assert toy.stale() == {}
    assert toy.remade() == set()


def test_other_weights_remake_what_they_decide(toy: Toy) -> None:
    shutil.rmtree(toy.root / "model")
    write_tiny_clip(toy.root / "model", DIMENSION, seed=1)
    assert any("weights clip" in r for r in toy.stale()["frame_embeddings", SHARDS[0]].reasons)
    assert toy.remade() == over("frame_embeddings", "aesthetic_scores", "category_scores", "caption_scores") | {SUBSET}


def test_how_many_pictures_are_looked_at_together_remakes_nothing(toy: Toy) -> None:
    toy.change("batch: 8", "batch: 4")
    assert toy.stale() == {}
    assert toy.remade() == set()


def test_a_caption_remakes_how_well_it_matches(toy: Toy) -> None:
    write_list(toy.root, [*CAPTIONS[:3], "a cat that sleeps"])
    made = toy.remade(index=True)
    assert {("captions", SHARDS[1]), ("caption_scores", SHARDS[1]), SUBSET} <= made
    assert not made & over("captions", "caption_scores", shards=SHARDS[:1])
    assert not {a for a, _ in made} & {"frame_embeddings", "aesthetic_scores", "category_scores"}


def test_scores_of_models_are_explained(toy: Toy) -> None:
    clip = toy.store.read("clips", SHARDS[1])["clip_id"][0].as_py()
    told = {title: dict(lines) for title, lines in explain(toy.store, toy.recipes, clip)}
    assert "kind.noise" in told["category_scores"]
    assert "aesthetic" in told["aesthetic_scores"]


def test_inputs_beside_the_frames_are_kept_from_now_on_and_make_nothing_stale(toy: Toy) -> None:
    """Frames of before there were any stay as they are; so do those of a recipe that wants none. Lossless ones are made."""
    fits = {i["fit"] for row in toy.store.read("frames", SHARDS[0])["inputs"].to_pylist() for i in row}
    assert fits == {"64x64 bicubic centre of 64"}
    for shard in SHARDS:
        header, table = toy.store.header("frames", shard), toy.store.read("frames", shard)
        assert header is not None
        column = table.schema.get_field_index("inputs")
        none = pa.nulls(len(table), table.schema.types[column])
        old = table.set_column(column, table.schema.field(column), none)
        toy.store.commit("frames", shard, old, header.provenance, header.stats)
    made = toy.remade()
    assert over("frame_embeddings") <= made
    assert not {a for a, _ in made} & set(DECODE)
    toy.change("embeddings:", "frames: {{model_input: none}}\nembeddings:")
    assert toy.stale() == {}
    toy.change("embeddings:", "frames: {{model_input: webp}}\nembeddings:")
    assert any("model_input" in r for r in toy.stale()["frames", SHARDS[0]].reasons)
    assert over("frames", "frame_embeddings") <= toy.remade()
    assert toy.store.read("frames", SHARDS[0])["inputs"].to_pylist()[0][0]["format"] == "webp"


def test_a_gpu_has_the_next_shards_frames_while_tables_are_written(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU in its place, taken for a device of its own: the vectors are those that it gives shard by shard."""
    begun: list[str] = []
    ahead = EmbeddingLine.ahead

    def noted(self: EmbeddingLine, frames: pa.Table, key: str) -> None:
        states = [key, *(s for s in SHARDS if toy.store.header("frame_embeddings", s) is not None)]
        begun.append(" after ".join(states))
        ahead(self, frames, key)

    monkeypatch.setattr(ClipModel, "asynchronous", True)
    monkeypatch.setattr(EmbeddingLine, "ahead", noted)
    before = {s: toy.store.read("frame_embeddings", s) for s in SHARDS}
    for shard in SHARDS:
        toy.store.storage.remove(toy.store.path("frame_embeddings", shard))
    assert toy.remade() == over("frame_embeddings")
    assert begun[:2] == list(SHARDS), "the second before the first was written"
    assert begun[2:] == [f"{SHARDS[1]} after {SHARDS[0]}"]
    assert {s: toy.store.read("frame_embeddings", s) for s in SHARDS} == before


def test_a_gpu_has_the_next_shards_questions_while_captions_are_written(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The CPU in its place, taken for a device of its own, and questions one by one: the captions are those that it gives shard by shard."""
    write_tiny_idefics3(toy.root / "vlm")
    model = "backend: transformers, model: {root}/vlm, batch: 1, frames: 2, max_tokens: 4, device: cpu, dtype: float32"
    toy.change("backend: source", model)
    toy.remade()
    before = {s: toy.store.read("captions", s) for s in SHARDS}
    for shard in SHARDS:
        toy.store.storage.remove(toy.store.path("captions", shard))
    asked: dict[str, int] = {}
    generate = TransformersCaptioner._generate

    def noted(self: TransformersCaptioner, batch: Any, inputs: Any) -> Any:
        for request, _ in batch:
            asked[request.key] = sum(toy.store.header("captions", s) is not None for s in SHARDS)
        return generate(self, batch, inputs)

    monkeypatch.setattr(TransformersCaptioner, "_generate", noted)
    monkeypatch.setattr(TransformersCaptioner, "asynchronous", True)
    monkeypatch.setattr("curation_assets.captions.captions.in_line", lambda params: True)
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    assert over("captions") <= toy.remade()
    assert {s: toy.store.read("captions", s) for s in SHARDS} == before
    questions = sum(len(table) for table in before.values())
    assert len(asked) == questions, "nothing is asked twice"
    assert list(asked.values()).count(0) > len(before[SHARDS[0]]), "of the second shard before the first was written"


def test_a_gpu_has_the_next_shards_videos_while_tracks_are_written(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU in its place, taken for a device of its own: the tracks are those that it gives shard by shard."""
    model = save_owlv2(toy.root)
    section = (
        f"detector: owlv2, model: {model}, vocabulary: coco, confidence: 0.1, fps: 4, batch: 3, where: [], device: cpu"
    )
    toy.change("captions: ", f"tracks: {{{{{section}}}}}\ncaptions: ")
    toy.remade()
    before = {s: toy.store.read("tracks", s) for s in SHARDS}
    assert all(len(table) for table in before.values())
    for shard in SHARDS:
        toy.store.storage.remove(toy.store.path("tracks", shard))
    begun: list[tuple[str, int]] = []
    ahead = TrackingLine.ahead

    def noted(self: TrackingLine, key: str, *given: Any) -> None:
        begun.append((key, sum(toy.store.header("tracks", s) is not None for s in SHARDS)))
        ahead(self, key, *given)

    monkeypatch.setattr(Owlv2Detector, "asynchronous", True)
    monkeypatch.setattr(TrackingLine, "ahead", noted)
    assert over("tracks") <= toy.remade()
    assert begun == [(SHARDS[0], 0), (SHARDS[1], 0)], "the second before the first was written, and once"
    for shard, table in before.items():
        now = toy.store.read("tracks", shard)
        assert now.select(["track_id", "frame_ms"]) == table.select(["track_id", "frame_ms"])
        for a, b in zip(now["boxes"].to_pylist(), table["boxes"].to_pylist(), strict=True):
            np.testing.assert_allclose(a, b, atol=0.05)


def test_verifying_every_byte_reads_the_inputs_beside_the_frames_too(toy: Toy) -> None:
    (one, *_) = [m for row in toy.store.read("frames", SHARDS[1]).to_pylist() for m in beside(row)]
    path = toy.root / "data" / one["tar"]
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: one["offset"] + 40] + b"\0\0" + whole[one["offset"] + 42 :])
        found = [f for f in Verifier(toy.store, toy.recipes, deep=True).faults() if f.kind == DAMAGE]
        assert [(f.asset, f.partition, f.file) for f in found] == [("frames", SHARDS[1], one["tar"])]
        assert f"at {one['offset']}" in found[0].what
    finally:
        path.write_bytes(whole)
