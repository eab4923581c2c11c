"""frame_embeddings and the tables that are computed from its stored vectors alone."""

from __future__ import annotations

import hashlib
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.captions.caption_match import caption_match, shuffled_gap
from curation_assets.schemas import schema
from curation_assets.scores.aesthetic_heads import PUBLISHED, aesthetic_table, head_identity, load_head, read_head
from curation_assets.scores.aesthetic_scores import Aesthetic
from curation_assets.scores.category_match import category_table, category_vectors
from curation_assets.scores.category_scores import PromptSet
from curation_assets.scores.embedding import (
    asset_table,
    clip_vectors,
    embed_frames,
    load_model,
    load_text_encoder,
    mean_embeddings,
    model_identity,
    vector_column,
)
from curation_assets.scores.embedding_line import EmbeddingLine
from curation_assets.scores.frame_embeddings import Embeddings
from curation_assets_tests.shared_data import shared
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.clip_model import ClipModel, TextVectors
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter
from curation_resources.weights import MissingWeights, WrongWeights, file_sha256


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Embeddings:
    folder = write_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny")
    return Embeddings(model=f"local-dir:{folder}", batch=4, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def model(params: Embeddings) -> ClipModel:
    return load_model(params)


def jpeg(seed: int, width: int = 96, height: int = 64) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((width, height)).save(out, "JPEG", quality=90)
    return out.getvalue()


def clips_table(ids: list[tuple[str, str]], status: str = "ok") -> pa.Table:
    rows = [
        {**dict.fromkeys(schema("clips").names), "dataset": "d", "video_id": v, "clip_id": c, "status": status}
        for v, c in ids
    ]
    return pa.Table.from_pylist(rows, schema("clips").arrow)


def frames_table(storage: Storage, pictures: list[tuple[str, str, int, bytes]]) -> pa.Table:
    rows: list[dict[str, Any]] = []
    with TarWriter(storage, "frames/d-00000", "token") as tar:
        for video, clip, time_ms, data in pictures:
            m = tar.add(f"{clip}-{time_ms}", {"jpg": data})["jpg"]
            rows.append(
                {
                    **dict.fromkeys(schema("frames").names),
                    "dataset": "d",
                    "video_id": video,
                    "clip_id": clip,
                    "time_ms": time_ms,
                    "frame": time_ms // 40,
                    "tar": m.tar,
                    "offset": m.offset,
                    "size": m.size,
                    "sha256": m.sha256,
                }
            )
    return pa.Table.from_pylist(rows, schema("frames").arrow)


def embeddings_table(vectors: dict[str, np.ndarray], model: str = "m") -> pa.Table:
    """clip id -> its frames' vectors; the video is the clip id up to its first underscore."""
    rows = [(c, t, v) for c, several in vectors.items() for t, v in enumerate(several)]
    matrix = np.array([v for _, _, v in rows], np.float32).reshape(len(rows), -1 if rows else 0)
    return asset_table(
        "frame_embeddings",
        {
            "dataset": ["d"] * len(rows),
            "video_id": [c.split("_")[0] for c, _, _ in rows],
            "clip_id": [c for c, _, _ in rows],
            "time_ms": [1000 * t for _, t, _ in rows],
            "frame": [t for _, t, _ in rows],
            "embedding": vector_column(matrix, [False] * len(rows)),
            "model": [model] * len(rows),
            "error": [None] * len(rows),
        },
    )


def unit(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    vectors = rng.normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_each_frame_gets_the_vector_of_its_own_picture_and_damaged_ones_a_reason(
    params: Embeddings, model: ClipModel, tmp_path: Path
) -> None:
    from PIL import Image

    storage = Storage(str(tmp_path))
    broken = shared("hostile_real/broken.jpg").read_bytes()
    pictures = [("v", f"v_{c}", t, jpeg(10 * c + t)) for c in (2, 0, 1) for t in range(3)]
    pictures += [("a", "a_0", 0, broken), ("a", "a_0", 1, jpeg(99)[:400]), ("a", "a_0", 2, b"<html>")]
    frames = frames_table(storage, pictures)
    rows = frames.to_pylist()
    rows[0]["sha256"] = hashlib.sha256(b"other").hexdigest()
    rows[1]["tar"] = "frames/d-00000/gone.tar"
    rows[2]["size"] = 10**9
    table, stats = embed_frames(pa.Table.from_pylist(rows, frames.schema), EmbeddingLine(model, storage, params.batch))

    assert table.schema.equals(schema("frame_embeddings").arrow)
    assert (stats.frames, stats.embedded, stats.failed) == (12, 6, 6)
    got = {(r["clip_id"], r["time_ms"]): r for r in table.to_pylist()}
    assert [(r["video_id"], r["clip_id"], r["time_ms"]) for r in table.to_pylist()] == sorted(
        (v, c, t) for v, c, t, _ in pictures
    )
    failed = {
        ("v_2", 0): "SHA-256 differs",
        ("v_2", 1): "is gone",
        ("v_2", 2): "bytes",
        ("a_0", 0): "cannot be decoded",
        ("a_0", 1): "cannot be decoded",
        ("a_0", 2): "cannot be decoded",
    }
    for key, why in failed.items():
        assert got[key]["embedding"] is None
        assert why in got[key]["error"], got[key]["error"]
    for _, clip, t, data in pictures:
        if (clip, t) in failed:
            continue
        pixels = model.preprocess(Image.open(io.BytesIO(data)).convert("RGB"))
        expected = model.encode_images(pixels[None])[0]
        np.testing.assert_allclose(np.array(got[clip, t]["embedding"], np.float32), expected, atol=1e-3)
        assert got[clip, t]["error"] is None
        assert got[clip, t]["model"] == model.identity


def test_vectors_do_not_depend_on_how_frames_fall_into_batches(
    params: Embeddings, model: ClipModel, tmp_path: Path
) -> None:
    storage = Storage(str(tmp_path))
    frames = frames_table(storage, [("v", "v_0", t, jpeg(t)) for t in range(7)])
    one, _ = embed_frames(frames, EmbeddingLine(model, storage, 1))
    all_at_once, _ = embed_frames(frames, EmbeddingLine(model, storage, 64))
    a, b = (clip_vectors(t).vectors for t in (one, all_at_once))
    np.testing.assert_allclose(a, b, atol=1e-3)
    empty, stats = embed_frames(frames.slice(0, 0), EmbeddingLine(model, storage, 64))
    assert empty.num_rows == stats.frames == 0


def test_processes_decode_as_threads_do(
    params: Embeddings, model: ClipModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage(str(tmp_path))
    pictures = [("v", "v_0", t, jpeg(t)) for t in range(40)]
    pictures[3] = ("v", "v_0", 3, b"<html>")
    frames = frames_table(storage, pictures)
    threads, _ = embed_frames(frames, EmbeddingLine(model, storage, params.batch, workers=2))
    monkeypatch.setattr(ClipModel, "asynchronous", True)
    monkeypatch.setattr("curation_assets.scores.embedding_line.PROCESS_FRAMES", 40)
    line = EmbeddingLine(model, storage, params.batch, workers=2)
    processes, stats = embed_frames(frames, line)
    assert processes.equals(threads)
    assert stats.failed == 1


@pytest.mark.parametrize("mode", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_what_worker_processes_do_to_a_picture_equals_open_clip(mode: str, interpolation: str) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    from curation_resources.clip_model import _fit

    config = PreprocessCfg(size=64, mode="RGB", interpolation=interpolation, resize_mode=mode)
    steps = image_transform_v2(config, is_train=False).transforms[:-2]
    fit = _fit(mode, interpolation, (64, 64))
    assert fit is not None
    rng = np.random.default_rng(0)
    for width, height in ((683, 384), (384, 683), (64, 64), (65, 64), (64, 91), (30, 47), (225, 224), (1, 9)):
        picture = Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
        expected = picture
        for step in steps:
            expected = step(expected)
        np.testing.assert_array_equal(fit(picture), np.array(expected), err_msg=f"{width} x {height}")


def test_storage_that_cannot_be_reached_is_told_from_frames_that_are_bad(
    params: Embeddings, model: ClipModel, tmp_path: Path
) -> None:
    class Down(Storage):
        def read_media(self, ref: Any) -> bytes:
            raise ConnectionError("connection reset by peer")

    frames = frames_table(Storage(str(tmp_path)), [("v", "v_0", t, jpeg(t)) for t in range(5)])
    _, stats = embed_frames(frames, EmbeddingLine(model, Down(str(tmp_path)), params.batch))
    assert stats.failed == 5
    assert stats.faults["v"].kind == "storage", "so that the table is not committed, see test_unread"
    assert "connection reset by peer" in stats.faults["v"].reason


def test_the_fingerprint_identity_needs_no_model_and_follows_the_weights(params: Embeddings, tmp_path: Path) -> None:
    before = model_identity(params)
    assert before == model_identity(params)
    other = write_tiny_clip(tmp_path / "tiny", seed=1)
    assert model_identity(Embeddings(model=f"local-dir:{other}")) != before
    assert model_identity(Embeddings()) == "ViT-L-14/openai"


# ---- aesthetic


def torch_scores(name: str, vectors: np.ndarray) -> np.ndarray:
    """The head as its authors build it, by torch."""
    import torch

    state = torch.load(shared(f"weights/{name}"), map_location="cpu", weights_only=True)
    if "weight" in state:
        module: torch.nn.Module = torch.nn.Linear(state["weight"].shape[1], 1)
        module.load_state_dict(state)
    else:
        relu = "relu" in name
        sizes, drops = (768, 1024, 128, 64, 16), (0.2, 0.2, 0.1, None)
        layers: list[torch.nn.Module] = []
        for (a, b), drop in zip(pairwise(sizes), drops, strict=True):
            layers.append(torch.nn.Linear(a, b))
            layers += [torch.nn.ReLU()] if relu else []
            layers += [torch.nn.Dropout(drop)] if drop else []
        module = torch.nn.Sequential(*layers, torch.nn.Linear(16, 1))
        module.load_state_dict({k.removeprefix("layers."): v for k, v in state.items()})
    with torch.no_grad():
        return module.eval()(torch.from_numpy(vectors))[:, 0].numpy()


@pytest.mark.parametrize(
    ("file", "dimension", "relu", "published"),
    [
        ("sa_0_4_vit_l_14_linear.pth", 768, False, "linear"),
        ("sa_0_4_vit_b_32_linear.pth", 512, False, "linear"),
        ("sac+logos+ava1-l14-linearMSE.pth", 768, False, "improved"),
        ("ava+logos-l14-reluMSE.pth", 768, True, "improved-relu"),
    ],
)
@pytest.mark.parametrize("reduce", ["mean", "min"])
def test_real_heads_score_as_in_torch(file: str, dimension: int, relu: bool, published: str, reduce: str) -> None:
    path = shared(f"weights/{file}")
    head = read_head(path, "head")
    assert (head.dimension, head.relu) == (dimension, relu)
    assert PUBLISHED[published][dimension].sha256 == file_sha256(path)
    rng = np.random.default_rng(1)
    vectors = {"a_0": unit(rng, 3, dimension), "b_0": unit(rng, 1, dimension)}
    params = Aesthetic(head=str(path), reduce=reduce)
    table = aesthetic_table(clips_table([("a", "a_0"), ("b", "b_0"), ("c", "c_0")]), embeddings_table(vectors), params)
    assert table.schema.equals(schema("aesthetic_scores").arrow)
    assert table["frames"].to_pylist() == [3, 1, 0]
    scores = table["aesthetic"].to_pylist()
    for score, several in zip(scores, vectors.values(), strict=False):
        stored = several.astype(np.float16).astype(np.float32)
        stored /= np.linalg.norm(stored, axis=1, keepdims=True)
        expected = torch_scores(file, stored)
        assert score == pytest.approx(float(expected.mean() if reduce == "mean" else expected.min()), abs=2e-5)
    assert scores[2] is None
    assert table["head"][0].as_py() == f"local sha256:{file_sha256(path)[:16]}"
    assert file_sha256(path) in head_identity(params)


def test_a_head_for_another_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        WrongWeights, match=r"takes embeddings of length 768, those of this recipe have 512.*set embeddings\.model"
    ):
        load_head(Aesthetic(head="improved"), 512)
    with pytest.raises(WrongWeights, match="takes embeddings of length 512"):
        load_head(Aesthetic(head=str(shared("weights/sa_0_4_vit_b_32_linear.pth"))), 768)
    with pytest.raises(MissingWeights, match=r"no file .*nowhere\.pth; set aesthetic\.head"):
        load_head(Aesthetic(head=str(tmp_path / "nowhere.pth")), 768)
    with pytest.raises(WrongWeights, match="is expected"):
        load_head(Aesthetic(head=str(shared("weights/sa_0_4_vit_b_32_linear.pth")), sha256="0" * 64), 512)
    (tmp_path / "html.pth").write_bytes(b"<html>")
    with pytest.raises(WrongWeights, match="is not a state dict of tensors"):
        load_head(Aesthetic(head=str(tmp_path / "html.pth")), 512)


def test_a_head_that_is_no_chain_to_one_number_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save(
        {
            "0.weight": torch.zeros(4, 8),
            "0.bias": torch.zeros(4),
            "2.weight": torch.zeros(1, 5),
            "2.bias": torch.zeros(1),
        },
        tmp_path / "h.pth",
    )
    with pytest.raises(WrongWeights, match="not a chain of linear layers"):
        read_head(tmp_path / "h.pth", "h")
    torch.save({"weight": torch.zeros(2, 8), "bias": torch.zeros(2)}, tmp_path / "two.pth")
    with pytest.raises(WrongWeights, match="ends in one number"):
        read_head(tmp_path / "two.pth", "two")


def test_layers_are_ordered_by_their_numbers_whatever_their_names_and_order_in_the_file(tmp_path: Path) -> None:
    import torch

    rng = np.random.default_rng(0)
    shapes = {2: (6, 8), 9: (4, 6), 11: (1, 4)}
    state = {}
    for number in (11, 2, 9):
        state[f"mlp.{number}.weight"] = torch.from_numpy(rng.normal(size=shapes[number]).astype(np.float32))
        state[f"mlp.{number}.bias"] = torch.zeros(shapes[number][0])
    torch.save({"state_dict": state}, tmp_path / "head.pth")
    vectors = unit(rng, 5, 8)
    a, b, c = (state[f"mlp.{n}.weight"].numpy() for n in (2, 9, 11))
    linear = read_head(tmp_path / "head.pth", "h", activation="none")
    np.testing.assert_allclose(linear.score(vectors), (vectors @ a.T @ b.T @ c.T)[:, 0], atol=1e-5)
    relu = read_head(tmp_path / "head.pth", "h")
    expected = np.maximum(np.maximum(vectors @ a.T, 0) @ b.T, 0) @ c.T
    np.testing.assert_allclose(relu.score(vectors), expected[:, 0], atol=1e-5)


def test_without_any_embedding_no_head_is_needed() -> None:
    table = aesthetic_table(clips_table([("a", "a_0")]), embeddings_table({}), Aesthetic())
    assert table.to_pylist()[0]["aesthetic"] is None
    rejected = aesthetic_table(clips_table([("a", "")], status="rejected"), embeddings_table({}), Aesthetic())
    assert rejected.num_rows == 0


# ---- categories


class Words:
    """A text encoder whose vectors are known: a row of `table` per text."""

    def __init__(self, table: dict[str, np.ndarray], logit_scale: float = 100.0, identity: str = "m") -> None:
        self.table, self.logit_scale, self.identity = table, logit_scale, identity

    def encode_texts(self, texts: Any) -> TextVectors:
        d = len(next(iter(self.table.values()))) if self.table else 0
        return TextVectors(
            np.array([self.table[t] for t in texts], np.float32).reshape(-1, d), [len(t) > 20 for t in texts]
        )


def test_category_scores_are_cosines_and_a_softmax_within_the_set() -> None:
    rng = np.random.default_rng(2)
    words = dict(zip("abcde", unit(rng, 5, 16), strict=True))
    frames = {"x_0": unit(rng, 4, 16), "y_0": unit(rng, 1, 16)}
    sets = {
        "kind": PromptSet(prompts={"one": ["a", "b", "c"], "two": "d"}),
        "other": PromptSet(prompts=["e"]),
    }
    encoder = Words(words, logit_scale=20.0)
    table = category_table(
        clips_table([("x", "x_0"), ("y", "y_0"), ("z", "z_0")]), embeddings_table(frames), sets, encoder
    )
    assert table.schema.equals(schema("category_scores").arrow)
    assert table.num_rows == 3 * 3
    got = {(r["clip_id"], r["category_set"], r["category"]): r for r in table.to_pylist()}
    one = np.mean([words[w] / np.linalg.norm(words[w]) for w in "abc"], axis=0)
    one /= np.linalg.norm(one)
    for clip, vectors in frames.items():
        means = []
        for category, direction in (("one", one), ("two", words["d"])):
            cosines = 100 * vectors @ direction
            assert got[clip, "kind", category]["score"] == pytest.approx(cosines.max(), abs=0.1)
            assert got[clip, "kind", category]["score_mean"] == pytest.approx(cosines.mean(), abs=0.1)
            means.append(cosines.mean() / 100)
        expected = np.exp(20 * np.array(means))
        expected /= expected.sum()
        assert [got[clip, "kind", c]["probability"] for c in ("one", "two")] == pytest.approx(list(expected), abs=5e-3)
        assert got[clip, "other", "e"]["probability"] == 1.0
    assert all(
        got["z_0", s, c][k] is None
        for s, c in (("kind", "one"), ("other", "e"))
        for k in ("score", "score_mean", "probability")
    )


def test_prompts_go_through_the_real_text_tower(params: Embeddings, model: ClipModel, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    frames = frames_table(storage, [("v", "v_0", t, jpeg(t)) for t in range(3)])
    embeddings, _ = embed_frames(frames, EmbeddingLine(model, storage, params.batch))
    encoder = load_text_encoder(params)
    table = category_table(
        clips_table([("v", "v_0")]), embeddings, {"s": PromptSet(prompts=["a cartoon", "a photo"])}, encoder
    )
    assert sum(table["probability"].to_pylist()) == pytest.approx(1, abs=1e-5)
    direct = encoder.encode_texts(["a cartoon"]).vectors[0] @ clip_vectors(embeddings).vectors.T * 100
    assert table.to_pylist()[0]["score"] == pytest.approx(direct.max(), abs=1e-4)
    np.testing.assert_allclose(
        category_vectors({"k": ["a photo"]}, encoder)[0], encoder.encode_texts(["a photo"]).vectors[0], atol=1e-6
    )


def test_vectors_of_another_model_are_refused() -> None:
    embeddings = embeddings_table({"a_0": np.eye(2)}, model="one")
    with pytest.raises(ValueError, match="made by one, the text encoder is two"):
        category_table(clips_table([("a", "a_0")]), embeddings, {}, Words({}, identity="two"))
    with pytest.raises(ValueError, match="vectors of 2 models"):
        clip_vectors(pa.concat_tables([embeddings, embeddings_table({"b_0": np.eye(2)}, model="two")]))


# ---- captions


def captions_table(captions: dict[str, str | None]) -> pa.Table:
    rows = [
        {
            **dict.fromkeys(schema("captions").names),
            "dataset": "d",
            "video_id": c.split("_")[0],
            "clip_id": c,
            "caption": text,
            "backend": "source",
            "status": "ok" if text else "empty",
        }
        for c, text in captions.items()
    ]
    return pa.Table.from_pylist(rows, schema("captions").arrow)


def matching_world(n: int, noise: float) -> tuple[dict[str, np.ndarray], Words, list[str]]:
    """Clips whose caption lies near their frames, with noise added to each frame."""
    rng = np.random.default_rng(3)
    topics = unit(rng, n, 32)
    frames = {f"v{i}_0": topics[i] + noise * rng.normal(size=(3, 32)) for i in range(n)}
    frames = {c: v / np.linalg.norm(v, axis=1, keepdims=True) for c, v in frames.items()}
    texts = [f"caption {i}" if i else "a caption longer than twenty letters" for i in range(n)]
    return frames, Words(dict(zip(texts, topics, strict=True))), texts


def test_captions_are_matched_with_the_frames_of_their_own_clip() -> None:
    frames, words, texts = matching_world(6, 0.1)
    clips = list(frames)
    captions = captions_table({**dict(zip(clips[:5], texts, strict=False)), clips[5]: None, "w_0": texts[0]})
    table, _ = caption_match(captions, embeddings_table(frames), words)
    assert table.schema.equals(schema("caption_scores").arrow)
    got = {r["clip_id"]: r for r in table.to_pylist()}
    for clip, text in zip(clips[:5], texts, strict=False):
        cosines = 100 * frames[clip] @ words.table[text]
        assert got[clip]["match"] == pytest.approx(cosines.max(), abs=0.1)
        assert got[clip]["match_mean"] == pytest.approx(cosines.mean(), abs=0.1)
        assert got[clip]["truncated"] is (len(text) > 20)
    assert (got[clips[5]]["match"], got[clips[5]]["truncated"]) == (None, None)
    assert (got["w_0"]["match"], got["w_0"]["truncated"]) == (None, True)


@pytest.mark.parametrize("n", [12, 200])
def test_shuffled_captions_are_told_from_true_ones(n: int) -> None:
    frames, words, texts = matching_world(n, 0.3)
    embeddings = embeddings_table(frames)
    _, right = caption_match(captions_table(dict(zip(frames, texts, strict=True))), embeddings, words)
    _, shifted = caption_match(captions_table(dict(zip(frames, texts[1:] + texts[:1], strict=True))), embeddings, words)
    assert right is not None
    assert right.apart
    assert right.auc > 0.95
    assert right.matched > right.shuffled + 20
    assert shifted is not None
    assert not shifted.apart


def test_nothing_is_said_of_one_video_or_of_so_few_clips_that_right_captions_could_look_like_chance() -> None:
    assert shuffled_gap(np.eye(30), np.eye(30), np.array(["v"] * 30)) is None
    assert shuffled_gap(np.eye(11), np.eye(11), np.arange(11)) is None
    gap = shuffled_gap(np.eye(12), np.eye(12), np.arange(12))
    assert gap is not None
    assert gap.apart


@settings(max_examples=30)
@given(n=st.integers(20, 60), seed=st.integers(0, 10**6))
def test_random_captions_are_rarely_called_apart(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gap = shuffled_gap(unit(rng, n, 16), unit(rng, n, 16), np.arange(n))
    assert gap is not None
    assert abs(gap.sigmas) < 5


# ---- grouping


@settings(max_examples=50)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.data())
def test_grouping_reduces_exactly_each_clips_rows(sizes: list[int], data: st.DataObject) -> None:
    rng = np.random.default_rng(len(sizes))
    vectors = {f"v_{i}": unit(rng, n, 4) for i, n in enumerate(sizes)}
    table = embeddings_table(vectors)
    shuffled = table.take(pa.array(data.draw(st.permutations(range(table.num_rows)))))
    clips = clip_vectors(shuffled)
    assert clips.clip_ids == sorted(vectors)
    values = clips.vectors[:, 0]
    for how, function in (("mean", np.mean), ("max", np.max), ("min", np.min)):
        expected = [function(vectors[c][:, 0]) for c in clips.clip_ids]
        np.testing.assert_allclose(clips.reduce(values, how), expected, atol=2e-3)
    ids, means = mean_embeddings(shuffled)
    assert ids == clips.clip_ids
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1, atol=1e-5)
    for clip_id, mean in zip(ids, means, strict=True):
        expected = vectors[clip_id].mean(axis=0)
        np.testing.assert_allclose(mean, expected / np.linalg.norm(expected), atol=5e-3)
