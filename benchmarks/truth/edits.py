"""What editors do today: joins with a moving camera, black frames and frozen pictures at cuts, and, within a shot, zooms, inset pictures and changes of speed.

A join takes what was assembled so far and the next shot; what happens within a shot takes its frames. Frames are uint8 (144, 256, 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np

from benchmarks.truth.episodes import Episode, Join, Rng, cut, places
from benchmarks.truth.single_shots import SIZE, Image, cover

# Joins


def darkened(count: int) -> Join:
    """A cut whose new shot begins with black frames."""

    def join(episode: Episode, shot: list[Image], rng: Rng) -> None:
        episode.tolerance = count + 1
        cut(episode, [np.full_like(shot[0], 3)] * count + shot[count:], rng)

    return join


def held(episode: Episode, shot: list[Image], rng: Rng) -> None:
    """A cut after the old shot's last picture stood still for 6 to 20 frames."""
    episode.frames += [episode.frames[-1]] * int(rng.integers(6, 21))
    cut(episode, shot, rng)


def whipped(episode: Episode, shot: list[Image], rng: Rng) -> None:
    """The camera is thrown aside and comes to rest on the next shot: 6 to 14 frames, blurred by the motion."""
    _moving(episode, shot, rng, _panned)


def zoomed(episode: Episode, shot: list[Image], rng: Rng) -> None:
    """The picture rushes towards the viewer and the next shot comes out of it: 6 to 14 frames, blurred."""
    _moving(episode, shot, rng, _enlarged)


def _moving(episode: Episode, shot: list[Image], rng: Rng, view: Callable[[Image, float, int, int], Image]) -> None:
    half = min(int(rng.integers(3, 8)), len(shot) // 2, len(episode.frames) // 2)
    sign = int(rng.choice([-1, 1]))
    start = len(episode.frames) - half
    for k in range(half):
        share = ((k + 1) / half) ** 2
        episode.frames[start + k] = view(episode.frames[start + k], share, sign, half)
    arriving = [view(f, -(((half - k) / half) ** 2), sign, half) for k, f in enumerate(shot[:half])]
    episode.gradual.append((start, start + 2 * half))
    episode.frames += [*arriving, *shot[half:]]


def _panned(image: Image, share: float, sign: int, half: int) -> Image:
    """Moved aside by `share` of 1.5 times its width, -1 to 1, and blurred by the way of a frame."""
    width = SIZE[0]
    wide = np.concatenate([image, image[:, ::-1]], axis=1)
    view = np.roll(wide, -round(1.5 * sign * share * width), axis=1)[:, :width]
    reach = int(2 * abs(share) ** 0.5 * 1.5 * width / half) | 1
    return np.ascontiguousarray(cv2.blur(view, (reach, 1), borderType=cv2.BORDER_REFLECT_101))


def _enlarged(image: Image, share: float, sign: int, half: int) -> Image:
    """Enlarged up to fourfold, and blurred from the middle outward."""
    width, height = SIZE
    total = np.zeros(image.shape, np.float32)
    for step in range(6):
        factor = 4.0 ** (abs(share) * (0.85 + 0.03 * step))
        move = cv2.getRotationMatrix2D((width / 2, height / 2), 0, factor)
        total += cv2.warpAffine(image, move, SIZE, borderMode=cv2.BORDER_REFLECT)
    return (total / 6).astype(np.uint8)


# Within a shot


def crash_zooms(frames: list[Image], rng: Rng) -> list[Image]:
    """The lens zooms in by half or twofold within 3 to 8 frames, and out again after a while."""
    target, factor, result = 1.0, 1.0, []
    begins = set(places(len(frames), 24, rng))
    pace = 1.0
    for k, image in enumerate(frames):
        if k in begins:
            target = 1.0 if target > 1 else float(rng.uniform(1.5, 2.2))
            pace = (target / factor) ** (1 / int(rng.integers(3, 9)))
        factor = min(factor * pace, target) if pace > 1 else max(factor * pace, target)
        move = cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), 0, factor)
        result.append(cv2.warpAffine(image, move, SIZE) if factor > 1 else image)
    return result


def insets(frames: list[Image], rng: Rng) -> list[Image]:
    """A smaller moving picture in a corner, at a quarter to two fifths of the sides, that comes and goes at once or grows."""
    frames = list(frames)
    for begin in places(len(frames), 35, rng):
        end = min(len(frames), begin + int(rng.integers(15, 30)))
        share, grows = rng.uniform(0.25, 0.4), bool(rng.integers(2))
        right, low = bool(rng.integers(2)), bool(rng.integers(2))
        for k in range(begin, end):
            grown = min(1.0, (k - begin + 1) / 6, (end - k) / 6) if grows else 1.0
            w, h = max(4, round(SIZE[0] * share * grown)), max(4, round(SIZE[1] * share * grown))
            inner = cover(frames[(3 * k) % len(frames)][:, ::-1], (w, h))
            x, y = (SIZE[0] - w - 6 if right else 6), (SIZE[1] - h - 6 if low else 6)
            frames[k] = frames[k].copy()
            frames[k][y - 2 : y + h + 2, x - 2 : x + w + 2] = 235
            frames[k][y : y + h, x : x + w] = inner
    return frames


def ramped(frames: list[Image], rng: Rng) -> list[Image]:
    """Time that runs up to six times as fast for a while, and half as fast after, each picture shown twice."""
    result, place, k = [], 0.0, 0
    fast = float(rng.uniform(3, 6))
    while place < len(frames) - 1:
        result.append(frames[int(place)])
        phase = (k % 40) / 40
        place += fast if 0.25 < phase < 0.5 else 0.5 if phase > 0.75 else 1.0
        k += 1
    return result


# Of whole episodes


def combed(episode: Episode, rng: Rng) -> Episode:
    """Interlaced footage shown as it is: the lines of each frame are of two moments, and at a cut of two shots."""
    odd = int(rng.integers(2))
    frames = [_woven(a, b, odd) for a, b in itertools.pairwise(episode.frames)]
    return replace(episode, frames=frames)


def pulled_down(episode: Episode, rng: Rng) -> Episode:
    """24 pictures a second in 30 interlaced ones: of five frames two are woven from neighbours."""
    count = len(episode.frames)
    frames = []
    for k in range(5 * (count // 4)):
        first, second = ((0, 0), (1, 1), (1, 2), (2, 3), (3, 3))[k % 5]
        frames.append(_woven(episode.frames[4 * (k // 5) + first], episode.frames[4 * (k // 5) + second], 1))
    cuts = [int(np.ceil(c * 1.25 - 1e-9)) for c in episode.cuts]
    gradual = [(int(a * 1.25), min(int(b * 1.25) + 1, len(frames))) for a, b in episode.gradual]
    cuts = [c for c in cuts if c < len(frames)]
    return replace(episode, frames=frames, cuts=cuts, gradual=gradual, fps=Fraction(30), tolerance=2)


def _woven(image: Image, other: Image, odd: int) -> Image:
    """One image whose even or odd lines are of another."""
    result = image.copy()
    result[odd::2] = other[odd::2]
    return result


def drawn(episode: Episode, rng: Rng) -> Episode:
    """Animation: flat colours with dark outlines, each picture shown two or three times at 24 frames a second."""
    source: list[int] = []
    while len(source) < len(episode.frames):
        source += [len(source)] * int(rng.choice([2, 2, 3]))
    pictures = {k: _drawing(episode.frames[k]) for k in set(source)}
    cuts = [next(i for i, k in enumerate(source) if k >= c) for c in episode.cuts if c <= source[-1]]
    return replace(episode, frames=[pictures[k] for k in source], cuts=cuts, fps=Fraction(24))


def _drawing(image: Image) -> Image:
    flat = cv2.bilateralFilter(image, 9, 60, 9) // 32 * 32 + 16
    grey = cv2.cvtColor(cv2.medianBlur(image, 5), cv2.COLOR_BGR2GRAY)
    flat[cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 5) == 0] = 20
    return flat
