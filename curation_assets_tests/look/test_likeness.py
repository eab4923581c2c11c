"""Clips that look like a clip or like words: by the stored vectors, the most alike first, and a sentence where that cannot be told."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation_assets.look.candidates import TooLarge
from curation_assets.look.column_cache import ColumnCache
from curation_assets.look.grid_order import GridQuery
from curation_assets.look.library import Collections
from curation_assets.look.likeness import CLIP, PICTURE, WORDS, NoLikeness
from curation_assets.recipes import parse_recipe
from curation_assets.scores.embedding import load_model, load_text_encoder
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.look.small_root import RECIPE, SHARDS, clips_of, commit, fill, opened, recipes
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.tables import TableStore

DIMENSION = 32


def embed(store: TableStore, vectors: dict[str, np.ndarray], model: str) -> None:
    """Two frames of each clip, whose mean is its vector; clips without a vector have a row that says nothing."""
    for number, shard in enumerate(SHARDS):
        rows = []
        for _, video, clip, start in clips_of(number):
            for side in (-1, 1):
                vector = vectors.get(clip)
                off = np.zeros(DIMENSION)
                off[-1] = side * 0.2
                row = {"video_id": video, "clip_id": clip, "time_ms": start + 200 + side, "model": model}
                rows.append(row | {"embedding": None if vector is None else [np.float16(v) for v in vector + off]})
        commit(store, "frame_embeddings", shard, rows)


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    made = table_store(Settings(storage=str(tmp_path / "root")))
    fill(made)
    return made


def test_the_most_alike_come_first(store: TableStore) -> None:
    rng = np.random.default_rng(0)
    base, other = rng.normal(size=(2, DIMENSION))
    base[-1] = other[-1] = 0
    clips = [c for n in range(2) for _, _, c, _ in clips_of(n)]
    vectors = {c: (1 - i / 20) * base + i / 20 * other for i, c in enumerate(clips) if c != "v1_0_500"}
    embed(store, vectors, "m")
    view = opened(store, recipes(), "toy-hq")
    row = view.row_of(SHARDS[0], clips[0])
    assert row is not None
    items = view.rows(GridQuery((), like=(CLIP, str(row)), sort="motion"))["items"]
    assert [i["id"] for i in items] == [c for c in clips if c != "v1_0_500"], (
        "across shards; that without an embedding is left out"
    )
    unit = {c: v / np.linalg.norm(v) for c, v in vectors.items()}
    assert [i["value"] for i in items] == [
        pytest.approx(float(unit[i["id"]] @ unit[clips[0]]), abs=5e-3) for i in items
    ]
    filtered = view.rows(GridQuery((), where="motion > 0.5", like=(CLIP, str(row))))["items"]
    assert [i["id"] for i in filtered] == [i["id"] for i in items if i["id"] in {f["id"] for f in filtered}]
    blind = view.row_of(SHARDS[0], "v1_0_500")
    for what in (str(blind), "-1", "99", "x"):
        with pytest.raises(NoLikeness, match="this clip has no embedding"):
            view.rows(GridQuery((), like=(CLIP, what)))


def test_vectors_on_disk_are_those_of_the_embeddings_as_they_are(store: TableStore, tmp_path: Path) -> None:
    eye = np.eye(DIMENSION)
    cache = ColumnCache(tmp_path / "cache")

    def alike() -> list[str]:
        view = Collections(store, recipes(), cache=cache).opened("toy-hq")
        row = view.row_of(SHARDS[0], "v0_0_500")
        return [i["id"] for i in view.rows(GridQuery((), like=(CLIP, str(row)), limit=2))["items"]]

    embed(store, {"v0_0_500": eye[0], "v3_0_500": eye[0] + eye[1], "v2_0_500": eye[2]}, "m")
    assert alike() == ["v0_0_500", "v3_0_500"]
    [kept] = [f for f in (tmp_path / "cache").rglob("vectors-*") if not f.suffix]
    written = kept.stat().st_mtime_ns
    assert alike() == ["v0_0_500", "v3_0_500"]
    assert kept.stat().st_mtime_ns == written, "they are read from there"
    kept.write_bytes(kept.read_bytes()[:-1])
    assert alike() == ["v0_0_500", "v3_0_500"]
    embed(store, {"v0_0_500": eye[0], "v3_0_500": eye[1], "v2_0_500": eye[0] + eye[2]}, "m")
    assert alike() == ["v0_0_500", "v2_0_500"]
    assert not kept.exists()
    with pytest.raises(TooLarge, match="the embeddings of 16 candidates take"):
        Collections(store, recipes(), cache=ColumnCache(tmp_path / "small", 1000)).opened("toy-hq").rows(
            GridQuery((), like=(CLIP, "0"))
        )


def test_words_find_what_they_were_encoded_beside(store: TableStore, tmp_path: Path) -> None:
    folder = write_tiny_clip(tmp_path / "model", DIMENSION)
    at_hand = {"toy": parse_recipe(f"{RECIPE}embeddings: {{model: 'local-dir:{folder}', device: cpu}}\n", "toy.yaml")}
    encoder = load_text_encoder(at_hand["toy"].embeddings)
    texts = ["a red ball", "a dog that runs"]
    encoded = encoder.encode_texts(texts).vectors
    embed(store, {"v0_500_1000": encoded[0], "v3_0_500": encoded[1]}, encoder.identity)
    view = opened(store, at_hand, "toy-hq")
    for text, clip in zip(texts, ("v0_500_1000", "v3_0_500"), strict=True):
        items = view.rows(GridQuery((), like=(WORDS, text)))["items"]
        assert (len(items), items[0]["id"]) == (2, clip)
    embed(store, {"v3_0_500": encoded[1]}, "another model")
    with pytest.raises(NoLikeness, match="were made by another model"):
        opened(store, at_hand, "toy-hq").rows(GridQuery((), like=(WORDS, "x")))


def test_what_is_missing_is_said(store: TableStore, tmp_path: Path) -> None:
    with pytest.raises(NoLikeness, match="no clip has an embedding; `embeddings: "):
        opened(store, recipes(), "toy-hq").rows(GridQuery((), like=(WORDS, "x")))
    embed(store, {"v3_0_500": np.eye(DIMENSION)[0]}, "m")
    at_hand = {"toy": parse_recipe(f"{RECIPE}embeddings: {{model: 'local-dir:{tmp_path}/none'}}\n", "toy.yaml")}
    with pytest.raises(NoLikeness, match="words cannot be compared here: "):
        opened(store, at_hand, "toy-hq").rows(GridQuery((), like=(WORDS, "x")))


def test_a_picture_finds_the_clip_that_shows_it(store: TableStore, tmp_path: Path) -> None:
    folder = write_tiny_clip(tmp_path / "model", DIMENSION)
    at_hand = {"toy": parse_recipe(f"{RECIPE}embeddings: {{model: 'local-dir:{folder}', device: cpu}}\n", "toy.yaml")}
    encoder = load_model(at_hand["toy"].embeddings)
    rng = np.random.default_rng(3)
    shown = [Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)) for _ in range(3)]
    vectors = encoder.encode_images(np.stack([encoder.preprocess(p) for p in shown]))
    clips = ["v0_500_1000", "v1_0_500", "v3_0_500"]
    embed(store, dict(zip(clips, vectors, strict=True)), encoder.identity)
    view = opened(store, at_hand, "toy-hq")
    for picture, clip in zip(shown, clips, strict=True):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        items = view.rows(GridQuery((), like=(PICTURE, view.likeness.remember(buffer.getvalue()))))["items"]
        assert (len(items), items[0]["id"]) == (3, clip)
    with pytest.raises(NoLikeness, match="no picture that can be read"):
        view.likeness.remember(b"GIF89a and then nothing")
    with pytest.raises(NoLikeness, match="choose it again"):
        view.rows(GridQuery((), like=(PICTURE, "0" * 16)))
