"""ONNX detectors: a real FastestDet, and networks that say exactly what a YOLO would say about known boxes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from curation_assets_tests.shared_data import shared
from curation_resources.detectors import DetectorOptions, load_detector
from curation_resources.detectors.base import Floats
from curation_resources.detectors.onnx import OnnxDetector, OnnxForm
from curation_resources.weights import MissingWeights, WrongWeights

SIZE = 64
WIDE = np.zeros((40, 80, 3), np.uint8)
"""Twice as wide as high: letterboxed into 64 x 64 it covers rows 16 to 48."""


def network(path: Path, output: Floats | tuple[Floats, ...], size: int | str = "side") -> str:
    """An ONNX model that takes an image and answers with `output`, one tensor or several, whatever it is shown."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    constants, answers = [numpy_helper.from_array(np.float32(0), "zero")], []
    for number, tensor in enumerate(output if isinstance(output, tuple) else (output,)):
        constants.append(numpy_helper.from_array(tensor.astype(np.float32), f"known{number}"))
        nodes.append(helper.make_node("Add", ["nothing", f"known{number}"], [f"answer{number}"]))
        answers.append(helper.make_tensor_value_info(f"answer{number}", TensorProto.FLOAT, list(tensor.shape)))
    model = helper.make_model(
        helper.make_graph(nodes, "known", [image], answers, constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 9
    onnx.save(model, str(path))
    return str(path)


# In the 64 x 64 input: one object at x 16..32, y 24..40, once well and once worse; one of class b far away; one too weak.
YOLO_BOXES = np.asarray([[24, 32, 16, 16], [25, 32, 16, 16], [48, 32, 8, 16], [8, 24, 8, 8]], np.float32)
EXPECTED = [[20.0, 10.0, 20.0, 20.0], [55.0, 10.0, 10.0, 20.0]]
"""The two that remain, in pixels of the 80 x 40 frame: scale 80 / 64, rows shifted by 16."""


def test_weights_among_the_inputs_are_taken_for_constants(tmp_path: Path) -> None:
    """As exporters wrote them before version 4 of the format: onnxruntime computes such weights slowly."""
    path = tmp_path / "old.onnx"
    model = onnx.load(network(path, np.concatenate([YOLO_BOXES, [[0.9]] * 4], axis=1).T[None]))
    new = OnnxDetector(str(path), ("a",), OnnxForm(layout="yolov8", size=SIZE)).detect([WIDE])
    for weight in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    model.ir_version = 3
    onnx.save(model, str(path))
    old = OnnxDetector(str(path), ("a",), OnnxForm(layout="yolov8", size=SIZE))
    assert not old.session.get_overridable_initializers()
    np.testing.assert_array_equal(old.detect([WIDE])[0].boxes, new[0].boxes)
    assert len(new[0])


@pytest.mark.parametrize("layout", ["yolov5", "yolov8"])
def test_yolo_layouts(tmp_path: Path, layout: str) -> None:
    classes = np.asarray([[0.9, 0.1], [0.8, 0.1], [0.2, 0.7], [0.1, 0.1]], np.float32)
    objectness = np.asarray([[1.0], [1.0], [0.5], [0.9]], np.float32)
    if layout == "yolov5":
        output = np.concatenate([YOLO_BOXES, objectness, classes], axis=1)[None]
    else:
        output = np.concatenate([YOLO_BOXES, classes], axis=1).T[None]
    detector = OnnxDetector(
        network(tmp_path / "m.onnx", output), ("a", "b"), OnnxForm(layout=layout, size=SIZE), nms=0.5
    )
    found = detector.detect([WIDE])[0]
    np.testing.assert_allclose(found.boxes, EXPECTED, atol=1e-4)
    assert found.class_scores.argmax(axis=1).tolist() == [0, 1]
    if layout == "yolov5":
        np.testing.assert_allclose(found.scores, [0.9, 0.35], atol=1e-6)
        assert found.objectness is not None
        np.testing.assert_allclose(found.objectness, [1.0, 0.5], atol=1e-6)
    else:
        np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-6)
        assert found.objectness is None


def test_a_network_that_suppresses_by_itself(tmp_path: Path) -> None:
    corners = np.concatenate(
        [YOLO_BOXES[:, :2] - YOLO_BOXES[:, 2:] / 2, YOLO_BOXES[:, :2] + YOLO_BOXES[:, 2:] / 2], axis=1
    )
    rest = np.asarray([[0, 0.9], [0, 0.8], [1, 0.7], [0, 0.1]], np.float32)
    output = np.concatenate([np.zeros((4, 1)), corners, rest], axis=1)
    form = OnnxForm(layout="end2end", size=SIZE)
    found = OnnxDetector(network(tmp_path / "m.onnx", output), ("a", "b"), form, nms=0.5).detect([WIDE])[0]
    np.testing.assert_allclose(found.boxes, EXPECTED, atol=1e-4)
    np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-6)
    assert found.class_scores.argmax(axis=1).tolist() == [0, 1]
    nothing = OnnxDetector(network(tmp_path / "none.onnx", output[:0]), ("a", "b"), form)
    assert len(nothing.detect([WIDE])[0]) == 0
    with pytest.raises(WrongWeights, match="has 2 classes"):
        OnnxDetector(network(tmp_path / "m.onnx", output), ("a",), form).detect([WIDE])


def test_retinaface_priors(tmp_path: Path) -> None:
    """The boxes are priors moved and stretched: as the paper's code has it, written out for two of them."""
    priors = 2 * (8 * 8 + 4 * 4 + 2 * 2)
    offsets, scores = np.zeros((1, priors, 4)), np.zeros((1, priors, 2))
    scores[..., 0] = 1
    # Row 4, column 3 of the finest grid, its smaller prior of 16: centre 28, 36. Moved by a quarter of its side, 1.25 times as wide.
    first = 2 * (4 * 8 + 3)
    offsets[0, first] = [0.25 / 0.1, 0, np.log(1.25) / 0.2, 0]
    # Row 1, column 1 of the second grid, its larger prior of 4 x 16 x 2 = 128: centre 24, 24, a tenth as large.
    second = 2 * 64 + 2 * (4 + 1) + 1
    offsets[0, second] = [0, 0, np.log(0.1) / 0.2, np.log(0.1) / 0.2]
    scores[0, first], scores[0, second] = [0.1, 0.9], [0.4, 0.6]
    form = OnnxForm(layout="retinaface", size=SIZE, scale=1.0, bgr=True, mean=(104, 117, 123), letterbox=False)
    square = np.zeros((SIZE, SIZE, 3), np.uint8)
    path = network(tmp_path / "m.onnx", (offsets, scores, np.zeros((1, priors, 10))))
    found = OnnxDetector(path, ("face",), form, nms=1.0).detect([square])[0]
    np.testing.assert_allclose(found.boxes, [[32 - 10, 36 - 8, 20, 16], [24 - 6.4, 24 - 6.4, 12.8, 12.8]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.9, 0.6], atol=1e-6)
    with pytest.raises(WrongWeights, match="168 boxes where the layout retinaface has 42"):
        OnnxDetector(path, ("face",), OnnxForm(layout="retinaface", size=32)).detect([square])


def test_channels_lose_their_mean_before_they_are_scaled(tmp_path: Path) -> None:
    path = network(tmp_path / "m.onnx", np.zeros((1, 5, 1), np.float32), SIZE)
    form = OnnxForm(size=SIZE, scale=0.5, bgr=True, mean=(1, 2, 3), letterbox=False)
    blob = np.empty((3, SIZE, SIZE), np.float32)
    OnnxDetector(path, ("a",), form)._prepare(np.full((8, 8, 3), (10, 20, 30), np.uint8), blob)
    assert blob[:, 0, 0].tolist() == [14.5, 9.0, 3.5], "blue, green, red"


def test_stretching_instead_of_letterboxing(tmp_path: Path) -> None:
    output = np.asarray([[[32, 32, 64, 32, 0.9]]], np.float32).transpose(0, 2, 1)
    detector = OnnxDetector(network(tmp_path / "m.onnx", output), ("a",), OnnxForm(size=SIZE, letterbox=False))
    np.testing.assert_allclose(detector.detect([WIDE])[0].boxes, [[0, 10, 80, 20]], atol=1e-4)


def test_the_real_fastestdet_finds_person_and_dog() -> None:
    detector = load_detector(
        "onnx",
        DetectorOptions(
            model=str(shared("weights/FastestDet.onnx")),
            vocabulary="coco",
            confidence=0.5,
            onnx={"layout": "fastestdet", "size": 352, "bgr": True, "letterbox": False},
        ),
    )
    with av.open(str(shared("videos/01_dog.mp4"))) as video:
        frame = next(video.decode(video=0)).to_ndarray(format="rgb24")
    found = detector.detect([frame])[0]
    assert {detector.names[i] for i in found.class_scores.argmax(axis=1)} >= {"person", "dog"}
    np.testing.assert_allclose(found.class_scores.sum(axis=1), 1, atol=1e-3)
    assert found.objectness is not None
    assert np.all(found.boxes[:, :2] + found.boxes[:, 2:] <= [1280, 720])


def test_what_does_not_fit_is_told_with_the_key_to_set(tmp_path: Path) -> None:
    good = network(tmp_path / "m.onnx", np.zeros((1, 6, 3), np.float32), SIZE)
    with pytest.raises(WrongWeights, match=r"set tracks\.onnx\.size"):
        OnnxDetector(good, ("a", "b"), OnnxForm(size=640))
    with pytest.raises(WrongWeights, match=r"the model has 2 classes .* vocabulary 3; set tracks\.vocabulary"):
        OnnxDetector(good, ("a", "b", "c"), OnnxForm(size=SIZE)).detect([WIDE])
    with pytest.raises(WrongWeights, match="not the layout fastestdet"):
        OnnxDetector(good, ("a", "b"), OnnxForm(layout="fastestdet", size=SIZE)).detect([WIDE])
    (tmp_path / "no.onnx").write_bytes(b"<html>not found</html>")
    with pytest.raises(WrongWeights, match=r"no\.onnx is not an ONNX model"):
        OnnxDetector(str(tmp_path / "no.onnx"), ("a",))
    with pytest.raises(MissingWeights, match=r"set tracks\.model"):
        OnnxDetector(str(tmp_path / "nowhere.onnx"), ("a",))
    with pytest.raises(ValueError, match=r"set tracks\.model to a path"):
        load_detector("onnx")
    with pytest.raises(ValueError, match="there are faces, owlv2"):
        load_detector("yolo")
