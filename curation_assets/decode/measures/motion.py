"""Motion of a clip: how fast the picture moves, whoever moves it.

The magnitude is the mean over blocks of the length of each block's own displacement, so that two objects that move in opposite
directions add up, and its unit is frame diagonals per second, so that neither resolution nor frame rate matters. A step is a pair of
frames about `PAIR_MS` apart (not `1 / fps`): at one diagonal per second the picture then moves by a few pixels of the flow picture, which
can still be matched. One robust fit of a shift, zoom and roll to the blocks of a step tells the camera from the objects.

Estimators: `blocks` is dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016; in OpenCV) on a
picture of 96 pixels, averaged over blocks; `codec` reads the stream's own motion vectors.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.measures.slots import Slots
from curation_assets.decode.motion_scores import Motion

PAIR_MS = 60
"""Least time between the two frames of a step: 2 frames at 25 and 30 fps, 4 at 60."""
SLOW_MS = 180
"""Least time if little has changed after `PAIR_MS`, so that slow motion stands out of the noise."""
_SLOW = 0.4
"""Displacement of every block, pixels of the flow picture, below which little has changed."""
STILL = 0.002
"""Diagonals per second below which a step has no motion; a twentieth of an analysis pixel per step, where the estimate drowns in noise."""
FLOW_SIDE = 96
"""Long side of the picture on which flow is computed, pixels."""
FLOW_BLOCK = 6
"""Side of a block of the flow picture, pixels."""
_LEAST_SIDE = 32
"""Dense inverse search needs a few patches along either side."""
_NOISE_FACTOR, _NOISE_FLOOR = 1.5, 0.3
"""A pixel has changed if the difference around it exceeds so many times what compensation leaves at the quietest fifth, plus so many levels."""
_MATCHED = 0.85
"""Textured surroundings have moved if compensation leaves less than this share of its difference; interpolating noise alone leaves about 0.9."""
_TEXTURE = 1.5
"""Mean absolute gradient, levels per pixel, from which a block's displacement can be seen."""
_FLAT_WEIGHT = 0.35
"""Weight of a block without texture in the fit of the camera: it speaks only where hardly anything else does."""
_CAMERA_TEXTURED, _CAMERA_INLIERS = 0.25, 0.7
"""Flat blocks take the camera's motion if so many blocks have texture and so many of these follow the camera."""

Field = NDArray[np.complexfloating]
"""Vectors x + iy, one per block."""


class MotionScores(TypedDict):
    """The columns of `motion_scores`; None where a clip holds no complete step."""

    motion: float | None
    motion_p90: float | None
    still_fraction: float | None
    camera_motion: float | None
    object_motion: float | None
    estimator: str


@dataclass(frozen=True, slots=True)
class Step:
    """Motion between two frames, in frame diagonals per second.

    Attributes:
        start_ms, end_ms: times of the two frames.
        motion: mean block magnitude.
        camera: mean magnitude of the global fit.
        objects: mean magnitude of what the fit leaves.
    """

    start_ms: float
    end_ms: float
    motion: float
    camera: float
    objects: float


class MotionMeter:
    """Collects steps while a video is decoded and scores clips from them afterwards.

    Call `push` with the frames that `wants` asks for, in order of time; `scores` may be called at any time, for any span.
    """

    def __init__(self, params: Motion) -> None:
        self._params = params
        self._slots = Slots(params.fps)
        self._pairs = params.estimator == "blocks"
        self._gap_ms = PAIR_MS
        self._anchor: tuple[float, NDArray[np.uint8]] | None = None
        self._flow: _BlockFlow | None = None
        self._steps: list[Step] = []
        self._starts: list[float] = []

    def wants(self, time_ms: float) -> bool:
        """Whether the frame shown at `time_ms` is needed: the first of a grid slot, or its partner."""
        if self._anchor is not None:
            return time_ms - self._anchor[0] >= self._gap_ms
        return self._slots.due(time_ms)

    def push(self, time_ms: float, luma: NDArray[np.uint8]) -> None:
        """Takes a frame: uint8 (h, w), any size, the same for the whole video."""
        small = _flow_picture(luma)
        if self._anchor is not None:
            start_ms, before = self._anchor
            if self._flow is None or self._flow.shape != small.shape:
                self._flow = _BlockFlow(small.shape)
            if before.shape == small.shape and time_ms > start_ms:
                if time_ms - start_ms < SLOW_MS and self._flow.is_slow(before, small):
                    self._gap_ms = SLOW_MS
                    return
                vectors, textured = self._flow(before, small)
                self._add(start_ms, time_ms, vectors, textured, self._flow.positions, math.hypot(*small.shape))
            self._anchor, self._gap_ms = None, PAIR_MS
        if self._slots.due(time_ms):
            self._anchor = (time_ms, small)
            self._slots.take(time_ms)

    def push_vectors(
        self,
        time_ms: float,
        vectors: NDArray[np.void],
        width: int,
        height: int,
        past_ms: float,
        future_ms: float | None = None,
    ) -> None:
        """Takes a frame's motion vectors (`codec`): PyAV's `MotionVectors.to_ndarray()` of a `width` x `height` stream.

        Args:
            past_ms: time since the picture that backward vectors point to, above 0.
            future_ms: time to the picture that forward vectors point to; None leaves those vectors out.
        """
        self._slots.take(time_ms)
        blocks = codec_blocks(vectors, width, height, past_ms, future_ms)
        if blocks is not None:
            speeds, known, positions = blocks
            self._add(
                time_ms - past_ms, time_ms, speeds * (past_ms / 1000), known, positions, math.hypot(width, height)
            )

    def scores(self, start_ms: float, end_ms: float) -> MotionScores:
        """Motion of the clip [start_ms, end_ms), from the steps that lie in it with both frames."""
        steps = self._within(start_ms, end_ms)
        if not steps:
            return MotionScores(
                motion=None,
                motion_p90=None,
                still_fraction=None,
                camera_motion=None,
                object_motion=None,
                estimator=self.estimator,
            )
        # A step that is longer than a slot (a frame that was shown for long) stands for all the slots it covers.
        weights = np.array([max(self._slots.slot_ms, s.end_ms - s.start_ms) for s in steps])
        motion, camera, objects = (
            np.array([getattr(s, name) for s in steps]) for name in ("motion", "camera", "objects")
        )
        return MotionScores(
            motion=float(np.average(motion, weights=weights)),
            motion_p90=_weighted_quantile(motion, weights, 0.9),
            still_fraction=float(np.average(motion < STILL, weights=weights)),
            camera_motion=float(np.average(camera, weights=weights)),
            object_motion=float(np.average(objects, weights=weights)),
            estimator=self.estimator,
        )

    def knows(self, start_ms: float, end_ms: float) -> bool:
        """Whether a step lies in the clip [start_ms, end_ms) with both frames."""
        return bool(self._within(start_ms, end_ms))

    def _within(self, start_ms: float, end_ms: float) -> list[Step]:
        first, last = bisect_left(self._starts, start_ms), bisect_left(self._starts, end_ms)
        return [s for s in self._steps[first:last] if s.end_ms < end_ms]

    @property
    def estimator(self) -> str:
        """Name and sampling, for the `estimator` column."""
        if self._pairs:
            return f"blocks: DIS flow, {FLOW_SIDE} px, pairs {PAIR_MS} or {SLOW_MS} ms apart, {self._params.fps:g}/s"
        return f"codec: motion vectors, {self._params.fps:g}/s"

    def _add(
        self,
        start_ms: float,
        end_ms: float,
        vectors: Field,
        known: NDArray[np.bool_],
        positions: Field,
        diagonal: float,
    ) -> None:
        motion, camera, objects = split_motion(vectors, known, positions)
        per_second = 1000 / (end_ms - start_ms) / diagonal
        self._steps.append(Step(start_ms, end_ms, motion * per_second, camera * per_second, objects * per_second))
        self._starts.append(start_ms)


def split_motion(vectors: Field, textured: NDArray[np.bool_], positions: Field) -> tuple[float, float, float]:
    """Mean magnitudes of a vector field: of all, of the camera's part, of the rest.

    Args:
        vectors: complex (n,), displacement x + iy of each block.
        textured: bool (n,), whether a block's displacement can be seen.
        positions: complex (n,), centre of each block, in the unit of `vectors`.
    """
    if not vectors.any():
        return 0.0, 0.0, 0.0
    camera = fit_camera(vectors, np.where(textured, 1.0, _FLAT_WEIGHT), positions)
    follows = np.abs(vectors - camera) <= 0.3 * np.abs(camera) + 0.1
    if textured.mean() >= _CAMERA_TEXTURED and follows[textured].mean() >= _CAMERA_INLIERS:
        vectors = np.where(textured, vectors, camera)
    else:
        camera = np.where(textured | (vectors != 0), camera, 0)
    return float(np.abs(vectors).mean()), float(np.abs(camera).mean()), float(np.abs(vectors - camera).mean())


def fit_camera(vectors: Field, weights: NDArray[np.floating], positions: Field, rounds: int = 4) -> Field:
    """The shift, zoom and roll that most blocks follow: complex (n,), its displacement at each block.

    Least absolute deviation by iteratively reweighted least squares, so that objects on less than half of the weight do not bend it. As
    complex numbers a shift, zoom and roll is v = t + c p, and with p centred c = sum(w conj(p) v) / sum(w |p|^2).
    """
    w = weights
    for _ in range(rounds):
        w = w / w.sum()
        p = positions - w @ positions
        turn = (w * p.conj()) @ vectors / max(float(w @ (p.real**2 + p.imag**2)), 1e-9)
        fit = w @ vectors + turn * p
        w = weights / (np.abs(vectors - fit) + 0.02)
    return fit


def codec_blocks(
    vectors: NDArray[np.void], width: int, height: int, past_ms: float, future_ms: float | None = None
) -> tuple[Field, NDArray[np.bool_], Field] | None:
    """A frame's motion vectors on a grid of macroblocks.

    Args:
        vectors: structured array with the fields of ffmpeg's AVMotionVector (`source`, `w`, `h`, `dst_x`, `dst_y`, `motion_x`, `motion_y`,
            `motion_scale`); a vector is motion / scale pixels, towards the reference.
        width, height: size of the stream, pixels.
        past_ms, future_ms: time distance of the references before (`source` < 0) and after.

    Returns:
        Velocity of each 16 x 16 block, complex (n,), pixels per second; whether the block has vectors (intra-coded ones have none), bool
        (n,); block centres, complex (n,), pixels. None if no vector can be used, as in a key frame.
    """
    if future_ms is None:
        vectors = vectors[vectors["source"] < 0]
    vectors = vectors[vectors["motion_scale"] > 0]
    if not len(vectors):
        return None
    columns, rows = -(-width // 16), -(-height // 16)
    cell = np.clip(vectors["dst_y"] // 16, 0, rows - 1) * columns + np.clip(vectors["dst_x"] // 16, 0, columns - 1)
    area = vectors["w"].astype(np.float64) * vectors["h"]
    # A vector points from the block to where its content is in the reference, so the content moves the other way over the time between.
    seconds = np.where(vectors["source"] < 0, past_ms, -(future_ms or 0.0)) / 1000
    rate = -area / vectors["motion_scale"] / seconds
    n = rows * columns
    total = np.bincount(cell, area, n)
    velocity: Field = np.bincount(cell, rate * vectors["motion_x"], n) + 1j * np.bincount(
        cell, rate * vectors["motion_y"], n
    )
    ys, xs = np.divmod(np.arange(n), columns)
    return velocity / np.maximum(total, 1), total > 0, (xs * 16 + 8) + 1j * (ys * 16 + 8)


class _BlockFlow:
    """Block displacements between two pictures of one size, with the buffers that can be kept."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        h, w = shape
        self.shape = shape
        self._grid = (max(1, round(w / FLOW_BLOCK)), max(1, round(h / FLOW_BLOCK)))
        columns, rows = self._grid
        ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
        self._identity = np.dstack([xs, ys])
        ys, xs = np.mgrid[0:rows, 0:columns] + 0.5
        self.positions: Field = (xs * w / columns + 1j * ys * h / rows).ravel()
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._dis.setFinestScale(0)
        self._dis.setPatchStride(6)

    def __call__(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[Field, NDArray[np.bool_]]:
        """Displacement of each block, complex (n,), pixels of the flow picture, and whether it can be seen, bool (n,)."""
        texture, changed = _around(_gradient(before)), _around(cv2.absdiff(before, after))
        if changed.max() < _NOISE_FLOOR:
            return np.zeros_like(self.positions), self._blocks(texture) >= _TEXTURE
        flow = self._dis.calc(before, after, None)
        target = cv2.add(self._identity, flow)
        left = _around(
            cv2.absdiff(before, cv2.remap(after, target, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        )
        h, w = self.shape
        inside = cv2.inRange(target, (0, 0), (w - 1, h - 1))
        sample = left[::4, ::4].ravel()
        noise = float(np.partition(sample, sample.size // 5)[sample.size // 5])
        clearly = changed > _NOISE_FACTOR * noise + _NOISE_FLOOR
        moved = clearly & ((left < changed) | (inside == 0)) | (texture >= _TEXTURE) & (left < _MATCHED * changed)
        # What leaves the frame cannot be matched; it is treated like a part without texture.
        blocks = self._blocks(cv2.copyTo(flow, moved.view(np.uint8))).astype(np.float64)
        return blocks.view(np.complex128).ravel(), self._blocks(cv2.copyTo(texture, inside)) >= _TEXTURE

    def is_slow(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
        """Whether nothing has moved far: by first order, the frame difference is gradient times displacement."""
        gradient = np.maximum(_around(_gradient(before)), _TEXTURE)
        return bool((_around(cv2.absdiff(before, after)) < _SLOW * gradient).all())

    def _blocks(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Block means of float32 (h, w) or (h, w, 2): (n,) or (n, 2)."""
        return cv2.resize(picture, self._grid, interpolation=cv2.INTER_AREA).reshape(-1, *picture.shape[2:])


def _flow_picture(luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`luma` scaled so that the long side is `FLOW_SIDE`; very slim pictures are padded by their mirror image."""
    h, w = luma.shape
    scale = FLOW_SIDE / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    while (
        min(luma.shape) > 1 and max(luma.shape) >= 1.6 * FLOW_SIDE
    ):  # Exact halving is eight times as fast as a general area mean.
        luma = cv2.resize(luma, (luma.shape[1] // 2, luma.shape[0] // 2), interpolation=cv2.INTER_AREA)
    small = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (3, 3), 0)
    right, below = max(0, _LEAST_SIDE - size[0]), max(0, _LEAST_SIDE - size[1])
    if right or below:
        small = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_REFLECT)
    return small


def _around(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean over the 5 x 5 pixels around each pixel, float32."""
    return cv2.boxFilter(picture, cv2.CV_32F, (5, 5))


def _gradient(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of the absolute horizontal and vertical differences to the next pixel, uint8 of the same shape."""
    right, below = np.zeros_like(picture), np.zeros_like(picture)
    cv2.absdiff(picture[:, 1:], picture[:, :-1], right[:, 1:])
    cv2.absdiff(picture[1:], picture[:-1], below[1:])
    return cv2.addWeighted(right, 0.5, below, 0.5, 0)


def _weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], q: float) -> float:
    """The value below which a share `q` of the weight lies, interpolated between the centres of the weights."""
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    centres = (np.cumsum(weights) - weights / 2) / weights.sum()
    return float(np.interp(q, centres, values))
