"""What the camera does within a shot, and what comes between it and what it films: focus, tilts, hands, a shutter that stays shut. None of it is a boundary.

Each takes the frames of a shot, uint8 (144, 256, 3), and gives as many; and one join, where what passes hides a cut.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.truth import episodes as ep
from benchmarks.truth.episodes import Episode, Rng, places
from benchmarks.truth.single_shots import SIZE, Image, cover

COLOURS = ((60, 80, 130), (90, 120, 190), (30, 30, 34), (120, 110, 105), (20, 40, 90))
"""Blue, green, red of what passes: hands, sleeves, backs."""


def focus_pulls(frames: list[Image], rng: Rng) -> list[Image]:
    """The picture goes out of focus and back within 8 to 35 frames."""
    frames = list(frames)
    for begin in places(len(frames), 40, rng):
        length, most, held = int(rng.integers(8, 25)), rng.uniform(3, 12), int(rng.integers(0, 10))
        out, back = np.linspace(0, 1, length // 2), np.linspace(1, 0, length - length // 2)
        for k, blur in enumerate(most * np.concatenate([out, np.ones(held), back]), begin):
            if k < len(frames) and blur > 0.3:
                frames[k] = cv2.GaussianBlur(frames[k], (0, 0), float(blur))
    return frames


def tilts(frames: list[Image], rng: Rng) -> list[Image]:
    """Fast pans upward and downward, blurred by the motion."""
    turned = ep.whip([_turned(f, 1) for f in frames], rng)
    return [_turned(f, -1) for f in turned]


def _turned(image: Image, quarters: int) -> Image:
    return cv2.resize(np.ascontiguousarray(np.rot90(image, quarters)), SIZE)


def blinks(frames: list[Image], rng: Rng) -> list[Image]:
    """One to four black frames, after which the shot goes on."""
    frames = list(frames)
    for begin in places(len(frames), 20, rng):
        for k in range(begin, min(len(frames), begin + int(rng.integers(1, 5)))):
            frames[k] = np.full_like(frames[k], 3)
    return frames


def hands(frames: list[Image], rng: Rng) -> list[Image]:
    """Something dark and soft passes so near that it fills the picture, within 6 to 21 frames."""
    frames = list(frames)
    for begin in places(len(frames), 35, rng):
        thing = _thing(rng)
        for k, place in enumerate(_way(int(rng.integers(6, 22)), rng), begin):
            if k < len(frames):
                frames[k] = _before(frames[k], *thing, place)
    return frames


def covered(episode: Episode, shot: list[Image], rng: Rng) -> None:
    """Something passes so near that it fills the picture, and when it is gone the next shot shows: 8 to 21 frames."""
    length = min(int(rng.integers(8, 22)), len(shot), len(episode.frames))
    half, thing, way = length // 2, _thing(rng), list(_way(length, rng))
    start = len(episode.frames) - half
    for k in range(half):
        episode.frames[start + k] = _before(episode.frames[start + k], *thing, way[k])
    arriving = [_before(shot[k], *thing, way[half + k]) for k in range(length - half)]
    episode.gradual.append((start, start + length))
    episode.frames += [*arriving, *shot[length - half :]]


def _thing(rng: Rng) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How much of what is behind it hides, and how it looks; both twice as wide and high as the picture."""
    width, height = SIZE
    colour = np.array(COLOURS[int(rng.integers(len(COLOURS)))], np.float32)
    mask = np.zeros((2 * height, 2 * width), np.float32)
    middle = np.array(SIZE)
    cv2.ellipse(mask, SIZE, (int(0.8 * width), int(0.9 * height)), float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    for angle in rng.uniform(0, 2 * np.pi, 4):
        x, y = (middle * (1 + 0.8 * np.array([np.cos(angle), np.sin(angle)]))).astype(int).tolist()
        cv2.ellipse(mask, (x, y), (int(0.4 * width), int(0.16 * height)), float(np.degrees(angle)), 0, 360, 1.0, -1)
    folds = cv2.resize(
        rng.normal(0, 14, (9, 16)).astype(np.float32), (2 * width, 2 * height), interpolation=cv2.INTER_CUBIC
    )
    return cv2.GaussianBlur(mask, (0, 0), 6), np.clip(colour + folds[..., None], 0, 255)


def _way(length: int, rng: Rng) -> Iterator[tuple[float, float]]:
    """Where it is at each frame, pixels to the right and below: from outside across the middle and out."""
    angle, reach = rng.uniform(0, 2 * np.pi), 1.3 * float(np.hypot(*SIZE))
    for along in np.linspace(-reach, reach, length):
        yield np.cos(angle) * along - SIZE[0] / 2, np.sin(angle) * along - SIZE[1] / 2


def _before(image: Image, mask: NDArray[np.float32], look: NDArray[np.float32], place: tuple[float, float]) -> Image:
    move = np.array([[1, 0, place[0]], [0, 1, place[1]]])
    hidden = cv2.warpAffine(mask, move, SIZE)[..., None]
    shown = cv2.warpAffine(look, move, SIZE, borderMode=cv2.BORDER_REFLECT)
    return (image * (1 - hidden) + shown * hidden).astype(np.uint8)


def watched(frames: list[Image], rng: Rng) -> list[Image]:
    """A fixed camera over plain ground of the shot's colour, whose exposure follows what crosses it: pieces of the shot, within 15 to 44 frames."""
    width, height = SIZE
    shape = cv2.resize(rng.normal(0, 3, (18, 32, 3)).astype(np.float32), SIZE, interpolation=cv2.INTER_CUBIC)
    ground = np.median(frames[0].reshape(-1, 3), axis=0) + shape + rng.normal(0, 2, (height, width, 1))
    views = [ground + rng.normal(0, 1, (height, width, 1)) for _ in frames]
    for begin in places(len(frames), 30, rng):
        size = np.array([rng.uniform(0.15, 0.6) * width, rng.uniform(0.2, 0.8) * height]).astype(int)
        x, y = (int(rng.integers(side // 2)) for side in SIZE)
        piece = cover(frames[int(rng.integers(len(frames)))][y:, x:], (int(size[0]), int(size[1])))
        look = piece.astype(np.float32) * rng.uniform(0.4, 1.8)
        whole = np.ones(look.shape[:2], np.float32)
        way, reach = rng.uniform(0, 2 * np.pi), (SIZE + size) / 2
        for k, along in enumerate(np.linspace(-1, 1, int(rng.integers(15, 45))), begin):
            if k < len(views):
                place = (SIZE - size) / 2 + np.array([np.cos(way), np.sin(way)]) * reach * along * 1.4
                move = np.array([[1, 0, place[0]], [0, 1, place[1]]])
                hidden = cv2.warpAffine(whole, move, SIZE)[..., None]
                views[k] = views[k] * (1 - hidden) + cv2.warpAffine(look, move, SIZE) * hidden
    gain, aim, shown = 1.0, float(views[0].mean()), []
    for view in views:
        gain += rng.uniform(0.1, 0.3) * (np.clip(aim / max(float(view.mean()), 1.0), 0.4, 2.5) - gain)
        shown.append(np.clip(view * gain, 0, 255).astype(np.uint8))
    return shown
