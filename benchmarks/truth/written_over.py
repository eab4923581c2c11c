"""Copies of which each has something else written over it: subtitles in two languages, logos of two stations in one ink.

What belongs here: writing that leaves a clip a copy. What does not: clips that other words make another clip (`lookalikes`), lines of text in
many scripts (`written`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import cv2
import numpy as np

from benchmarks.copies import Footage, Luma

FONT: Final = cv2.FONT_HERSHEY_DUPLEX
SUBTITLES: Final = ("the day before yesterday", "vorgestern war es noch da")
LOGOS: Final = ("ARD", "TV5")
INK: Final = 235
PLATE: Final = 225
LIT: Final = 0.5
"""Pictures of less than this share of the usual contrast are those of a fade."""


def _subtitled(picture: Luma, line: str) -> Luma:
    """A line in light letters, a seventeenth of the height, near the lower edge."""
    height, width = picture.shape
    out, scale = picture.copy(), height / 360
    wide = cv2.getTextSize(line, FONT, scale, 1)[0][0]
    cv2.putText(out, line, ((width - wide) // 2, round(0.93 * height)), FONT, scale, (INK,), 1, cv2.LINE_AA)
    return out


def _marked(picture: Luma, letters: str, *, plate: bool) -> Luma:
    """Three letters, a seventeenth of the height, in the upper right: light ones, or dark ones on a light plate."""
    height, width = picture.shape
    out, scale = picture.copy(), height / 360
    sizes = [cv2.getTextSize(logo, FONT, scale, 1)[0] for logo in LOGOS]
    wide, high = max(w for w, _ in sizes), max(h for _, h in sizes)
    x, y = round(0.94 * width) - wide, round(0.13 * height)
    if plate:
        out[y - round(1.3 * high) : y + round(0.3 * high), x - 2 : x + wide + 2] = PLATE
    cv2.putText(out, letters, (x, y), FONT, scale, (20 if plate else INK,), 1, cv2.LINE_AA)
    return out


def _held(footage: Footage) -> Footage:
    """The first picture for as long; of a video that begins with a fade, the first one after it: two black pictures with one logo are one picture."""
    contrast = np.array([p.std() for p in footage.pictures])
    shown = footage.pictures[int(np.argmax(contrast >= LIT * np.median(contrast)))]
    return footage.each(lambda _: shown)


def _pair(footage: Footage, write: Callable[[Luma, str], Luma], words: tuple[str, str]) -> tuple[Footage, Footage]:
    return footage.each(lambda p: write(p, words[0])), footage.each(lambda p: write(p, words[1]))


KINDS: Final[Mapping[str, Callable[[Footage], tuple[Footage, Footage]]]] = {
    "subtitles in two languages": lambda f: _pair(f, _subtitled, SUBTITLES),
    "logos of two stations, light letters": lambda f: _pair(f, partial(_marked, plate=False), LOGOS),
    "a still with logos of two stations on plates": lambda f: _pair(_held(f), partial(_marked, plate=True), LOGOS),
}
"""Each makes two copies of a video."""
