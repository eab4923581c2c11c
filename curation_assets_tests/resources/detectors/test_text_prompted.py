"""OWLv2 and Grounding DINO through the loading path that real weights take, against the models' own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curation_assets_tests.resources.detectors.tiny_models import save_grounding_dino, save_owlv2
from curation_resources.detectors import DetectorOptions, load_detector
from curation_resources.detectors.base import Image
from curation_resources.detectors.text_prompted import GroundingDinoDetector, Owlv2Detector
from curation_resources.weights import MissingWeights, WrongWeights

NAMES = ["cat", "dog", "big_bird", "aerosol_can", "can_(dog)"]
WORDS = ["cat", "dog", "big", "bird", "aero", "##sol", "can", "(", ")"]
CAPTIONS = ["cat. dog. big bird. aerosol can.", "can (dog)."]
"""What 16 tokens hold."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("names") / "names.txt"
    file.write_text("\n".join(NAMES))
    return str(file)


@pytest.fixture(scope="module")
def owlv2(tmp_path_factory: pytest.TempPathFactory, vocabulary: str) -> Owlv2Detector:
    folder = save_owlv2(tmp_path_factory.mktemp("owlv2"))
    detector = load_detector(
        "owlv2", DetectorOptions(model=str(folder), vocabulary=vocabulary, confidence=0.0, nms=1.0, device="cpu")
    )
    assert isinstance(detector, Owlv2Detector)
    return detector


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory, vocabulary: str) -> GroundingDinoDetector:
    folder = save_grounding_dino(tmp_path_factory.mktemp("dino"), WORDS, max_text_len=16)
    detector = load_detector(
        "grounding-dino",
        DetectorOptions(model=str(folder), vocabulary=vocabulary, confidence=0.0, nms=1.0, device="cpu"),
    )
    assert isinstance(detector, GroundingDinoDetector)
    return detector


def picture(seed: int, height: int = 90, width: int = 120) -> Image:
    noise = np.random.default_rng(seed).integers(0, 255, (height // 10, width // 10, 3), dtype=np.uint8)
    return np.kron(noise, np.ones((10, 10, 1), np.uint8))


def count_calls(module: torch.nn.Module) -> list[int]:
    calls: list[int] = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_owlv2_gives_what_the_model_gives(owlv2: Owlv2Detector) -> None:
    image = picture(0)
    prompts = [
        "a photo of a cat",
        "a photo of a dog",
        "a photo of a big bird",
        "a photo of a aerosol can",
        "a photo of a can (dog)",
    ]
    inputs = owlv2.processor(text=[prompts], images=image, return_tensors="pt", padding="max_length", max_length=40)
    with torch.no_grad():
        out = owlv2.model(**inputs)
    classes, objectness = out.logits[0].sigmoid().numpy(), out.objectness_logits[0].sigmoid().numpy()
    boxes = owlv2.processor.post_process_grounded_object_detection(out, threshold=0.0, target_sizes=[image.shape[:2]])[
        0
    ]["boxes"]
    corners = np.clip(boxes.numpy(), 0, [120, 90, 120, 90])

    found = owlv2.detect([image])[0]
    assert len(found) > 10
    assert found.objectness is not None
    assert found.features is not None
    assert np.ptp(found.scores) > 0.01
    for box, row, own in zip(found.corners, found.class_scores, found.objectness, strict=True):
        place = int(np.abs(classes - row).sum(axis=1).argmin())
        np.testing.assert_allclose(row, classes[place], atol=1e-5)
        np.testing.assert_allclose(box, corners[place], atol=1e-2)
        np.testing.assert_allclose(own, objectness[place], atol=1e-5)
    np.testing.assert_allclose(found.scores, found.class_scores.max(axis=1))
    np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1, atol=1e-5)


def test_owlv2_reads_its_vocabulary_once(owlv2: Owlv2Detector) -> None:
    calls = count_calls(owlv2.model.owlv2.text_model)
    batch = [picture(i, 60, 80 + 20 * (i % 2)) for i in range(5)]
    together = owlv2.detect(batch)
    assert calls == []
    for image, found in zip(batch, together, strict=True):
        np.testing.assert_allclose(found.boxes, owlv2.detect([image])[0].boxes, atol=1e-2)


def test_grounding_dino_splits_a_vocabulary_that_is_too_long(dino: GroundingDinoDetector) -> None:
    tokenizer = dino.processor.tokenizer
    assert [tokenizer(c)["input_ids"] for c in CAPTIONS] == [t["input_ids"][0].tolist() for t, _ in dino.captions]
    first, second = (weights.numpy() for _, weights in dino.captions)
    tokens = tokenizer.convert_ids_to_tokens(dino.captions[0][0]["input_ids"][0])
    spoken = [[tokens[i] for i in np.flatnonzero(row)] for row in first]
    assert spoken == [["cat"], ["dog"], ["big", "bird"], ["aero", "##sol", "can"], []]
    np.testing.assert_allclose(first[:4].sum(axis=1), 1)
    np.testing.assert_allclose(second[4].sum(), 1)


def test_grounding_dino_gives_what_the_model_gives(dino: GroundingDinoDetector) -> None:
    """Against the plain model with nothing remembered, one caption at a time."""
    from transformers import GroundingDinoForObjectDetection

    plain = GroundingDinoForObjectDetection(dino.model.config).eval()
    plain.load_state_dict({_plain_name(k): v for k, v in dino.model.state_dict().items()})
    images = [picture(1), picture(2)]
    wanted: list[Any] = []
    for image in images:
        rows = []
        for caption, (_, spans) in zip(CAPTIONS, dino.captions, strict=True):
            inputs = dino.processor(images=image, text=caption, return_tensors="pt")
            with torch.no_grad():
                out = plain(**inputs)
            rows.append(out.logits[0, :, : spans.shape[1]].sigmoid().numpy() @ spans.numpy().T)
        wanted.append(np.concatenate(rows))
    for found, rows in zip(dino.detect(images), wanted, strict=True):
        assert len(found) > 20
        for row in found.class_scores:
            assert np.abs(rows - row).max(axis=1).min() < 1e-4
        assert found.objectness is None
        assert found.features is not None


def _plain_name(name: str) -> str:
    """Names of the remembered encoders' weights as the plain model has them."""
    for part in ("model.text_backbone.", "model.backbone."):
        if name.startswith(part + "encoder."):
            return part + name.removeprefix(part + "encoder.")
    return name


def test_grounding_dino_encodes_text_once_and_each_image_once(dino: GroundingDinoDetector) -> None:
    dino.detect([picture(3)])
    text, vision = count_calls(dino.text.encoder), count_calls(dino.vision.encoder)
    dino.detect([picture(i) for i in range(3)])
    dino.detect([picture(4)])
    assert (len(text), len(vision)) == (0, 2)


def test_missing_and_wrong_weights_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match=r"weights of OWLv2 are missing: no folder .*; set tracks\.model"):
        load_detector("owlv2", DetectorOptions(model=str(tmp_path / "nowhere"), vocabulary="coco"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongWeights, match="does not hold Grounding DINO as transformers saves it"):
        load_detector("grounding-dino", DetectorOptions(model=str(tmp_path / "empty"), vocabulary="coco"))
    with pytest.raises(ValueError, match=r"set tracks\.model to a hub id or folder"):
        load_detector("owlv2", DetectorOptions(vocabulary="coco"))


def test_a_prompt_longer_than_the_model_reads_is_refused(dino: GroundingDinoDetector, tmp_path: Path) -> None:
    with pytest.raises(WrongWeights, match="more than the 14 tokens"):
        dino._captions([("cat " * 20, 0, 79)])


@pytest.mark.parametrize("name", ["owlv2", "dino"])
def test_lower_precision_changes_scores_little(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does in float16, here in bfloat16, which has fewer digits: boxes and features stay float32, scores stay near."""
    detector = request.getfixturevalue(name)
    full = detector.detect([picture(4)])[0]
    monkeypatch.setattr(detector, "precision", lambda device: torch.autocast(device.type, torch.bfloat16))
    low = detector.detect([picture(4)])[0]
    assert low.boxes.dtype == low.features.dtype == low.scores.dtype == np.float32
    assert len(low) > 10
    assert not np.array_equal(np.sort(low.scores)[-10:], np.sort(full.scores)[-10:])
    np.testing.assert_allclose(np.sort(low.scores)[-10:], np.sort(full.scores)[-10:], atol=0.02)
