"""Object detectors from a local ONNX file whose output layout is declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curation_resources.detectors.base import Detections, Floats, Image, RawDetections, finish
from curation_resources.detectors.onnx_session import open_session
from curation_resources.weights import WrongWeights, fetch_weights, file_sha256

Layout = Literal["fastestdet", "yolov5", "yolov8"]
LETTERBOX_GREY = 114
"""Padding value that YOLO detectors are trained with."""


@dataclass(frozen=True)
class OnnxForm:
    """What goes into an ONNX model and what comes out.

    Attributes:
        layout: meaning of the output tensor.
        size: side of the square input, pixels; a model with a fixed input size must agree.
        scale: factor on pixel values.
        bgr: whether channels go in as blue, green, red.
        letterbox: whether the aspect ratio is kept by padding; else the frame is stretched.
    """

    layout: Layout = "yolov8"
    size: int = 640
    scale: float = 1 / 255
    bgr: bool = False
    letterbox: bool = True


def _corners(centre: Floats, extent: Floats) -> Floats:
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)


def _fastestdet(output: Floats, size: tuple[int, int]) -> RawDetections:
    """(5 + classes, rows, columns): objectness, centre offset, size, then class scores (dog-qiuqiu/FastestDet)."""
    channels, rows, columns = output.shape
    cells = output.reshape(channels, -1).T
    row, column = np.divmod(np.arange(rows * columns), columns)
    centre = np.stack([(column + np.tanh(cells[:, 1])) / columns, (row + np.tanh(cells[:, 2])) / rows], axis=1)
    extent = np.asarray(1 / (1 + np.exp(-cells[:, 3:5])), np.float32)
    objectness, classes = cells[:, 0], cells[:, 5:]
    scores = np.clip(objectness, 0, 1) ** 0.6 * np.clip(classes.max(axis=1), 0, 1) ** 0.4
    return RawDetections(_corners(centre, extent), scores, classes, objectness)


def _yolov5(output: Floats, size: tuple[int, int]) -> RawDetections:
    """(boxes, 5 + classes): centre and size in input pixels, objectness, class scores given an object."""
    height, width = size
    scale = np.asarray([width, height], np.float32)
    objectness, classes = output[:, 4], output[:, 5:]
    scores = objectness * classes.max(axis=1)
    return RawDetections(_corners(output[:, :2] / scale, output[:, 2:4] / scale), scores, classes, objectness)


def _yolov8(output: Floats, size: tuple[int, int]) -> RawDetections:
    """(4 + classes, boxes): centre and size in input pixels, class scores; no objectness."""
    height, width = size
    scale = np.asarray([width, height], np.float32)
    boxes, classes = output[:4].T, output[4:].T
    return RawDetections(_corners(boxes[:, :2] / scale, boxes[:, 2:] / scale), classes.max(axis=1), classes, None)


_DECODERS: dict[Layout, Callable[[Floats, tuple[int, int]], RawDetections]] = {
    "fastestdet": _fastestdet,
    "yolov5": _yolov5,
    "yolov8": _yolov8,
}
_RANK = {"fastestdet": 4, "yolov5": 3, "yolov8": 3}


class OnnxDetector:
    """A YOLO-like or FastestDet-like detector.

    Args:
        model: path or URI of the ONNX file.
        names: the classes, in the order of the model's class scores.
        form: what its tensors mean; corners come out as parts of its input.
        confidence: least score.
        nms: see `base.suppress`.
        device, threads: see `open_session`.

    Raises:
        MissingWeights, WrongWeights: no such file, or its tensors do not fit the layout or the vocabulary.
    """

    has_features = False
    concurrent = True

    def __init__(
        self,
        model: str,
        names: Sequence[str],
        form: OnnxForm = OnnxForm(),
        *,
        confidence: float = 0.2,
        nms: float = 0.5,
        device: str = "auto",
        threads: int = 1,
    ) -> None:
        path = fetch_weights(model, "the ONNX detector", "tracks.model")
        self.names = tuple(names)
        self.form = form
        self.confidence, self.nms = confidence, nms
        self.session = open_session(path, device=device, threads=threads, what="the ONNX detector")
        self._input = self.session.get_inputs()[0].name
        self.size = self._input_size(str(path), form.size)
        self.description = f"onnx {file_sha256(path)[:12]} layout={form.layout} classes={len(self.names)}"
        self._path = str(path)

    def _input_size(self, path: str, size: int) -> tuple[int, int]:
        """Height and width of the network's input."""
        shape = self.session.get_inputs()[0].shape
        fixed = [d for d in shape[2:] if isinstance(d, int) and d > 0]
        if len(shape) != 4 or any(d != size for d in fixed):
            raise WrongWeights(
                f"{path}: the input has the shape {shape}; set tracks.onnx.size to the side it wants, not {size}"
            )
        return size, size

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        return [self._detect_one(frame) for frame in frames]

    def _detect_one(self, frame: Image) -> Detections:
        blob, placed = self._prepare(frame)
        output = np.asarray(self.session.run(None, {self._input: blob})[0], np.float32)
        if output.ndim != _RANK[self.form.layout] or len(output) != 1:
            raise WrongWeights(
                f"{self._path}: the output has the shape {output.shape}, which is not the layout {self.form.layout}"
            )
        raw = _DECODERS[self.form.layout](output[0], self.size)
        if raw.class_scores.shape[1] != len(self.names):
            raise WrongWeights(
                f"{self._path}: the model has {raw.class_scores.shape[1]} classes in the layout {self.form.layout},"
                f" the vocabulary {len(self.names)}; set tracks.vocabulary to the model's classes"
            )
        height, width = frame.shape[:2]
        x, y, w, h = placed
        shift, stretch = np.asarray([x, y, x, y], np.float32), np.asarray([width / w, height / h] * 2, np.float32)
        in_frame = replace(raw, corners=(raw.corners - shift) * stretch)
        return finish(in_frame, (height, width), confidence=self.confidence, nms=self.nms)

    def _prepare(self, frame: Image) -> tuple[Floats, NDArray[np.float32]]:
        """The network's input (1, 3, h, w), and where the frame lies in it as x, y, w, h in parts of its sides."""
        import cv2

        height, width = frame.shape[:2]
        rows, columns = self.size
        inner_w, inner_h = columns, rows
        if self.form.letterbox:
            factor = min(columns / width, rows / height)
            inner_w, inner_h = max(1, round(width * factor)), max(1, round(height * factor))
        shrinks = inner_w < width or inner_h < height
        resized = cv2.resize(frame, (inner_w, inner_h), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        left, top = (columns - inner_w) // 2, (rows - inner_h) // 2
        canvas = np.full((rows, columns, 3), LETTERBOX_GREY, np.uint8)
        canvas[top : top + inner_h, left : left + inner_w] = resized[:, :, ::-1] if self.form.bgr else resized
        blob = canvas.transpose(2, 0, 1)[None].astype(np.float32) * np.float32(self.form.scale)
        return blob, np.asarray([left / columns, top / rows, inner_w / columns, inner_h / rows], np.float32)
