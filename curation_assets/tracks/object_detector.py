"""The detector that a recipe names, and what identifies it in a fingerprint (`curation_resources.detectors`)."""

from __future__ import annotations

import hashlib

from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors import Detector, DetectorOptions, load_detector, load_vocabulary
from curation_resources.weights import MissingWeights, fetch_weights, file_sha256, local_path, may_be_of_hub


def open_detector(params: Tracks, *, threads: int = 1) -> Detector:
    """The recipe's detector, loaded.

    Raises:
        curation_resources.weights.MissingWeights, curation_resources.weights.WrongWeights, curation_resources.detectors.VocabularyError: one sentence each.
    """
    brought = params.chosen()
    if brought is not None:
        make, options = brought
        made: Detector = make(params, options, threads)
        return made
    asked = DetectorOptions(
        model=params.model,
        vocabulary=params.vocabulary,
        prompt=params.prompt,
        confidence=params.confidence,
        nms=params.nms,
        device=params.device,
        threads=threads,
        batch=params.batch,
        onnx=params.onnx.model_dump(),
    )
    return load_detector(params.detector, asked)


def detector_identity(params: Tracks) -> str:
    """What identifies detector weights and vocabulary in a fingerprint, without loading the model.

    Files count by content; a model of the hub by its id, for which repository content is taken as fixed.

    Raises:
        MissingWeights, WrongWeights, curation_resources.detectors.VocabularyError: what lies here and is not there, or is none.
    """
    from curation_resources.detectors.faces import centerface_identity

    brought = params.brought_identity()
    if brought:
        return ":".join(*brought.items())
    if params.detector == "faces":
        return centerface_identity()
    covering = f" after {centerface_identity()}" if params.blur_faces else ""
    model = params.model or ""
    if params.detector == "onnx":
        file = file_sha256(fetch_weights(model, "the ONNX detector", "tracks.model"))[:16]
        return f"onnx:{file}:{_names(params)}{covering}"
    folder = local_path(model)
    if not folder.is_dir() and not may_be_of_hub(model):
        raise MissingWeights(
            f"weights of {params.detector} are missing: no folder {folder}; set tracks.model to a folder or to the id of a hub repository, owner/name"
        )
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return f"{params.detector}:{'+'.join(file_sha256(f)[:16] for f in weights) or model}:{_names(params)}{covering}"


def _names(params: Tracks) -> str:
    """A hash of the vocabulary."""
    return hashlib.sha256("\n".join(load_vocabulary(params.vocabulary)).encode()).hexdigest()[:16]
