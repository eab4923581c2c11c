"""Parts of the picture that crops keep, as hashes: a crop's whole picture is met by the hash of the original's window.

The windows are those that are common where films are uploaded again: the middle, a square, an upright strip at three places, and the picture turned
by a few degrees. A perceptual hash bears a tenth of the side more or less, so few windows cover many crops.

What belongs here: the windows and the pictures of them. What does not: looking for crops among clips (`dedup.crops`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Luma = NDArray[np.uint8]

FRAMES: Final = 4
"""Frames of a clip whose windows are hashed: those that hold longest."""

NARROW: Final = 0.9
"""A window of an aspect ratio that would keep more than this of the side is left out: the whole picture's hash meets it."""

TURN: Final = 5.0
"""Degrees of the turned windows; a hash bears two more or less."""


@dataclass(frozen=True)
class Window:
    """A part of the picture, the same for every clip of one aspect ratio.

    Attributes:
        x, y: the window's middle, as shares of the picture's sides.
        width, height: as shares of the picture's sides, before it is turned.
        degrees: by which what the window shows was turned in the copy, counterclockwise.
    """

    x: float
    y: float
    width: float
    height: float
    degrees: float = 0.0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and lower edge, as shares; of a turned window before it is turned."""
        return self.x - self.width / 2, self.y - self.height / 2, self.x + self.width / 2, self.y + self.height / 2


COUNT: Final = 8
"""Windows of a picture."""


def windows(aspect: float) -> list[Window | None]:
    """The `COUNT` windows of a picture that is `aspect` times as wide as high; None where one would be nearly the whole picture."""
    out: list[Window | None] = [Window(0.5, 0.5, side, side) for side in (0.86, 0.72)]
    out.append(_of_ratio(aspect, 1.0, 0.5))
    other = 9 / 16 if aspect > 1 else 16 / 9
    out += [_of_ratio(aspect, other, at) for at in (0.5, 0.3, 0.7)]
    angle = np.radians(TURN)
    side = float(1 / (np.cos(angle) + np.sin(angle) * max(aspect, 1 / aspect)))
    return [*out, Window(0.5, 0.5, side, side, TURN), Window(0.5, 0.5, side, side, -TURN)]


def _of_ratio(aspect: float, ratio: float, at: float) -> Window | None:
    """The largest window of this ratio, its middle at the share `at` of the side that is cut."""
    side = min(ratio / aspect, aspect / ratio)
    if side > NARROW:
        return None
    at = min(max(at, side / 2), 1 - side / 2)
    return Window(at, 0.5, side, 1.0) if aspect > ratio else Window(0.5, at, 1.0, side)


def look_through(pictures: Luma, window: Window, aspect: float) -> Luma:
    """What the window shows of each picture, at the same size.

    Args:
        pictures: uint8 (n, s, s), scaled to squares from pictures of the aspect ratio.
    """
    side = pictures.shape[1]
    angle = np.radians(window.degrees)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    across, down = window.width * cos, window.height * cos
    slant, tilt = -window.height * sin / aspect, window.width * sin * aspect
    half = (side - 1) / 2
    matrix = np.array(
        [
            [across, slant, window.x * side - 0.5 - (across + slant) * half],
            [tilt, down, window.y * side - 0.5 - (tilt + down) * half],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shown = [cv2.warpAffine(p, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE) for p in pictures]
    return np.array(shown, np.uint8).reshape(-1, side, side)
