from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curation_assets_tests.shared_data import shared
from curation_assets_tests.tiny_clip import write_tiny_clip
from curation_resources.clip_model import ClipModel, choose_precision, load_clip
from curation_resources.clip_weights import clip_identity, find_clip_weights
from curation_resources.devices import cpu_has_bf16
from curation_resources.weights import MissingWeights, WrongWeights, fetch_weights, file_sha256


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="module")
def model(folder: Path) -> ClipModel:
    return load_clip(f"local-dir:{folder}", "", device="cpu", precision="fp32")


@pytest.fixture
def architecture(folder: Path, tmp_path: Path) -> Iterator[str]:
    """The tiny model as an architecture that open_clip knows by name, as it knows ViT-B-32."""
    import open_clip.factory

    name = "tiny-arch"
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / f"{name}.json").write_text(json.dumps(config))
    open_clip.factory.add_model_config(tmp_path / f"{name}.json")
    yield name
    open_clip.factory._MODEL_CONFIG_PATHS.pop()
    open_clip.factory._MODEL_CONFIGS.pop(name)


def test_pictures_enter_the_network_as_with_open_clips_own_transform(model: ClipModel, folder: Path) -> None:
    import open_clip
    import torch
    from PIL import Image

    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}", precision="fp32")
    network.eval()
    pictures = [
        Image.open(p).convert("RGB") for p in sorted([*shared("faces").glob("*.jpg"), *shared("ocr").glob("*.jpg")])
    ]
    pictures += [pictures[0].resize(size) for size in ((683, 384), (384, 683), (65, 300), (31, 40))]
    expected = torch.stack([transform(p) for p in pictures])
    pixels = np.stack([model.preprocess(p) for p in pictures])
    mean, std = (np.array(v, np.float32) for v in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD))
    np.testing.assert_array_equal(np.round((expected.permute(0, 2, 3, 1).numpy() * std + mean) * 255), pixels)
    with torch.no_grad():
        reference = network.encode_image(expected, normalize=True).numpy()
    np.testing.assert_allclose(model.encode_images(pixels), reference, atol=1e-6)


def test_texts_are_encoded_as_by_open_clip_and_cut_texts_are_reported(model: ClipModel, folder: Path) -> None:
    import open_clip
    import torch

    network = open_clip.create_model(f"local-dir:{folder}", precision="fp32").eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    texts = ["a dog on a skateboard", "word " * 75, "word " * 76, "", "word " * 400, "Собака бежит по лугу", "!" * 75]
    encoded = model.encode_texts(texts, batch=3)
    with torch.no_grad():
        reference = network.encode_text(tokenizer(texts), normalize=True).numpy()
    np.testing.assert_allclose(encoded.vectors, reference, atol=1e-6)
    lengths = [len(open_clip.tokenizer.SimpleTokenizer().encode(t)) + 2 for t in texts]
    assert encoded.truncated == [n > 77 for n in lengths]
    assert encoded.truncated[1:3] == [False, True]
    text_only = load_clip(str(folder), "", device="cpu", text_only=True)
    np.testing.assert_allclose(text_only.encode_texts(texts).vectors, encoded.vectors, atol=1e-6)
    assert text_only.identity == model.identity


def test_low_precision_stays_close_to_full(model: ClipModel, folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    half = load_clip(str(folder), "", device="cpu", precision="bf16")
    cosines = (half.encode_images(pixels) * model.encode_images(pixels)).sum(axis=1)
    assert cosines.min() > 0.999


def test_precision_is_chosen_by_the_device() -> None:
    assert choose_precision("auto", "cuda:1") == "fp16"
    assert choose_precision("auto", "cpu") == ("bf16" if cpu_has_bf16() else "fp32")
    assert choose_precision("fp32", "cuda") == "fp32"


def test_an_architecture_loads_a_checkpoint_file_or_a_tag(
    architecture: str, folder: Path, model: ClipModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip.pretrained
    from open_clip.transformer import QuickGELU

    checkpoint = folder / "open_clip_pytorch_model.bin"
    by_file = load_clip(architecture, str(checkpoint), precision="fp32", device="cpu")
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(by_file.encode_images(pixels), model.encode_images(pixels))
    assert by_file.identity == f"tiny-arch/local sha256:{file_sha256(checkpoint)[:16]}"
    assert clip_identity(architecture, str(checkpoint)).endswith(file_sha256(checkpoint))

    entry = {"file": str(checkpoint), "quick_gelu": True, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, architecture, {"quick": entry})
    by_tag = load_clip(architecture, "quick", precision="fp32", device="cpu")
    assert any(isinstance(m, QuickGELU) for m in by_tag._network.modules())
    assert not any(isinstance(m, QuickGELU) for m in by_file._network.modules())
    assert not np.allclose(by_tag.encode_images(pixels), by_file.encode_images(pixels))
    assert by_tag._mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert clip_identity(architecture, "quick") == "tiny-arch/quick"


@pytest.mark.parametrize(("model", "reference"), [("hf-hub:org/tiny", "main"), ("hf-hub:org/tiny@v2", "v2")])
def test_a_hub_repository_is_read_from_the_hub_cache_without_a_network(
    model: str, reference: str, folder: Path, tmp_path: Path
) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--org--tiny"
    shutil.copytree(folder, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / reference).write_text(revision)
    code = (
        "from curation_resources.clip_model import load_clip\n"
        "from curation_resources.clip_weights import clip_identity\n"
        f"m = load_clip('{model}', '', device='cpu')\n"
        f"print(m.identity, clip_identity('{model}', ''))"
    )
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("hf-hub:org/tiny@0123456789ab sha256:")
    assert done.stdout.split()[-1] == model


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid"])
@pytest.mark.parametrize("offline", [False, True])
def test_weights_that_cannot_be_had_are_one_sentence_within_a_minute(
    endpoint: str, offline: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    started = time.perf_counter()
    with pytest.raises(MissingWeights) as caught:
        load_clip("ViT-B-32", "openai")
    assert time.perf_counter() - started < 60
    message = str(caught.value)
    assert "\n" not in message
    for word in (
        "ViT-B-32 (openai)",
        str(tmp_path),
        "embeddings.pretrained",
        "HF_HUB_OFFLINE" if offline else endpoint,
    ):
        assert word in message


def test_wrong_names_files_and_folders_are_told_apart(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongWeights, match="no architecture 'ViT-Q-9'"):
        find_clip_weights("ViT-Q-9", "openai")
    with pytest.raises(MissingWeights, match=r"neither a file nor a tag .*openai.*set embeddings.pretrained"):
        find_clip_weights("ViT-B-32", "no_such_tag")
    with pytest.raises(
        MissingWeights, match=r"has no open_clip_config\.json; .* a folder with open_clip_config\.json and weights"
    ):
        load_clip(f"local-dir:{tmp_path}", "")
    with pytest.raises(WrongWeights, match=r"ViT-B-32.*cannot be loaded"):
        load_clip("ViT-B-32", str(folder / "open_clip_pytorch_model.bin"), device="cpu")
    (tmp_path / "junk.pt").write_bytes(b"<html>not found</html>")
    with pytest.raises(WrongWeights, match=r"junk.pt cannot be loaded"):
        load_clip("ViT-B-32", str(tmp_path / "junk.pt"), device="cpu")


def test_a_checkpoint_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    import torch

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "was-run"),)

    torch.save({"visual.proj": Payload()}, tmp_path / "bad.pt")
    with pytest.raises(WrongWeights):
        load_clip("ViT-B-32", str(tmp_path / "bad.pt"), device="cpu")
    assert not (tmp_path / "was-run").exists()


def test_fetched_weights_are_kept_and_their_hash_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    monkeypatch.setenv("CURATION_CACHE", str(tmp_path / "cache"))
    with fsspec.open("memory://bucket/head.pth", "wb") as file:
        file.write(b"weights")
    path = fetch_weights("memory://bucket/head.pth", "the head", "aesthetic.head")
    assert path.read_bytes() == b"weights"
    fsspec.filesystem("memory").rm("/bucket/head.pth")
    assert fetch_weights("memory://bucket/head.pth", "the head", "aesthetic.head") == path
    with pytest.raises(WrongWeights, match="is expected"):
        fetch_weights(str(path), "the head", "aesthetic.head", sha256="0" * 64)
    with pytest.raises(MissingWeights, match=r"gone\.pth cannot be fetched.*set aesthetic\.head"):
        fetch_weights("memory://bucket/gone.pth?key=secret", "the head", "aesthetic.head")
    with pytest.raises(MissingWeights) as caught:
        fetch_weights("http://127.0.0.1:9/gone.pth?key=secret", "the head", "aesthetic.head")
    assert "secret" not in str(caught.value)
    assert not list((tmp_path / "cache").glob(".part-*"))


def test_the_hash_of_a_file_follows_its_content(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"one")
    first = file_sha256(file)
    file.write_bytes(b"two!")
    assert file_sha256(file) != first
