"""The detector that a recipe names, and what identifies it in a fingerprint (`curation_resources.detectors`)."""

from __future__ import annotations

import hashlib

from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors import Detector, DetectorOptions, load_detector, load_vocabulary
from curation_resources.weights import fetch_weights, file_sha256, local_path


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
    """
    from curation_resources.detectors.faces import centerface_identity

    brought = params.brought_identity()
    if brought:
        return ":".join(*brought.items())
    names = hashlib.sha256("\n".join(load_vocabulary(params.vocabulary)).encode()).hexdigest()[:16]
    if params.detector == "faces":
        return centerface_identity()
    covering = f" after {centerface_identity()}" if params.blur_faces else ""
    model = params.model or ""
    if params.detector == "onnx":
        return f"onnx:{file_sha256(fetch_weights(model, 'the ONNX detector', 'tracks.model'))[:16]}:{names}{covering}"
    folder = local_path(model)
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return f"{params.detector}:{'+'.join(file_sha256(f)[:16] for f in weights) or model}:{names}{covering}"
