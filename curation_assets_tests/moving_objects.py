"""Generated scenes of moving objects with known boxes, the videos that show them, and a detector that sees them badly.

A scene is exact: where each object is at each moment, and how much of it can be seen. The detector double returns the truth with
jitter, misses, false boxes and low scores for what is half hidden, by a seed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from curation_resources.detectors.base import Detections, Floats, Image, RawDetections, finish, iou_matrix

WIDTH, HEIGHT = 320, 240
Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class Thing:
    """An object that moves on a line.

    Attributes:
        start: x, y of its top left corner at `enters`, pixels.
        velocity: pixels per second.
        size: width and height, pixels.
        colour: RGB.
        enters, leaves: seconds between which it is in the scene.
        absent: seconds between which it is not to be seen, as if behind something.
        label: number of its class.
    """

    start: tuple[float, float]
    velocity: tuple[float, float]
    size: tuple[float, float] = (40.0, 60.0)
    colour: tuple[int, int, int] = (200, 80, 60)
    enters: float = 0.0
    leaves: float = 60.0
    absent: tuple[float, float] = (0.0, 0.0)
    label: int = 0

    def box(self, second: float) -> Boxes | None:
        """x, y, w, h within the frame, or None where it is not to be seen."""
        if not self.enters <= second < self.leaves or self.absent[0] <= second < self.absent[1]:
            return None
        moved = second - self.enters
        x0, y0 = self.start[0] + self.velocity[0] * moved, self.start[1] + self.velocity[1] * moved
        x1, y1 = min(x0 + self.size[0], WIDTH), min(y0 + self.size[1], HEIGHT)
        x0, y0 = max(x0, 0), max(y0, 0)
        if x1 - x0 < 8 or y1 - y0 < 8:
            return None
        return np.asarray([x0, y0, x1 - x0, y1 - y0], np.float32)


CROSSING = (
    Thing((10, 60), (60, 0), colour=(220, 60, 60)),
    Thing((270, 75), (-60, 0), colour=(60, 200, 60), label=1),
    Thing((140, 10), (0, 25), (50, 40), colour=(60, 80, 220), label=2),
)
"""Two that pass each other closely, and one that comes down between them."""
OCCLUDED = (
    Thing((10, 90), (55, 0), colour=(220, 60, 60), absent=(1.5, 2.2)),
    Thing((250, 20), (-30, 10), colour=(60, 200, 60), label=1, absent=(2.0, 2.5)),
)
"""Two that vanish behind something for a while."""
COMING_AND_GOING = (
    Thing((-30, 60), (70, 0), colour=(220, 60, 60), leaves=4.9),
    Thing((300, 150), (-60, 0), colour=(60, 200, 60), enters=1.0, label=1),
    Thing((150, 120), (0, 60), colour=(60, 80, 220), enters=0.5, leaves=2.5, label=2),
    Thing((150, 10), (0, 30), colour=(60, 80, 220), enters=4.0, label=2),
)
"""Entering over the edge, leaving, and one that comes back later elsewhere: that is a new track."""


@dataclass(frozen=True)
class Truth:
    """What is to be seen at one moment: ids and boxes x, y, w, h."""

    ids: list[int]
    boxes: Boxes


def truth(things: Sequence[Thing], second: float) -> Truth:
    seen = [(i, box) for i, thing in enumerate(things) if (box := thing.box(second)) is not None]
    return Truth([i for i, _ in seen], np.asarray([b for _, b in seen], np.float32).reshape(-1, 4))


def picture(things: Sequence[Thing], second: float) -> Image:
    """The scene drawn on a textured ground."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.stack(
        [90 + 30 * np.sin(columns / 23), 95 + 30 * np.sin(rows / 17), 100 + 20 * np.sin((rows + columns) / 31)], -1
    )
    for thing in things:
        box = thing.box(second)
        if box is not None:
            x, y, w, h = (round(float(v)) for v in box)
            image[y : y + h, x : x + w] = thing.colour
    return image.astype(np.uint8)


def encode(frames: Iterator[tuple[float, Image]], *, keyframes: int = 12) -> bytes:
    """An H.264 mp4 of frames with their seconds, which need not be evenly spaced."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream: av.VideoStream | None = None
        for second, image in frames:
            if stream is None:
                stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "12"})
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 90_000)
                stream.codec_context.time_base = Fraction(1, 90_000)
                stream.gop_size = keyframes
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(second * 90_000), Fraction(1, 90_000)
            out.mux(stream.encode(frame))
        assert stream is not None
        out.mux(stream.encode())
    return buffer.getvalue()


class NoisyDetector:
    """Sees `things` at given moments with jitter, misses, doubles and false boxes.

    Args:
        names: the vocabulary.
        jitter: standard deviation of each box side, in parts of the box.
        miss: chance that an object is not seen.
        ghosts: mean number of false boxes per frame.
        features: length of the appearance feature; 0 for none.
    """

    def __init__(
        self,
        names: Sequence[str] = ("a", "b", "c"),
        *,
        jitter: float = 0.03,
        miss: float = 0.08,
        ghosts: float = 0.3,
        features: int = 0,
        seed: int = 0,
    ) -> None:
        self.names = tuple(names)
        self.description = "noisy truth"
        self.has_features, self.concurrent = features > 0, True
        self._jitter, self._miss, self._ghosts, self._features = jitter, miss, ghosts, features
        self._random = np.random.default_rng(seed)

    def see(self, things: Sequence[Thing], second: float) -> Detections:
        """What it makes of the scene at one moment."""
        random, seen = self._random, truth(things, second)
        kept = [k for k in range(len(seen.ids)) if random.random() >= self._miss]
        boxes, labels, who = seen.boxes[kept], [things[seen.ids[k]].label for k in kept], [seen.ids[k] for k in kept]
        scores = random.uniform(0.7, 0.95, len(kept))
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        hidden = np.triu(iou_matrix(corners, corners), 1).max(axis=0, initial=0) if len(kept) else np.zeros(0)
        scores = np.where(hidden > 0.3, random.uniform(0.15, 0.5, len(kept)), scores)
        corners = corners + random.normal(0, self._jitter, corners.shape) * np.tile(boxes[:, 2:], 2)
        ghosts = random.poisson(self._ghosts)
        where = random.uniform(0, (WIDTH - 40, HEIGHT - 40), (ghosts, 2))
        corners = np.concatenate(
            [corners, np.concatenate([where, where + random.uniform(15, 40, (ghosts, 2))], axis=1)]
        )
        scores = np.concatenate([scores, random.uniform(0.2, 0.65, ghosts)])
        classes = np.full((len(scores), len(self.names)), 0.05)
        classes[np.arange(len(scores)), [*labels, *random.integers(0, len(self.names), ghosts)]] = scores
        raw = RawDetections(
            corners.astype(np.float32),
            scores.astype(np.float32),
            classes.astype(np.float32),
            np.clip(scores + 0.05, 0, 1).astype(np.float32),
            self._appearance(who, ghosts) if self._features else None,
        )
        return finish(raw, (HEIGHT, WIDTH), confidence=0.0, nms=1.0)

    def _appearance(self, who: Sequence[int], ghosts: int) -> Floats:
        """A direction per object, with noise; ghosts look like nothing else."""
        fixed = (
            np.stack([np.random.default_rng(100 + i).normal(size=self._features) for i in who])
            if who
            else np.zeros((0, self._features))
        )
        seen = np.concatenate([fixed, self._random.normal(size=(ghosts, self._features))])
        return (seen + self._random.normal(0, 0.15, seen.shape)).astype(np.float32)


class ColourDetector:
    """Finds the plain rectangles that `picture` draws, by their colours: a real detector for generated videos.

    Counts the frames that it has looked at.
    """

    names: tuple[str, ...] = ("a", "b", "c")
    description = "colour"
    has_features = False
    concurrent = True

    def __init__(self, things: Sequence[Thing]) -> None:
        self._colours = {t.colour: t.label for t in things}
        self.looked = 0

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        self.looked += len(frames)
        return [self._one(frame) for frame in frames]

    def _one(self, frame: Image) -> Detections:
        corners, labels = [], []
        for colour, label in self._colours.items():
            mask = np.abs(frame.astype(int) - colour).max(axis=2) < 24
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            if mask.sum() > 60:
                corners.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
                labels.append(label)
        classes = np.full((len(corners), len(self.names)), 0.02, np.float32)
        classes[np.arange(len(corners)), labels] = 0.9
        scores = np.full(len(corners), 0.9, np.float32)
        boxes = np.asarray(corners, np.float32).reshape(-1, 4)
        return finish(RawDetections(boxes, scores, classes, scores), frame.shape[:2], confidence=0.1, nms=1.0)
