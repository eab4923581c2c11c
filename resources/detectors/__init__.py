"""Object detectors behind one interface: frames in, boxes with class scores, objectness and appearance out.

What belongs here: the interface, the vocabularies and the backends. What does not: following a box from frame to frame, which is
`curation_assets.tracks.tracking`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curation_resources.detectors.base import Detections, Detector
from curation_resources.detectors.vocabulary import VocabularyError, load_vocabulary
from curation_resources.extras import require

__all__ = [
    "DETECTORS",
    "Detections",
    "Detector",
    "DetectorOptions",
    "VocabularyError",
    "load_detector",
    "load_vocabulary",
]

DETECTORS = ("faces", "owlv2", "grounding-dino", "onnx")


@dataclass(frozen=True)
class DetectorOptions:
    """With what a detector is loaded, and what it is to find.

    Attributes:
        model: hub id, path or URI of the weights; `faces` needs none.
        vocabulary: see `load_vocabulary`.
        prompt: template with `{name}` for text-prompted detectors; null is the one the detector was made for.
        confidence: least score of a detection.
        nms: IoU above which the weaker of two boxes is dropped.
        device: auto, cpu, cuda or cuda:N.
        threads: threads within one run of an ONNX model; torch has its own setting.
        batch: frames per forward pass.
        onnx: attributes of an `onnx.OnnxForm`.
    """

    model: str | None = None
    vocabulary: str = "faces"
    prompt: str | None = None
    confidence: float = 0.2
    nms: float = 0.5
    device: str = "auto"
    threads: int = 1
    batch: int = 8
    onnx: Mapping[str, Any] = field(default_factory=dict)


def load_detector(kind: str, asked: DetectorOptions = DetectorOptions()) -> Detector:
    """The detector called `kind`, one of `DETECTORS`, ready to run.

    Raises:
        MissingWeights, WrongWeights: the weights cannot be had, or are not that detector's.
        VocabularyError: the vocabulary cannot be had.
        MissingExtra: what runs that detector is not installed.
    """
    if kind not in DETECTORS:
        raise ValueError(f"no detector is called {kind!r}; there are {', '.join(DETECTORS)}")
    if kind == "faces":
        from curation_resources.detectors.faces import CenterFaceDetector

        return CenterFaceDetector(
            confidence=asked.confidence, device=asked.device, threads=asked.threads, batch=asked.batch
        )
    if not asked.model:
        raise ValueError(
            f"detector {kind} needs weights; set tracks.model to a {'path' if kind == 'onnx' else 'hub id or folder'}"
        )
    names = load_vocabulary(asked.vocabulary)
    common: dict[str, Any] = {"confidence": asked.confidence, "nms": asked.nms, "device": asked.device}
    if kind == "onnx":
        from curation_resources.detectors.onnx import OnnxDetector, OnnxForm

        return OnnxDetector(asked.model, names, OnnxForm(**asked.onnx), **common, threads=asked.threads)
    require(f"the detector {kind}", "torch", "transformers")
    from curation_resources.detectors.text_prompted import GroundingDinoDetector, Owlv2Detector

    if asked.prompt:
        common["prompt"] = asked.prompt
    prompted = Owlv2Detector if kind == "owlv2" else GroundingDinoDetector
    return prompted(asked.model, names, **common, batch=asked.batch)
