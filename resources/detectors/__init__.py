"""Object detectors behind one interface: frames in, boxes with class scores, objectness and appearance out.

What belongs here: the interface, the vocabularies and the backends. What does not: following a box from frame to frame, which is
`curation_assets.tracks.tracking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curation_resources.detectors.base import Detections, Detector
from curation_resources.detectors.vocabulary import VocabularyError, load_vocabulary
from curation_resources.extras import require

__all__ = ["DETECTORS", "Detections", "Detector", "VocabularyError", "load_detector", "load_vocabulary"]

DETECTORS = ("faces", "owlv2", "grounding-dino", "onnx")


def load_detector(
    kind: str,
    *,
    model: str | None = None,
    vocabulary: str = "faces",
    prompt: str | None = None,
    confidence: float = 0.2,
    nms: float = 0.5,
    device: str = "auto",
    threads: int = 1,
    batch: int = 8,
    onnx: Mapping[str, Any] | None = None,
) -> Detector:
    """The detector called `kind`, ready to run.

    Args:
        kind: one of `DETECTORS`.
        model: hub id, path or URI of the weights; `faces` needs none.
        vocabulary: see `load_vocabulary`.
        prompt: template with `{name}` for text-prompted detectors; null is the one the detector was made for.
        confidence: least score of a detection.
        nms: IoU above which the weaker of two boxes is dropped.
        device: auto, cpu, cuda or cuda:N.
        threads: threads within one run of an ONNX model; torch has its own setting.
        batch: frames per forward pass.
        onnx: layout, size, scale, bgr and letterbox of an ONNX model.

    Raises:
        MissingWeights, WrongWeights: the weights cannot be had, or are not that detector's.
        VocabularyError: the vocabulary cannot be had.
        MissingExtra: what runs that detector is not installed.
    """
    if kind not in DETECTORS:
        raise ValueError(f"no detector is called {kind!r}; there are {', '.join(DETECTORS)}")
    if kind == "faces":
        from curation_resources.detectors.faces import CenterFaceDetector

        return CenterFaceDetector(confidence=confidence, device=device, threads=threads, batch=batch)
    if not model:
        raise ValueError(
            f"detector {kind} needs weights; set tracks.model to a {'path' if kind == 'onnx' else 'hub id or folder'}"
        )
    names = load_vocabulary(vocabulary)
    common: dict[str, Any] = {"confidence": confidence, "nms": nms, "device": device}
    if kind == "onnx":
        from curation_resources.detectors.onnx import OnnxDetector

        return OnnxDetector(model, names, **common, threads=threads, **(onnx or {}))
    require(f"the detector {kind}", "torch", "transformers")
    from curation_resources.detectors.text_prompted import GroundingDinoDetector, Owlv2Detector

    if prompt:
        common["prompt"] = prompt
    prompted = Owlv2Detector if kind == "owlv2" else GroundingDinoDetector
    return prompted(model, names, **common, batch=batch)
