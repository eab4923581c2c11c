"""What light does within a shot, and is no boundary: lightning, leaks of light on film, an exposure that adapts, the lamps of a club; film that flickers; and a join, the flood of light that hides a cut.

What happens within a shot takes its frames, uint8 (144, 256, 3), and gives as many. What lenses do, and what passes before them, is in `lens`.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from benchmarks.truth.episodes import Episode, Rng, cut, places
from benchmarks.truth.single_shots import SIZE, Image


def lightning(frames: list[Image], rng: Rng) -> list[Image]:
    """Bolts of two to four strokes, each brighter at once and fading over a few frames."""
    light = np.zeros(len(frames))
    for begin in places(len(frames), 25, rng):
        for stroke in range(int(rng.integers(2, 5))):
            at = begin + stroke * int(rng.integers(1, 5))
            glow = rng.uniform(60, 180) * rng.uniform(0.3, 0.8) ** np.arange(12)
            end = min(len(frames), at + len(glow))
            light[at:end] = np.maximum(light[at:end], glow[: max(0, end - at)])
    return [_levels(f, 1 + b / 150, b) if b > 1 else f for f, b in zip(frames, light, strict=True)]


def leaks(frames: list[Image], rng: Rng) -> list[Image]:
    """Light on the film, orange and soft, that grows from an edge over most of the picture and goes again within 8 to 24 frames."""
    frames = list(frames)
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    for begin in places(len(frames), 45, rng):
        length = int(rng.integers(8, 25))
        angle, wander = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.05, 2)
        colour = np.array([rng.uniform(20, 120), rng.uniform(90, 200), 255.0])
        for k in range(begin, min(begin + length, len(frames))):
            strength = np.sin(np.pi * (k - begin + 1) / (length + 1))
            centre = 1.2 * np.array([np.cos(angle), np.sin(angle)]) * (1.3 - strength) + wander * (k - begin)
            away = np.hypot(x - centre[0], y - centre[1])
            mask = (np.clip(1.6 * strength - away * 0.8, 0, 1) ** 0.7)[..., None]
            frames[k] = np.clip(frames[k] + mask * colour, 0, 255).astype(np.uint8)
    return frames


def exposure(frames: list[Image], rng: Rng) -> list[Image]:
    """A camera that has just looked into the dark, or into a window: far too bright, or dark, and right again within 6 to 16 frames."""
    stops = np.zeros(len(frames))
    for begin in places(len(frames), 40, rng):
        jump, length = rng.choice([-2.2, 1.8]), int(rng.integers(6, 17))
        end = min(len(frames), begin + length)
        stops[begin:end] = (jump * np.linspace(1, 0, length))[: end - begin]
    return [_levels(f, 2.0**s, 0) if s else f for f, s in zip(frames, stops, strict=True)]


def club_lights(frames: list[Image], rng: Rng) -> list[Image]:
    """Coloured lamps, a spot that is somewhere else and another colour over all of it every 3 to 12 frames."""
    period, shown = int(rng.integers(3, 13)), []
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    gain, spot, beam = np.ones(3), np.zeros(3), np.zeros((height, width, 1))
    for k, image in enumerate(frames):
        if k % period == 0:
            gain, spot = rng.uniform(0.1, 1.4, 3), rng.uniform(0, 255, 3)
            centre, reach = rng.uniform(-1, 1, 2), rng.uniform(0.3, 0.9)
            beam = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / reach**2)[..., None]
        shown.append(np.clip(image * gain * (0.35 + 0.9 * beam) + spot * 0.25 * beam, 0, 255).astype(np.uint8))
    return shown


def flooded(episode: Episode, shot: list[Image], rng: Rng) -> None:
    """Warm light grows from one side until it floods the picture, and the next shot comes out of it: 8 to 18 frames."""
    half = int(rng.integers(4, 10))
    if min(len(episode.frames), len(shot)) < half:
        cut(episode, shot, rng)
        return
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    angle, colour = rng.uniform(0, 2 * np.pi), np.array([rng.uniform(40, 150), rng.uniform(120, 220), 255.0])

    def lit(image: Image, share: float) -> Image:
        centre = 1.2 * np.array([np.cos(angle), np.sin(angle)]) * (1.3 - share)
        mask = np.clip(2.4 * share - np.hypot(x - centre[0], y - centre[1]) * 0.8, 0, 1) ** 0.7
        return np.clip(image + mask[..., None] * colour, 0, 255).astype(np.uint8)

    start = len(episode.frames) - half
    for k in range(half):
        episode.frames[start + k] = lit(episode.frames[start + k], (k + 1) / half)
    arriving = [lit(shot[k], 1 - k / half) for k in range(half)]
    episode.gradual.append((start, start + 2 * half))
    episode.frames += [*arriving, *shot[half:]]


def flickering(episode: Episode, rng: Rng) -> Episode:
    """Old film: gain, gamma and place of each frame differ a little, and scratches and dust come and go."""
    frames = []
    for image in episode.frames:
        gain, exponent = rng.normal(1, 0.12), float(np.exp(rng.normal(0, 0.18)))
        curve = np.clip(255 * gain * (np.arange(256) / 255) ** exponent, 0, 255).astype(np.uint8)
        aged = cv2.LUT(image, curve)
        move = np.array([[1, 0, rng.normal(0, 0.8)], [0, 1, rng.normal(0, 1.2)]])
        aged = cv2.warpAffine(aged, move, SIZE, borderMode=cv2.BORDER_REFLECT)
        for _ in range(int(rng.integers(0, 4))):
            x, y = int(rng.integers(SIZE[0])), int(rng.integers(SIZE[1]))
            tone = int(rng.choice([10, 240]))
            if rng.random() < 0.3:
                cv2.line(aged, (x, 0), (x + int(rng.integers(-3, 4)), SIZE[1]), (tone,) * 3, 1)
            else:
                cv2.circle(aged, (x, y), int(rng.integers(1, 5)), (tone,) * 3, -1)
        frames.append(aged)
    return replace(episode, frames=frames)


def _levels(image: Image, gain: float, offset: float) -> Image:
    return np.clip(image.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)
