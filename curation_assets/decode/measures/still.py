"""The still of a clip: its picture at 96 x 96, the median over its time, as a small JPEG.

The course of a clip says what changes, in coarse cells. Where hardly anything changes, two title cards or slides differ by a word, which a
finer picture shows.

What belongs here: making a still. What does not: comparing two of them (`dedup.standing`).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE: Final = 96
"""Side of a still in pixels."""

SPACING_MS: Final = 500
"""A picture for stills is kept so often."""

FADED: Final = 0.15
"""Pictures whose contrast differs from the usual by more than this share, as in a fade, are left out while others are there."""

QUALITY: Final = 85
"""Of the JPEG: its errors stay below three levels, and it takes 1 to 4 kB."""

Luma = NDArray[np.uint8]


def still(pictures: Luma) -> bytes | None:
    """The still of a clip.

    Args:
        pictures: uint8 (n, SIDE, SIDE), of its time.

    Returns:
        A JPEG; None without pictures.
    """
    if not len(pictures):
        return None
    contrast = pictures.std(axis=(1, 2))
    usual = float(np.median(contrast))
    steady = pictures[np.abs(contrast - usual) <= FADED * usual]
    median = np.round(np.median(steady if len(steady) else pictures, axis=0)).astype(np.uint8)
    done, data = cv2.imencode(".jpg", median, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise RuntimeError("a still could not be written as JPEG")
    return bytes(data)


def picture(stored: bytes) -> Luma:
    """The picture (SIDE, SIDE) of a stored still."""
    return np.asarray(cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_GRAYSCALE), np.uint8)
