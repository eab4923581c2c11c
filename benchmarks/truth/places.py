"""Clips of one place at two times, and others that share what surrounds them: composed, so that it is known that what happens differs.

What belongs here: one room, car, pitch, intro or moving backdrop with other things in it. What does not: what stands still around other footage (`lookalikes`), copies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import cv2
import numpy as np

from benchmarks.copies import Footage, Luma
from benchmarks.truth.lookalikes import FPS, GROUP, HEIGHT, SECONDS, WIDTH, covering, filmed, part_in_time
from curation_assets.demo.drawing import pan

FRAMES: Final = SECONDS * FPS
Path = Callable[[float], tuple[float, float]]


def _times(count: int) -> np.ndarray:
    return np.arange(count) * 1000.0 / FPS


def _paths(rng: np.random.Generator, count: int, low: float, high: float) -> list[Path]:
    """Ways through the picture between these shares of its height: straight, with a sway."""

    def way() -> Path:
        x0, x1, y0, y1 = (*rng.uniform(0.05, 0.95, 2), *rng.uniform(low, high, 2))
        sway, phase = rng.uniform(0.5, 2.0), rng.uniform(0, 6)
        return lambda t: (x0 + (x1 - x0) * t, y0 + (y1 - y0) * t + 0.02 * float(np.sin(6 * sway * t + phase)))

    return [way() for _ in range(count)]


def _walkers(
    place: Callable[[int], Luma], ways: Sequence[Path], size: tuple[float, float], tones: Sequence[int]
) -> Footage:
    """Upright figures (a body and a head) of this size, shares of the frame's sides, that go their ways before a place."""
    wide, high = size[0] * WIDTH, size[1] * HEIGHT
    pictures = []
    for number in range(FRAMES):
        frame = place(number).copy()
        for way, tone in zip(ways, tones, strict=True):
            x, y = way(number / FRAMES)
            at = (round(x * WIDTH), round(y * HEIGHT))
            axes = (max(1, round(wide / 2)), max(1, round(high / 2)))
            cv2.ellipse(frame, at, axes, 0, 0, 360, (tone,), -1, cv2.LINE_AA)
            cv2.circle(
                frame, (at[0], round(at[1] - high / 2)), max(1, round(wide / 3)), (255 - tone // 2,), -1, cv2.LINE_AA
            )
        pictures.append(frame)
    return Footage(pictures, _times(FRAMES))


def _noisy(picture: Luma, seed: int) -> Callable[[int], Luma]:
    """A place as a camera at rest sees it: the same picture with other noise in each frame."""
    rng = np.random.default_rng(seed)
    return lambda number: np.asarray(np.clip(picture + rng.normal(0, 2.0, picture.shape), 0, 255), np.uint8)


def room(shots: Sequence[Footage], size: tuple[float, float], walkers: int) -> list[Footage]:
    """What a fixed camera sees of one room at six times: others walk through it."""
    picture = covering(shots[0].pictures[0], WIDTH, HEIGHT)
    clips = []
    for seed in range(GROUP):
        rng = np.random.default_rng(1000 * len(shots[0].pictures) + seed)
        tones = rng.choice([25, 60, 200, 230], walkers).tolist()
        clips.append(_walkers(_noisy(picture, seed), _paths(rng, walkers, 0.45, 0.8), size, tones))
    return clips


def dashcam(shots: Sequence[Footage]) -> list[Footage]:
    """The bonnet and the edge of one windscreen (a third of the frame, dark), other roads."""
    inside = covering(shots[0].pictures[0], WIDTH, HEIGHT) // 4
    mask = np.ones((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(mask, (WIDTH // 2, HEIGHT), (WIDTH * 6 // 10, HEIGHT * 3 // 10), 0, 0, 360, (0,), -1)
    cv2.rectangle(mask, (0, 0), (WIDTH, HEIGHT // 12), (0,), -1)
    clips = []
    for shot in shots[1 : GROUP + 1]:
        road = [covering(p, WIDTH, HEIGHT) for p in part_in_time(shot, 0)]
        clips.append(Footage([np.where(mask > 0, p, inside) for p in road], _times(len(road))))
    return clips


def pitch(shots: Sequence[Footage]) -> list[Footage]:
    """A camera that pans over one pitch in one way, with other players: eleven small figures (a tenth of the height)."""
    picture = covering(shots[0].pictures[0], WIDTH * 2, HEIGHT * 2)
    field = np.asarray(110 + 0.15 * (picture.astype(np.float64) - 110), np.uint8)
    for x in range(0, 2 * WIDTH, 80):
        field[:, x : x + 40] += 14
    cv2.line(field, (WIDTH, 0), (WIDTH, 2 * HEIGHT), (230,), 3)
    cv2.circle(field, (WIDTH, HEIGHT), 70, (230,), 3)
    camera = pan(field, (0.35, 0.5, 1.6), (0.65, 0.5, 1.6), (WIDTH, HEIGHT))
    clips = []
    for seed in range(GROUP):
        rng = np.random.default_rng(seed + 7 * len(shots[0].pictures))
        tones = rng.choice([20, 245], 11).tolist()
        ground = lambda number: np.asarray(camera(number / FRAMES), np.uint8)  # noqa: E731
        clips.append(_walkers(ground, _paths(rng, 11, 0.15, 0.9), (0.02, 0.1), tones))
    return clips


def backdrop(shots: Sequence[Footage]) -> list[Footage]:
    """Six speakers (17 % of the frame) before one backdrop that moves itself: a loop that everybody can buy."""
    behind = [covering(p, WIDTH, HEIGHT) for p in part_in_time(shots[0], 0)]
    return [
        filmed(lambda n: behind[n], part_in_time(s, 0), (0.33, 0.3, 0.34, 0.5), soft=True) for s in shots[1 : GROUP + 1]
    ]


def intro(shots: Sequence[Footage], seconds: float) -> list[Footage]:
    """One opening of so many seconds, other footage after it: four seconds in all."""
    first = [covering(p, WIDTH, HEIGHT) for p in part_in_time(shots[0], 0)][: round(seconds * FPS)]
    clips = []
    for shot in shots[1 : GROUP + 1]:
        rest = [covering(p, WIDTH, HEIGHT) for p in part_in_time(shot, 0)][: FRAMES - len(first)]
        clips.append(Footage([*first, *rest], _times(FRAMES)))
    return clips


def reaction(shots: Sequence[Footage]) -> list[Footage]:
    """One person who watches other clips: the person keeps a third of the frame, the clips play beside in two thirds."""
    who = [covering(p, WIDTH, HEIGHT) for p in part_in_time(shots[0], 0)]
    return [
        filmed(lambda n: who[n], part_in_time(s, 0), (0.34, 0.16, 0.64, 0.66), soft=False) for s in shots[1 : GROUP + 1]
    ]


KINDS: Final[Mapping[str, Callable[[Sequence[Footage]], list[Footage]]]] = {
    "one room, one large walker": partial(room, size=(0.09, 0.4), walkers=1),
    "one room, two walkers": partial(room, size=(0.05, 0.22), walkers=2),
    "one room, a small walker": partial(room, size=(0.03, 0.12), walkers=1),
    "roads from one car": dashcam,
    "players on one pitch": pitch,
    "speakers before a moving backdrop": backdrop,
    "an intro of 1.5 s": partial(intro, seconds=1.5),
    "an intro of 2 s": partial(intro, seconds=2.0),
    "one who watches other clips": reaction,
}
"""Each makes a group of clips of shots in random order: the first is the place, the others are what happens."""
