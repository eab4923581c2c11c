"""Object detectors from a local ONNX file whose output layout is declared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curation_resources.detectors.base import Detections, Floats, Image, RawDetections, finish
from curation_resources.detectors.onnx_session import input_memory, on_gpu, open_session, overlapped_runs
from curation_resources.weights import WrongWeights, fetch_weights, file_sha256
from curation_resources.words import plural

Layout = Literal["fastestdet", "yolov5", "yolov8", "end2end", "retinaface"]
LETTERBOX_GREY = 114
"""Padding value that YOLO detectors are trained with."""
RETINA_STRIDES, RETINA_VARIANCES = (8, 16, 32), (0.1, 0.2)
"""Grids of RetinaFace's priors, two priors a cell, each twice as large as the one before; and by what its offsets and sizes were divided."""


@dataclass(frozen=True)
class OnnxForm:
    """What goes into an ONNX model and what comes out.

    Attributes:
        layout: meaning of the output tensor.
        size: side of the square input, pixels; a model with a fixed input size must agree.
        scale: factor on pixel values.
        bgr: whether channels go in as blue, green, red.
        letterbox: whether the aspect ratio is kept by padding; else the frame is stretched.
        mean: what is taken from the three channels, in the order in which they go in, before `scale`.
        anchor: side of RetinaFace's smallest prior, pixels.
        setting: the section of recipes that says so, for messages.
    """

    layout: Layout = "yolov8"
    size: int = 640
    scale: float = 1 / 255
    bgr: bool = False
    letterbox: bool = True
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    anchor: float = 16.0
    setting: str = "tracks"


@dataclass(frozen=True)
class _Given:
    """What a network answered for one frame.

    Attributes:
        outputs: its tensors, in its order.
        size: height and width of its input.
        classes: of the vocabulary.
        anchor: see `OnnxForm`.
    """

    outputs: Sequence[Floats]
    size: tuple[int, int]
    classes: int
    anchor: float


def _corners(centre: Floats, extent: Floats) -> Floats:
    return np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)


def _fastestdet(given: _Given) -> RawDetections:
    """(1, 5 + classes, rows, columns): objectness, centre offset, size, then class scores (dog-qiuqiu/FastestDet)."""
    output = given.outputs[0][0]
    channels, rows, columns = output.shape
    cells = output.reshape(channels, -1).T
    row, column = np.divmod(np.arange(rows * columns), columns)
    centre = np.stack([(column + np.tanh(cells[:, 1])) / columns, (row + np.tanh(cells[:, 2])) / rows], axis=1)
    extent = np.asarray(1 / (1 + np.exp(-cells[:, 3:5])), np.float32)
    objectness, classes = cells[:, 0], cells[:, 5:]
    scores = np.clip(objectness, 0, 1) ** 0.6 * np.clip(classes.max(axis=1), 0, 1) ** 0.4
    return RawDetections(_corners(centre, extent), np.asarray(scores, np.float32), classes, objectness)


def _yolov5(given: _Given) -> RawDetections:
    """(1, boxes, 5 + classes): centre and size in input pixels, objectness, class scores given an object."""
    output, (height, width) = given.outputs[0][0], given.size
    scale = np.asarray([width, height], np.float32)
    objectness, classes = output[:, 4], output[:, 5:]
    scores = objectness * classes.max(axis=1)
    return RawDetections(_corners(output[:, :2] / scale, output[:, 2:4] / scale), scores, classes, objectness)


def _yolov8(given: _Given) -> RawDetections:
    """(1, 4 + classes, boxes): centre and size in input pixels, class scores; no objectness."""
    output, (height, width) = given.outputs[0][0], given.size
    scale = np.asarray([width, height], np.float32)
    boxes, classes = output[:4].T, output[4:].T
    return RawDetections(_corners(boxes[:, :2] / scale, boxes[:, 2:] / scale), classes.max(axis=1), classes, None)


def _end2end(given: _Given) -> RawDetections:
    """(boxes, 7): number in the batch, x1, y1, x2, y2 in input pixels, class, score; doubled boxes are gone already (YOLOv7's and YOLOv9's export with its own
    suppression)."""
    output, (height, width) = given.outputs[0], given.size
    numbers = output[:, 5].astype(int)
    classes = np.zeros((len(output), max(given.classes, int(numbers.max(initial=0)) + 1)), np.float32)
    classes[np.arange(len(output)), numbers] = output[:, 6]
    corners = np.asarray(output[:, 1:5] / np.asarray([width, height] * 2, np.float32), np.float32)
    return RawDetections(corners, output[:, 6], classes, None)


def _retinaface(given: _Given) -> RawDetections:
    """(1, priors, 4) offsets and sizes, (1, priors, 1 + classes) scores with the background first; landmarks, if any, are left (Deng et al., 2019, arXiv
    1905.00641)."""
    offsets, scores = given.outputs[0][0], given.outputs[1][0][:, 1:]
    priors = _priors(given.size, given.anchor)
    if len(priors) != len(offsets):
        raise WrongWeights(
            f"the model has {plural(len(offsets), 'box', 'boxes')} where the layout retinaface has {len(priors)}"
        )
    centre = priors[:, :2] + offsets[:, :2] * RETINA_VARIANCES[0] * priors[:, 2:]
    extent = priors[:, 2:] * np.exp(offsets[:, 2:] * RETINA_VARIANCES[1])
    return RawDetections(_corners(centre, extent), scores.max(axis=1), scores, None)


@cache
def _priors(size: tuple[int, int], anchor: float) -> Floats:
    """float32 (n, 4): centre and size of each prior, in parts of the input, grid by grid, row by row."""
    height, width = size
    parts = []
    for level, stride in enumerate(RETINA_STRIDES):
        row, column, prior = np.meshgrid(
            np.arange(ceil(height / stride)), np.arange(ceil(width / stride)), np.arange(2), indexing="ij"
        )
        side = anchor * 4.0**level * 2.0**prior
        parts.append(
            np.stack(
                [
                    (column + 0.5) * stride / width,
                    (row + 0.5) * stride / height,
                    side / width,
                    side / height,
                ],
                axis=-1,
            ).reshape(-1, 4)
        )
    return np.concatenate(parts).astype(np.float32)


_DECODERS: dict[Layout, Callable[[_Given], RawDetections]] = {
    "fastestdet": _fastestdet,
    "yolov5": _yolov5,
    "yolov8": _yolov8,
    "end2end": _end2end,
    "retinaface": _retinaface,
}
_SHAPES: dict[Layout, tuple[tuple[int | None, ...], ...]] = {
    "fastestdet": ((1, None, None, None),),
    "yolov5": ((1, None, None),),
    "yolov8": ((1, None, None),),
    "end2end": ((None, 7),),
    "retinaface": ((1, None, 4), (1, None, None)),
}
"""Of the outputs that are read of one frame, in order; None for any size."""


class OnnxDetector:
    """A detector whose output is that of YOLO, FastestDet or RetinaFace.

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
    device = "cpu"
    """Where frames are taken from: what the network takes of them is made on the CPU, and copied to a GPU by onnxruntime."""

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
        path = fetch_weights(model, "the ONNX detector", f"{form.setting}.model")
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
        if len(shape) == 4 and isinstance(shape[0], int) and shape[0] > 1:
            raise WrongWeights(
                f"{path}: the model takes {plural(shape[0], 'picture')} at a time, no more and no fewer; export it for one, or for any number"
            )
        if len(shape) != 4 or any(d != size for d in fixed):
            raise WrongWeights(
                f"{path}: the input has the shape {shape}; set {self.form.setting}.onnx.size to the side it wants, not {size}"
            )
        return size, size

    @property
    def asynchronous(self) -> bool:
        return on_gpu(self.session)

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        return [self._detect_some([frame])[0] for frame in frames]

    def detect_ahead(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[list[Detections]]:
        """See `AheadDetector`."""
        return overlapped_runs(batches, self._detect_batch, self.asynchronous)

    def _detect_batch(self, frames: NDArray[np.uint8]) -> list[Detections]:
        """Detections in frames of one size, together if the network takes them so."""
        return self._detect_some(list(frames)) if self._takes_several else self.detect(list(frames))

    @cached_property
    def _takes_several(self) -> bool:
        """Whether the network takes several pictures at a time, and answers for each. Its input may say so and its inside not, so it is asked; rows of `end2end`
        do not show whether they are of all pictures."""
        if self.form.layout == "end2end" or isinstance(self.session.get_inputs()[0].shape[0], int):
            return False
        blank = np.zeros((2, 3, *self.size), np.float32)
        try:
            outputs = self.session.run(None, {self._input: blank})
        except Exception:  # noqa: BLE001 - onnxruntime's own classes share no base but Exception
            return False
        return _fits([o.shape for o in outputs], _shapes(self.form.layout, 2))

    def _detect_some(self, frames: Sequence[Image]) -> list[Detections]:
        """Detections in frames that go into the network together."""
        blob = input_memory(self.session, (len(frames), 3, *self.size))
        placed = [self._prepare(frame, row) for frame, row in zip(frames, blob, strict=True)]
        outputs = [np.asarray(o, np.float32) for o in self.session.run(None, {self._input: blob})]
        if not _fits([o.shape for o in outputs], _shapes(self.form.layout, len(frames))):
            shapes = " and ".join(str(o.shape) for o in outputs)
            raise WrongWeights(
                f"{self._path}: the output has the shape {shapes}, which is not the layout {self.form.layout}"
            )
        if len(frames) == 1:
            return [self._read(outputs, frames[0].shape[:2], placed[0])]
        return [
            self._read([output[n : n + 1] for output in outputs], frame.shape[:2], where)
            for n, (frame, where) in enumerate(zip(frames, placed, strict=True))
        ]

    def _read(self, outputs: Sequence[Floats], size: tuple[int, ...], placed: Floats) -> Detections:
        """The detections in what the network answered for a frame of a size (height, width)."""
        raw = _DECODERS[self.form.layout](_Given(outputs, self.size, len(self.names), self.form.anchor))
        if raw.class_scores.shape[1] != len(self.names):
            raise WrongWeights(
                f"{self._path}: the model has {plural(raw.class_scores.shape[1], 'class', 'classes')} in the layout {self.form.layout},"
                f" the vocabulary {len(self.names)}; set {self.form.setting}.vocabulary to the model's classes"
            )
        height, width = size
        x, y, w, h = placed
        shift, stretch = np.asarray([x, y, x, y], np.float32), np.asarray([width / w, height / h] * 2, np.float32)
        in_frame = replace(raw, corners=(raw.corners - shift) * stretch)
        return finish(in_frame, (height, width), confidence=self.confidence, nms=self.nms)

    def _prepare(self, frame: Image, into: Floats) -> Floats:
        """Makes the network's input (3, h, w) of a frame; where the frame lies in it as x, y, w, h in parts of its sides."""
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
        mean = np.asarray(self.form.mean, np.float32)
        np.multiply((canvas.astype(np.float32) - mean).transpose(2, 0, 1), np.float32(self.form.scale), out=into)
        return np.asarray([left / columns, top / rows, inner_w / columns, inner_h / rows], np.float32)


def _shapes(layout: Layout, frames: int) -> tuple[tuple[int | None, ...], ...]:
    """Of the outputs that are read of so many frames, in order; None for any size."""
    return tuple(tuple(frames if side == 1 else side for side in shape) for shape in _SHAPES[layout])


def _fits(shapes: Sequence[tuple[int, ...]], wanted: Sequence[tuple[int | None, ...]]) -> bool:
    """Whether the first outputs have the shapes that a layout has."""
    return len(shapes) >= len(wanted) and all(
        len(shape) == len(want) and all(w is None or s == w for s, w in zip(shape, want, strict=True))
        for shape, want in zip(shapes, wanted, strict=False)
    )
