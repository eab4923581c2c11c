"""Episodes with known transitions: shots joined in one of many ways, then changed as a whole in another.

A join takes what was assembled so far and the next shot; a change takes every frame of the episode. Frames are uint8 (144, 256, 3).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.shots import Labels
from benchmarks.truth.single_shots import SIZE, Image, Shot, cover
from curation_resources.x264 import repeatable

Rng = np.random.Generator


@dataclass
class Episode:
    """Frames with known transitions.

    Attributes:
        frames: each uint8 (144, 256, 3).
        cuts: first frames of new shots after hard cuts.
        gradual: [first, end) of other transitions.
        fps: frame rate.
        tolerance: frames by which a cut may be told wrongly.
        crf: quality of its coding with H.264.
    """

    frames: list[Image] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    gradual: list[tuple[int, int]] = field(default_factory=list)
    fps: Fraction = Fraction(25)
    tolerance: int = 1
    crf: int = 21

    @property
    def labels(self) -> Labels:
        """As `benchmarks.shots.judge` takes them."""
        return Labels(list(self.cuts), list(self.gradual), [], self.tolerance)

    def write(self, path: Path) -> None:
        """Encodes the frames with H.264."""
        with av.open(path, "w") as output:
            options = {"crf": str(self.crf), "preset": "veryfast", "g": "120", "threads": "1"} | repeatable()
            stream = output.add_stream("libx264", rate=self.fps, options=options)
            stream.width, stream.height, stream.pix_fmt = SIZE[0], SIZE[1], "yuv420p"
            for image in self.frames:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            output.mux(stream.encode())


Join = Callable[[Episode, list[Image], Rng], None]
Change = Callable[[Episode, Rng], Episode]


def assemble(shots: Sequence[list[Image]], join: Join, rng: Rng) -> Episode:
    """The shots one after another."""
    episode = Episode(list(shots[0]))
    for shot in shots[1:]:
        join(episode, shot, rng)
    return episode


def spans(shots: Sequence[Shot], least: int, most: int, rng: Rng) -> list[list[Image]]:
    """Of each shot a span of `least` to `most` frames, where it has so many."""
    result = []
    for shot in shots:
        length = min(int(rng.integers(least, most + 1)), len(shot.frames))
        first = int(rng.integers(0, len(shot.frames) - length + 1))
        result.append(list(shot.frames[first : first + length]))
    return result


# Joins


def cut(episode: Episode, shot: list[Image], rng: Rng) -> None:
    """One shot ends, the next begins."""
    episode.cuts.append(len(episode.frames))
    episode.frames += shot


def flashed(count: int) -> Join:
    """A cut whose new shot begins with white frames."""

    def join(episode: Episode, shot: list[Image], rng: Rng) -> None:
        episode.tolerance = count + 1
        cut(episode, [np.full_like(shot[0], 250)] * count + shot[count:], rng)

    return join


def mixed(episode: Episode, shot: list[Image], rng: Rng) -> None:
    """A cut with one frame that shows both shots, as a conversion of rates leaves it."""
    share = rng.uniform(0.3, 0.7)
    shot = [cv2.addWeighted(episode.frames[-1], 1 - share, shot[0], share, 0), *shot[1:]]
    cut(episode, shot, rng)


def _overlapping(least: int, most: int, mix: Callable[[Image, Image, float], Image]) -> Join:
    """A transition of so many frames, in which `mix` shows a share of the new shot, 0 to 1."""

    def join(episode: Episode, shot: list[Image], rng: Rng) -> None:
        length = min(int(rng.integers(least, most + 1)), len(shot) - 2, len(episode.frames) - 2)
        start = len(episode.frames) - length
        for k in range(length):
            episode.frames[start + k] = mix(episode.frames[start + k], shot[k], (k + 1) / (length + 1))
        episode.gradual.append((start, start + length))
        episode.frames += shot[length:]

    return join


def dissolve(least: int, most: int) -> Join:
    """One shot turns into the next."""
    return _overlapping(least, most, lambda a, b, share: cv2.addWeighted(a, 1 - share, b, share, 0))


def wipe(least: int, most: int) -> Join:
    """A straight or round edge, sharp or soft, passes over the picture."""

    def join(episode: Episode, shot: list[Image], rng: Rng) -> None:
        order = _wipe_order(rng)
        soft = float(rng.choice([0.004, 0.05, 0.2]))

        def mix(a: Image, b: Image, share: float) -> Image:
            mask = np.clip((share * (1 + soft) - order) / soft, 0, 1).astype(np.float32)[..., None]
            return (a * (1 - mask) + b * mask).astype(np.uint8)

        _overlapping(least, most, mix)(episode, shot, rng)

    return join


def _wipe_order(rng: Rng) -> np.ndarray:
    """When each pixel changes, 0 to 1: (144, 256)."""
    width, height = SIZE
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    shape = rng.choice(["line", "line", "line", "circle", "doors", "clock"])
    angle = rng.choice([0, 0.5, 1, 1.5, rng.uniform(0, 2)]) * np.pi
    if shape == "line":
        order = x * np.cos(angle) + y * np.sin(angle)
    elif shape == "circle":
        order = np.hypot(x, y) * rng.choice([-1, 1])
    elif shape == "doors":
        order = np.abs(x * np.cos(angle) + y * np.sin(angle))
    else:
        order = np.arctan2(y, x)
    return (order - order.min()) / np.ptp(order)


def slide(least: int, most: int) -> Join:
    """The new shot pushes the old one out, or slides over it, or the old one is drawn away from it."""

    def join(episode: Episode, shot: list[Image], rng: Rng) -> None:
        axis, back, way = int(rng.integers(2)), bool(rng.integers(2)), int(rng.integers(3))
        eased = bool(rng.integers(2))
        extent = SIZE[1 - axis]

        def mix(a: Image, b: Image, share: float) -> Image:
            share = share * share * (3 - 2 * share) if eased else share
            shift = round(share * extent)
            if back:
                a, b = np.flip(a, axis), np.flip(b, axis)
            old = a if way == 1 else np.roll(a, -shift, axis)
            new = b if way == 2 else np.roll(b, extent - shift, axis)
            inside = np.arange(extent) >= extent - shift
            image = np.where(inside[:, None, None] if axis == 0 else inside[None, :, None], new, old)
            return np.ascontiguousarray(np.flip(image, axis) if back else image)

        _overlapping(least, most, mix)(episode, shot, rng)

    return join


def fade(through: int = 0) -> Join:
    """One shot darkens to `through` (or brightens to it), the next comes out of it."""

    def join(episode: Episode, shot: list[Image], rng: Rng) -> None:
        length = min(int(rng.integers(6, 20)), len(shot) // 2, len(episode.frames) // 2)
        plain = np.full_like(shot[0], through)
        shares = [(k + 1) / (length + 1) for k in range(length)]
        start = len(episode.frames) - length
        for k, share in enumerate(shares):
            episode.frames[start + k] = cv2.addWeighted(episode.frames[start + k], 1 - share, plain, share, 0)
        up = [cv2.addWeighted(plain, 1 - s, image, s, 0) for image, s in zip(shot, shares, strict=False)]
        between = [plain] * int(rng.integers(2, 13))
        episode.gradual.append((start, len(episode.frames) + len(between) + length))
        episode.frames += [*between, *up, *shot[length:]]

    return join


def jumped(shots: Sequence[Shot], rng: Rng) -> Episode:
    """Jump cuts, a second or so out of each take, with hard cuts between the takes."""
    episode = Episode()
    for shot in shots:
        gap = int(rng.integers(20, 36))
        side = (len(shot.frames) - gap) // 2
        if side < 10:
            continue
        first, second = list(shot.frames[:side]), list(shot.frames[side + gap :])
        if episode.frames:
            cut(episode, first, rng)
        else:
            episode.frames = first
        cut(episode, second, rng)
    return episode


# Changes of every frame


def each(function: Callable[[Image], Image]) -> Change:
    """The episode with `function` of each frame."""

    def change(episode: Episode, rng: Rng) -> Episode:
        return replace(episode, frames=[function(f) for f in episode.frames])

    return change


def levels(scale: float, offset: float = 0.0) -> Change:
    """Levels times `scale` plus `offset`."""
    return each(lambda f: np.clip(f.astype(np.float32) * scale + offset, 0, 255).astype(np.uint8))


def gamma(exponent: float) -> Change:
    """Levels, 0 to 1, to the power of `exponent`."""
    curve = np.round(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return each(lambda f: cv2.LUT(f, curve))


def grey(episode: Episode, rng: Rng) -> Episode:
    """Without colour."""
    return each(lambda f: cv2.cvtColor(cv2.cvtColor(f, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR))(episode, rng)


def noise(deviation: float) -> Change:
    """With normal noise of so many levels, new in each frame."""

    def change(episode: Episode, rng: Rng) -> Episode:
        noisy = [f + rng.normal(0, deviation, f.shape).astype(np.float32) for f in episode.frames]
        return replace(episode, frames=[np.clip(f, 0, 255).astype(np.uint8) for f in noisy])

    return change


def coded(crf: int) -> Change:
    """Coded at another quality."""
    return lambda episode, rng: replace(episode, crf=crf)


def barred(width: float, height: float) -> Change:
    """The middle of the picture, of these shares of its sides, between black bars."""
    return each(lambda f: _framed(f, np.zeros_like(f), width, height))


def _framed(image: Image, ground: Image, width: float, height: float) -> Image:
    w, h = round(SIZE[0] * width), round(SIZE[1] * height)
    x, y = (SIZE[0] - w) // 2, (SIZE[1] - h) // 2
    ground = ground.copy()
    ground[y : y + h, x : x + w] = cover(image, (w, h))
    return ground


def framed(share: float, ground: Image) -> Change:
    """The picture at `share` of its sides before a still one."""
    return each(lambda f: _framed(f, ground, share, share))


def changing_bars(episode: Episode, rng: Rng) -> Episode:
    """Bars at the sides, above and below, or none, from one cut to another."""
    edges = [0, *episode.cuts, len(episode.frames)]
    shapes = [(1.0, 1.0), (0.32, 1.0), (1.0, 0.75), (0.75, 1.0)]
    frames: list[Image] = []
    for number, (first, end) in enumerate(itertools.pairwise(edges)):
        shape = shapes[(number // 3) % len(shapes)]
        frames += [_framed(f, np.zeros_like(f), *shape) for f in episode.frames[first:end]]
    return replace(episode, frames=frames)


# Changes of the frames' order and number


def resampled(ratio: float, fps: Fraction, mix: bool) -> Change:
    """At `ratio` times as many frames, each the nearest earlier one or (`mix`) blended from its two neighbours in time."""

    def change(episode: Episode, rng: Rng) -> Episode:
        frames, count = [], int(len(episode.frames) * ratio)
        for k in range(count):
            place = k / ratio
            before, share = int(place + 1e-9), place % 1
            after = min(before + 1, len(episode.frames) - 1)
            blend = mix and share > 0.01
            a, b = episode.frames[before], episode.frames[after]
            frames.append(cv2.addWeighted(a, 1 - share, b, share, 0) if blend else a)
        at = [int(np.ceil(c * ratio - 1e-9)) for c in episode.cuts]
        gradual = [(int(a * ratio), int(b * ratio) + 1) for a, b in episode.gradual]
        return replace(
            episode, frames=frames, cuts=at, gradual=gradual, fps=fps, tolerance=max(episode.tolerance, 1 + mix)
        )

    return change


def averaged(count: int) -> Change:
    """Each frame the mean of itself and the `count` - 1 before it."""

    def change(episode: Episode, rng: Rng) -> Episode:
        frames = [
            np.mean(episode.frames[max(0, k - count + 1) : k + 1], axis=0).astype(np.uint8)
            for k in range(len(episode.frames))
        ]
        return replace(episode, frames=frames, tolerance=count)

    return change


def chained(*changes: Change) -> Change:
    """One change after another."""

    def change(episode: Episode, rng: Rng) -> Episode:
        for one in changes:
            episode = one(episode, rng)
        return episode

    return change


# What is no transition, within a shot


def flashes(frames: list[Image], rng: Rng) -> list[Image]:
    """Photographers' flashes: one or two frames much brighter."""
    frames = list(frames)
    for k in places(len(frames), 9, rng):
        for i in range(k, min(k + int(rng.integers(1, 3)), len(frames))):
            frames[i] = cv2.addWeighted(frames[i], 0.4, np.full_like(frames[i], 255), float(rng.uniform(0.5, 0.9)), 0)
    return frames


def strobe(frames: list[Image], rng: Rng) -> list[Image]:
    """A light that goes on and off."""
    period = int(rng.integers(2, 7))
    return [cv2.convertScaleAbs(f, alpha=0.25) if k // period % 2 else f for k, f in enumerate(frames)]


def whip(frames: list[Image], rng: Rng) -> list[Image]:
    """Fast pans from one part of the picture to another, blurred by the motion."""
    frames = list(frames)
    width = SIZE[0]
    offset = 0.0
    targets = {k: rng.uniform(0.4, 1.2) * width * rng.choice([-1, 1]) for k in places(len(frames), 25, rng)}
    left, speed, length = 0.0, 0.0, 1
    for k, image in enumerate(frames):
        if k in targets:
            length = int(rng.integers(4, 11))
            left, speed = targets[k], targets[k] / length
        step = speed if abs(left) > 1e-6 else 0.0
        if abs(step) > abs(left):
            step = left
        offset, left = offset + step, left - step
        wide = np.concatenate([image, image[:, ::-1]], axis=1)
        view = np.roll(wide, -round(offset), axis=1)[:, :width]
        reach = int(abs(step) * 0.7) | 1
        frames[k] = np.ascontiguousarray(cv2.blur(view, (reach, 1)) if reach > 2 else view)
    return frames


def smear(frames: list[Image], rng: Rng) -> list[Image]:
    """A decoder that lost a picture: the difference to a stale reference stays until blocks, or a key frame, renew it."""
    frames = list(frames)
    for k in places(len(frames), 40, rng):
        lag = min(k, int(rng.integers(4, 16)))
        ghost = frames[k - lag].astype(np.int16) - frames[k].astype(np.int16)
        alive = rng.random((9, 16)) < rng.uniform(0.3, 1.0)
        for i in range(k, min(k + int(rng.integers(6, 30)), len(frames))):
            mask = cv2.resize(alive.astype(np.uint8), SIZE, interpolation=cv2.INTER_NEAREST)[..., None]
            frames[i] = np.clip(frames[i] + ghost * mask, 0, 255).astype(np.uint8)
            alive &= rng.random(alive.shape) > 0.04
    return frames


def shaken(frames: list[Image], rng: Rng) -> list[Image]:
    """A camera carried by someone who runs."""
    walk = np.cumsum(rng.normal(0, 5, (len(frames), 2)), axis=0)
    walk -= walk.mean(axis=0)
    moves = [
        np.array([[1.15, 0, -0.08 * SIZE[0] + x], [0, 1.15, -0.08 * SIZE[1] + y]]) for x, y in np.tanh(walk / 25) * 25
    ]
    return [cv2.warpAffine(f, m, SIZE, borderMode=cv2.BORDER_REFLECT) for f, m in zip(frames, moves, strict=True)]


def places(length: int, apart: int, rng: Rng) -> Iterator[int]:
    """Frames of `length`, about `apart` from one to the next."""
    place = int(rng.integers(3, 3 + apart))
    while place < length - 3:
        yield place
        place += int(rng.integers(apart // 2 + 3, 2 * apart))
