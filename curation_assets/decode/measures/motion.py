"""Motion of a clip: how fast the picture moves, whoever moves it.

The magnitude is the mean over blocks of the length of each block's own displacement, so that two objects that move in opposite
directions add up, and its unit is frame diagonals per second, so that neither resolution nor frame rate matters. A step is a pair of
frames about `PAIR_MS` apart (not `1 / fps`): at one diagonal per second the picture then moves by a few pixels of the flow picture, which
can still be matched. One robust fit of a shift, zoom and roll to the blocks of a step tells the camera from the objects.

Estimators: `blocks` is dense inverse search on a picture of 96 pixels, averaged over blocks (`block_flow`); `codec` reads the stream's own
motion vectors.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.measures.block_flow import BlockFlow, Field, Pair
from curation_assets.decode.measures.slots import Slots
from curation_assets.decode.motion_scores import Motion
from curation_resources.compiled import compiled

PAIR_MS = 60
"""Least time between the two frames of a step: 2 frames at 25 and 30 fps, 4 at 60."""
SLOW_MS = 180
"""Least time if little has changed after `PAIR_MS`, so that slow motion stands out of the noise."""
STILL = 0.002
"""Diagonals per second below which a step has no motion; a twentieth of an analysis pixel per step, where the estimate drowns in noise."""
FLOW_SIDE = 96
"""Long side of the picture on which flow is computed, pixels."""
_LEAST_SIDE = 32
"""Dense inverse search needs a few patches along either side."""
_FLAT_WEIGHT = 0.35
"""Weight of a block without texture in the fit of the camera: it speaks only where hardly anything else does."""
_CAMERA_TEXTURED, _CAMERA_INLIERS = 0.25, 0.7
"""Flat blocks take the camera's motion if so many blocks have texture and so many of these follow the camera."""


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
        self._flow: BlockFlow | None = None
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
                self._flow = BlockFlow(small.shape)
            if before.shape == small.shape and time_ms > start_ms:
                pair = Pair.of(before, small)
                if time_ms - start_ms < SLOW_MS and pair.slow:
                    self._gap_ms = SLOW_MS
                    return
                vectors, textured = self._flow(pair)
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
    fit: Field = _fitted(vectors, weights.astype(np.float64), positions, rounds)
    return fit


@compiled
def _fitted(
    vectors: NDArray[np.complex128], weights: NDArray[np.float64], positions: NDArray[np.complex128], rounds: int
) -> NDArray[np.complex128]:
    w, fit = weights.copy(), np.empty_like(vectors)
    for _ in range(rounds):
        total, centre, shift = 0.0, 0j, 0j
        for k in range(len(w)):
            total += w[k]
            centre += w[k] * positions[k]
            shift += w[k] * vectors[k]
        centre, shift = centre / total, shift / total
        along, spread = 0j, 0.0
        for k in range(len(w)):
            p = positions[k] - centre
            along += w[k] * p.conjugate() * vectors[k]
            spread += w[k] * (p.real * p.real + p.imag * p.imag)
        turn = along / max(spread, 1e-9 * total)
        for k in range(len(w)):
            fit[k] = shift + turn * (positions[k] - centre)
            w[k] = weights[k] / (abs(vectors[k] - fit[k]) + 0.02)
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


def _weighted_quantile(values: NDArray[np.float64], weights: NDArray[np.float64], q: float) -> float:
    """The value below which a share `q` of the weight lies, interpolated between the centres of the weights."""
    order = np.argsort(values)
    values, weights = values[order], weights[order]
    centres = (np.cumsum(weights) - weights / 2) / weights.sum()
    return float(np.interp(q, centres, values))
