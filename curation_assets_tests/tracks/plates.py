"""Licence plates in motion whose places are known, and a small network that finds them.

The plates are drawn over real footage: white, a blue band on the left, dark letters that differ from plate to plate. The network is real and finds nothing
but what it is shown: normalised cross-correlation with the mean of many such plates, times the blueness of the band, at several sizes, as convolutions of an
ONNX graph in YOLOv8's layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from curation_resources.detectors.base import Floats, Image

SIDE = 320
"""Of the network's input."""
ASPECT = 4.6
WIDTHS = (28, 36, 46, 58)
"""Of the plates that it looks for, in pixels of its input; the next smaller and larger look similar enough."""
STEP = 2
LETTERS = "ABCDEFGHKLMNPRSTUVWXYZ0123456789"
Box = tuple[float, float, float, float]


@cache
def plate(text: str) -> Image:
    """uint8 (92, 424, 3) RGB."""
    picture = np.full((92, 424, 3), 245, np.uint8)
    picture[:, :40] = (20, 60, 190)
    cv2.rectangle(picture, (1, 1), (422, 90), (30, 30, 30), 2)
    cv2.putText(picture, text, (56, 70), cv2.FONT_HERSHEY_DUPLEX, 1.9, (15, 15, 15), 4, cv2.LINE_AA)
    return picture


def letters(seed: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list(LETTERS), 7))


def draw(frame: Image, box: Box, text: str) -> None:
    """Draws a plate into a frame, to fractions of a pixel, in place; what lies outside is cut off."""
    x, y, w, h = box
    source = plate(text)
    small = cv2.resize(source, (max(1, round(w)), max(1, round(h))), interpolation=cv2.INTER_AREA)
    to = np.asarray([[1, 0, x], [0, 1, y]], np.float64)
    size = (frame.shape[1], frame.shape[0])
    moved = cv2.warpAffine(small, to, size, flags=cv2.INTER_LINEAR)
    mask = cv2.warpAffine(np.full(small.shape[:2], 255, np.uint8), to, size, flags=cv2.INTER_LINEAR)[..., None] / 255
    frame[:] = (frame * (1 - mask) + moved * mask).round().astype(np.uint8)


def footage(path: Path, count: int, size: tuple[int, int] = (640, 360)) -> list[Image]:
    """The first frames of a real video, uint8 (h, w, 3) RGB, scaled to `size`."""
    found = []
    with av.open(str(path)) as video:
        for frame in video.decode(video=0):
            picture = frame.to_ndarray(format="rgb24")
            found.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
            if len(found) == count:
                return found
    return [found[i % len(found)] for i in range(count)]


def drive(count: int, size: tuple[int, int] = (640, 360), fast: float = 1.0) -> list[list[Box]]:
    """Where two plates are in each of `count` frames: one crosses the picture and comes back, one comes nearer and grows."""
    width, height = size
    places = []
    for k in range(count):
        t = k / max(1, count - 1)
        phase = 0.5 - 0.5 * np.cos(2 * np.pi * fast * t)
        far = (20 + (width - 140) * phase, 0.25 * height + 30 * np.sin(6 * t), 84.0, 84 / ASPECT)
        w = 62 + 44 * t
        near = (0.45 * width - 120 * t, 0.6 * height + 40 * t, w, w / ASPECT)
        places.append([far, near])
    return places


def with_plates(frames: Sequence[Image], places: Sequence[Sequence[Box]], seed: int = 1) -> list[Image]:
    """Copies of the frames with plates at the places."""
    drawn = [f.copy() for f in frames]
    for frame, boxes in zip(drawn, places, strict=True):
        for number, box in enumerate(boxes):
            draw(frame, box, letters(seed + number))
    return drawn


def _template(width: int) -> NDArray[np.float32]:
    """(3, h, w): the mean of many plates at a size, each channel's mean taken off, of length one."""
    size = (width, round(width / ASPECT))
    many = [cv2.resize(plate(letters(1000 + s)), size, interpolation=cv2.INTER_AREA) for s in range(64)]
    mean = np.mean(many, axis=0).transpose(2, 0, 1)
    mean -= mean.mean()
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


def _band(width: int) -> NDArray[np.float32]:
    """(3, h, w): blue less red over the blue band."""
    height, band = round(width / ASPECT), max(2, round(width * 40 / 424))
    weights = np.zeros((3, height, width), np.float32)
    weights[2, :, :band], weights[0, :, :band] = 1, -1
    return weights / (height * band)


def save_network(path: Path) -> str:
    """Writes the network; takes float RGB of 0 to 1, (1, 3, 320, 320), and answers (1, 5, boxes)."""
    nodes, constants, parts = [], [], []

    def constant(name: str, value: Floats) -> str:
        constants.append(numpy_helper.from_array(value.astype(np.float32), name))
        return name

    nodes.append(helper.make_node("Mul", ["image", "image"], ["squared"]))
    for width in WIDTHS:
        template = _template(width)
        n, (height, _) = template.size, template.shape[1:]
        grid = [(SIDE - height) // STEP + 1, (SIDE - width) // STEP + 1]
        kernel = constant(f"t{width}", template[None])
        ones = constant(f"o{width}", np.ones_like(template)[None])
        count, least = constant(f"n{width}", np.float32(n)), constant(f"e{width}", np.float32(n * 1e-3))
        named = {
            k: f"{k}{width}"
            for k in (
                "cross",
                "sum",
                "sum2",
                "mean2",
                "both",
                "spread",
                "sure",
                "root",
                "alike",
                "blue",
                "bluer",
                "band",
                "score",
                "flat",
            )
        }
        band, three = constant(f"c{width}", _band(width)[None]), constant(f"k{width}", np.float32(3))
        asked = (("image", kernel, "cross"), ("image", ones, "sum"), ("squared", ones, "sum2"), ("image", band, "blue"))
        for source, weights, to in asked:
            nodes.append(helper.make_node("Conv", [source, weights], [named[to]], strides=[STEP, STEP]))
        nodes += [
            helper.make_node("Mul", [named["sum"], named["sum"]], [named["both"]]),
            helper.make_node("Div", [named["both"], count], [named["mean2"]]),
            helper.make_node("Sub", [named["sum2"], named["mean2"]], [named["spread"]]),
            helper.make_node("Max", [named["spread"], least], [named["sure"]]),
            helper.make_node("Sqrt", [named["sure"]], [named["root"]]),
            helper.make_node("Div", [named["cross"], named["root"]], [named["alike"]]),
            helper.make_node("Mul", [named["blue"], three], [named["bluer"]]),
            helper.make_node("Clip", [named["bluer"], "zero", "one"], [named["band"]]),
            helper.make_node("Mul", [named["alike"], named["band"]], [named["score"]]),
            helper.make_node("Reshape", [named["score"], "row"], [named["flat"]]),
        ]
        rows, columns = np.meshgrid(np.arange(grid[0]), np.arange(grid[1]), indexing="ij")
        boxes = np.stack(
            [columns.ravel() * STEP + width / 2, rows.ravel() * STEP + height / 2]
            + [np.full(rows.size, float(v)) for v in (width, height)]
        )
        nodes.append(
            helper.make_node("Concat", [constant(f"b{width}", boxes[None]), named["flat"]], [f"p{width}"], axis=1)
        )
        parts.append(f"p{width}")
    nodes.append(helper.make_node("Concat", parts, ["found"], axis=2))
    constants.append(numpy_helper.from_array(np.asarray([1, 1, -1], np.int64), "row"))
    constant("zero", np.float32(0)), constant("one", np.float32(1))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, 5, None])
    graph = helper.make_graph(nodes, "plates", [image], [found], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return str(path)
