"""Recordings of a screen: pages of text and boxes that are scrolled. Scrolling is no boundary, another page is.

Frames are uint8 (144, 256, 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.truth.episodes import Episode, Rng, assemble, cut, places
from benchmarks.truth.single_shots import SIZE, Image, Shot

LETTERS = np.array(list("abcdefghij klmno pqrstu vwxyz "))
TALL = 12
"""Heights of the screen that a page has."""


def scrolled(shots: Sequence[Shot], rng: Rng) -> Episode:
    """As many pages as there are shots, dark or light, each scrolled now and then by what a wheel or a finger gives, under a bar and a pointer."""
    return assemble([_scrolled(_page(rng), int(rng.integers(60, 110)), rng) for _ in shots], cut, rng)


def _scrolled(page: Image, length: int, rng: Rng) -> list[Image]:
    width, height = SIZE
    pushes, frames = set(places(length, 14, rng)), []
    place, speed = float(rng.integers(0, TALL // 3 * height)), 0.0
    for k in range(length):
        if k in pushes:
            most = 60 if rng.random() < 0.8 else 140
            speed = float(rng.choice([-1, 1])) * rng.uniform(most / 6, most)
        place = float(np.clip(place + speed, 0, len(page) - height))
        speed *= rng.uniform(0.6, 0.9)
        image = page[int(place) : int(place) + height].copy()
        image[:12] = (90, 70, 60)
        x, y = int(width / 2 + 40 * np.sin(k / 9)), int(height / 2 + 30 * np.cos(k / 13))
        cv2.fillConvexPoly(image, np.array([[x, y], [x, y + 9], [x + 6, y + 6]]), (0, 0, 0))
        frames.append(image)
    return frames


def _page(rng: Rng) -> Image:
    """Lines of text, gaps and coloured boxes: (TALL * 144, 256, 3)."""
    width, height = SIZE
    dark = bool(rng.integers(2))
    ground, ink = ((26,) * 3, (210,) * 3) if dark else ((250,) * 3, (30,) * 3)
    page = np.full((TALL * height, width, 3), ground, np.uint8)
    y = 12
    while y < len(page) - 80:
        what = rng.random()
        if what < 0.06:
            end = (width - int(rng.integers(20, 120)), y + int(rng.integers(20, 60)))
            cv2.rectangle(page, (20, y), end, rng.integers(60, 230, 3).tolist(), -1)
            y = end[1] + 10
        elif what > 0.16:
            line = "".join(rng.choice(LETTERS, int(rng.integers(12, 50))))
            cv2.putText(page, line, (14, y), cv2.FONT_HERSHEY_SIMPLEX, 0.3, ink, 1, cv2.LINE_AA)
        y += 10
    return page
