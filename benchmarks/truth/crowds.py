"""Generated street scenes with known tracks, and detections of them as a real detector errs.

People of many sizes walk, stop and turn on a ground plane; the nearer hide the farther. The detector misses what is hidden, small or just
overlooked, for several frames on end; its boxes drift; it sees some things of the background again and again, sees doubles, and is less
sure of what is half hidden. What belongs here: the scenes. What does not: how trackers are judged on them (`tracking`, `mot`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_resources.detectors.base import Detections, iou_matrix

WIDTH, HEIGHT = 640.0, 480.0
Floats = NDArray[np.float64]
NMS = 0.5
LEAST_SCORE = 0.3
STAYS_MISSED = 0.6
"""Chance that what was seen or missed in the last frame is so again, whatever else would decide it."""
STAYS_SEEN = 0.75
"""The same of a thing of the background."""


@dataclass(frozen=True)
class CrowdParams:
    """How hard a scene is.

    Attributes:
        fps: frames per second.
        seconds: length.
        people: how many come by.
        pan: speed to which the camera changes twice a second, standard deviation, pixels per second.
        ghosts: things of the background that the detector takes for people.
        miss: chance that a person who is in full sight is missed.
        jitter: standard deviation of a box's sides, in parts of the box.
        speed: of people 150 pixels tall, about, pixels per second.
        pillars: things of the foreground, a tenth to a fifth of the picture wide, that hide who walks behind them.
    """

    fps: float = 15.0
    seconds: float = 12.0
    people: int = 14
    pan: float = 0.0
    ghosts: int = 3
    miss: float = 0.15
    jitter: float = 0.05
    speed: float = 60.0
    pillars: int = 0

    @staticmethod
    def drawn(seed: int, kind: str = "crowds") -> CrowdParams:
        """Parameters at random, from an empty street to a dense crowd, 7 to 30 frames a second, with a camera at rest or not.

        Args:
            kind: one of `KINDS`.
        """
        rng = np.random.default_rng(1000 + seed)
        plain = CrowdParams(
            fps=float(rng.choice([7, 10, 14, 25, 30])),
            people=int(rng.integers(6, 26)),
            pan=float(rng.choice([0, 0, 30, 90])),
            ghosts=int(rng.integers(0, 7)),
            miss=float(rng.uniform(0.05, 0.35)),
            jitter=float(rng.uniform(0.03, 0.1)),
            speed=float(rng.uniform(30, 110)),
        )
        return replace(plain, **KINDS[kind](rng))


KINDS: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "crowds": lambda rng: {},
    "dense crowds": lambda rng: {"people": int(rng.integers(30, 46))},
    "pillars": lambda rng: {"pillars": int(rng.integers(1, 4)), "ghosts": 0},
    "3 to 5 frames a second": lambda rng: {"fps": float(rng.choice([3, 4, 5])), "seconds": 24.0},
}
"""Kinds of scenes, by what is drawn otherwise for them."""


@dataclass(frozen=True)
class Seen:
    """One frame: who is in it, boxes float64 (n, 4) x0, y0, x1, y1, and which share of each is in sight."""

    ids: list[int]
    corners: Floats
    visible: Floats


@dataclass(frozen=True)
class Crowd:
    """A scene: the truth and the detections of each frame."""

    fps: float
    truth: list[Seen]
    detections: list[Detections]


class _Person:
    """Someone who walks through the scene."""

    def __init__(self, rng: np.random.Generator, params: CrowdParams) -> None:
        self.height = rng.uniform(60, 260)
        self.width = self.height * rng.uniform(0.33, 0.45)
        self.feet = HEIGHT * 0.35 + self.height * 0.7 + rng.normal(0, 8)
        self.enters = rng.uniform(-6, params.seconds * 0.7)
        self.leaves = self.enters + rng.uniform(4, 20)
        self.x = rng.uniform(-80, WIDTH + 80)
        self.speed = rng.choice([-1, 1]) * rng.uniform(0.3, 1.3) * params.speed * self.height / 150
        self.drift, self.growth = rng.normal(0, 4), rng.normal(0, 0.02)
        self.turns, self.stops = rng.uniform(0, 2 * params.seconds), rng.random() < 0.25
        self.phase = rng.uniform(0, 2 * np.pi)

    def box(self, second: float, camera: float) -> Floats | None:
        """x0, y0, x1, y1 within the frame; None where too little of it is."""
        if not self.enters <= second < self.leaves:
            return None
        since = second - self.enters
        walked = min(since, self.turns) - (0.0 if self.stops else max(0.0, since - self.turns))
        height = self.height * np.exp(self.growth * since)
        width = self.width * np.exp(self.growth * since) * (1 + 0.12 * np.sin(self.phase + 5 * second))
        x, y = self.x + self.speed * walked + camera, self.feet + self.drift * since
        low = np.maximum([x - width / 2, y - height], 0)
        high = np.minimum([x + width / 2, y], [WIDTH, HEIGHT])
        if high[0] - low[0] < 0.3 * width or high[1] - low[1] < 0.4 * height:
            return None
        return np.concatenate([low, high])


def _pillars(seed: int, count: int) -> Floats:
    """x0, y0, x1, y1 of things that stand nearer than everybody, in a picture whose camera has not moved."""
    rng = np.random.default_rng(2000 + seed)
    left, width = rng.uniform(0, 0.9 * WIDTH, count), rng.uniform(0.1, 0.2, count) * WIDTH
    return np.stack([left, np.zeros(count), left + width, np.full(count, HEIGHT + 1)], axis=1)


def _visible(corners: Floats, pillars: Floats) -> Floats:
    """Share of each box that no nearer one hides; nearer is whose feet are lower."""
    shares = np.ones(len(corners))
    for own in range(len(corners)):
        columns, rows = (np.linspace(corners[own, a], corners[own, a + 2], 14)[1:-1] for a in (0, 1))
        hidden = np.zeros((len(rows), len(columns)), bool)
        for x0, y0, x1, y1 in (*corners[corners[:, 3] > corners[own, 3]], *pillars):
            hidden |= np.outer((rows >= y0) & (rows <= y1), (columns >= x0) & (columns <= x1))
        shares[own] = 1 - hidden.mean()
    return shares


def _camera(rng: np.random.Generator, params: CrowdParams, frames: int) -> Floats:
    """How far the picture has moved in each frame, pixels."""
    each = max(1, int(params.fps / 2))
    speeds = np.repeat(rng.normal(0, 1, frames // each + 1) * params.pan, each)[:frames]
    return np.cumsum(speeds) / params.fps


class _Detector:
    def __init__(self, rng: np.random.Generator, params: CrowdParams) -> None:
        self.rng, self.params = rng, params
        self.missed = rng.random(params.people) < 0.5
        self.drift = np.zeros((params.people, 4))
        heights = rng.uniform(40, 160, params.ghosts)
        widths = heights * rng.uniform(0.35, 0.6, params.ghosts)
        x, y = rng.uniform(0, WIDTH, params.ghosts), rng.uniform(100, HEIGHT - 60, params.ghosts)
        self.ghosts = np.stack([x - widths / 2, y - heights, x + widths / 2, y], axis=1)
        self.ghost_chance = rng.uniform(0.05, 0.8, params.ghosts)
        self.ghost_seen = np.zeros(params.ghosts, bool)

    def see(self, seen: Seen, camera: float) -> Detections:
        """What it makes of a frame."""
        found = [*self._people(seen), *self._ghosts(camera), *self._passing()]
        corners = np.asarray([b for b, _ in found]).reshape(-1, 4)
        scores = np.clip([s for _, s in found], 0.05, 0.999)
        kept = _suppressed(corners, scores)
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)[kept].astype(np.float32)
        strength = scores[kept].astype(np.float32)
        return Detections(boxes, strength, strength[:, None])

    def _people(self, seen: Seen) -> Iterator[tuple[Floats, float]]:
        rng, params = self.rng, self.params
        for number, box, visible in zip(seen.ids, seen.corners, seen.visible, strict=True):
            size = np.tile(box[2:] - box[:2], 2)
            chance = params.miss + 1.8 * max(0.0, 0.5 - visible) + (0.3 if size[1] < 80 else 0)
            if rng.random() >= STAYS_MISSED:
                self.missed[number] = rng.random() < min(chance, 0.97)
            if self.missed[number]:
                continue
            self.drift[number] = 0.7 * self.drift[number] + 0.71 * rng.normal(0, params.jitter, 4)
            score = rng.beta(6, 1.2) * (0.6 + 0.4 * visible)
            yield box + self.drift[number] * size, score
            if rng.random() < 0.02:
                yield box + rng.normal(0, 0.15, 4) * size, score * rng.uniform(0.5, 0.9)

    def _ghosts(self, camera: float) -> Iterator[tuple[Floats, float]]:
        for number, box in enumerate(self.ghosts):
            if self.rng.random() >= STAYS_SEEN:
                self.ghost_seen[number] = self.rng.random() < self.ghost_chance[number]
            if self.ghost_seen[number]:
                size = np.tile(box[2:] - box[:2], 2)
                moved = np.asarray([camera, 0, camera, 0])
                yield box + moved + self.rng.normal(0, self.params.jitter, 4) * size, self.rng.beta(4, 1.5)

    def _passing(self) -> Iterator[tuple[Floats, float]]:
        """False boxes that are seen once."""
        for _ in range(self.rng.poisson(0.2)):
            height, x, y = self.rng.uniform(40, 200), self.rng.uniform(0, WIDTH), self.rng.uniform(100, HEIGHT)
            yield np.asarray([x - 0.2 * height, y - height, x + 0.2 * height, y]), self.rng.beta(3, 2)


def _suppressed(corners: Floats, scores: Floats) -> NDArray[np.intp]:
    """Rows that remain when weaker boxes over better ones are dropped."""
    overlap, kept = iou_matrix(corners, corners), list[int]()
    for row in np.argsort(-scores, kind="stable").tolist():
        if scores[row] > LEAST_SCORE and all(overlap[row, other] < NMS for other in kept):
            kept.append(row)
    return np.asarray(sorted(kept), np.intp)


def crowd(seed: int, params: CrowdParams | None = None) -> Crowd:
    """A scene of parameters drawn by the seed, or of given ones."""
    params, rng = params or CrowdParams.drawn(seed), np.random.default_rng(seed)
    frames = int(params.fps * params.seconds)
    people = [_Person(rng, params) for _ in range(params.people)]
    camera, detector = _camera(rng, params, frames), _Detector(rng, params)
    pillars = _pillars(seed, params.pillars)
    truth, detections = [], []
    for frame in range(frames):
        boxes = {n: p.box(frame / params.fps, camera[frame]) for n, p in enumerate(people)}
        present = {n: box for n, box in boxes.items() if box is not None}
        corners = np.asarray(list(present.values())).reshape(-1, 4)
        moved = np.asarray([camera[frame], 0, camera[frame], 0])
        seen = Seen(list(present), corners, _visible(corners, pillars + moved))
        truth.append(seen)
        detections.append(detector.see(seen, camera[frame]))
    return Crowd(params.fps, truth, detections)
