"""Shots that are drawn: pans and zooms over photographs that come with installed packages (scikit-image, scikit-learn), moving discs, text,
black bars, dissolves and fades."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

FPS = 25
SIZE = (640, 360)

Picture = np.ndarray
Shot = Callable[[float], Picture]
"""Progress through the shot, 0 to 1 -> RGB picture of the video's size."""


def photographs() -> dict[str, Picture]:
    """Name -> RGB photograph (h, w, 3) uint8, from installed packages."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    loaded = {name: getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket", "brick", "grass")}
    loaded |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    return {n: p if p.ndim == 3 else np.stack([p] * 3, axis=-1) for n, p in loaded.items()}


def pan(
    photo: Picture, start: tuple[float, float, float], end: tuple[float, float, float], size: tuple[int, int] = SIZE
) -> Shot:
    """A camera move over a photograph, from one (x, y, zoom) to another: centre in fractions, zoom 1 shows as much as fits."""
    import cv2

    width, height = size
    h, w = photo.shape[:2]
    fit = min(w / width, h / height)

    def shot(t: float) -> Picture:
        x, y, zoom = (a + (b - a) * t for a, b in zip(start, end, strict=True))
        scale = fit / zoom
        half_w, half_h = width * scale / 2, height * scale / 2
        cx = min(max(x * w, half_w), w - half_w)
        cy = min(max(y * h, half_h), h - half_h)
        move = np.array([[scale, 0, cx - half_w], [0, scale, cy - half_h]])
        return cv2.warpAffine(
            photo, move, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )

    return shot


def balls(background: Picture, seed: int) -> Shot:
    """Discs that cross a textured background on straight lines."""
    import cv2

    base = cv2.resize(background, SIZE)
    random = np.random.default_rng(seed)
    paths = [
        (
            random.uniform(0, 1, 2),
            random.uniform(0, 1, 2),
            random.integers(15, 45),
            tuple(map(int, random.integers(0, 255, 3))),
        )
        for _ in range(5)
    ]

    def shot(t: float) -> Picture:
        frame = base.copy()
        for a, b, radius, colour in paths:
            x, y = (a + (b - a) * t) * SIZE
            cv2.circle(frame, (int(x), int(y)), int(radius), colour, -1, cv2.LINE_AA)
        return frame

    return shot


def titled(shot: Shot, lines: Sequence[str]) -> Shot:
    """The same with lines of text burned in."""
    import cv2

    def with_text(t: float) -> Picture:
        frame = shot(t).copy()
        for i, line in enumerate(lines):
            at = (40, 80 + 50 * i)
            cv2.putText(frame, line, at, cv2.FONT_HERSHEY_SIMPLEX, 1.1, (0, 0, 0), 6, cv2.LINE_AA)
            cv2.putText(frame, line, at, cv2.FONT_HERSHEY_SIMPLEX, 1.1, (255, 255, 255), 2, cv2.LINE_AA)
        return frame

    return with_text


def boxed(shot: Shot, bar: float = 0.12) -> Shot:
    """The same between black bars, each `bar` of the height."""
    import cv2

    def with_bars(t: float) -> Picture:
        frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        rows = round(SIZE[1] * bar)
        frame[rows : SIZE[1] - rows] = cv2.resize(shot(t), (SIZE[0], SIZE[1] - 2 * rows))
        return frame

    return with_bars


def film(shots: Sequence[tuple[Shot, float]], dissolve: float = 0.0, fade_in: float = 0.0) -> Iterator[Picture]:
    """The frames of shots of the given seconds one after another, with dissolves between them and a fade from black if asked for."""
    index = 0
    for i, (shot, seconds) in enumerate(shots):
        frames = round(seconds * FPS)
        for k in range(frames):
            picture = shot(k / max(1, frames - 1)).astype(np.float32)
            if i and k < dissolve * FPS:
                before = shots[i - 1][0](1.0).astype(np.float32)
                mix = (k + 1) / (dissolve * FPS + 1)
                picture = before * (1 - mix) + picture * mix
            if index < fade_in * FPS:
                picture = picture * (index / (fade_in * FPS))
            index += 1
            yield picture.clip(0, 255).astype(np.uint8)
