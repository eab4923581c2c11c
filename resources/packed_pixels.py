"""Small pictures without loss, for those who read more than they can decode: half the time of a JPEG of quality 95, 2.4 times its bytes.

What belongs here: the layout of such a picture. What does not: which pictures are kept so (`model_input.py`).

Three planes follow one another: green, red minus green, blue minus green. Of each value those to its left and above it are taken off and the one left
above is put back (the gradient predictor). All is modulo 256, and the whole is one zstd frame, which any zstd reads.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_resources.compiled import compiled

Pixels = NDArray[np.uint8]
LEVEL = 1
"""Of zstd: higher ones take longer to write, and save nothing of what looks like noise."""


def packed(pixels: Pixels) -> bytes:
    """The bytes of a picture, uint8 [height, width, 3]."""
    planes = np.empty((3, *pixels.shape[:2]), np.uint8)
    _differences(np.ascontiguousarray(pixels), planes)
    return bytes(pa.Codec("zstd", LEVEL).compress(planes, asbytes=True))


def unpacked(data: bytes | memoryview, out: Pixels) -> None:
    """Puts the picture that was packed into `out`, uint8 [height, width, 3], which lies in one piece.

    Raises:
        OSError: the bytes are not a picture of that size.
    """
    planes = np.frombuffer(pa.decompress(pa.py_buffer(data), out.size, codec="zstd"), np.uint8)
    _sums(planes.reshape(3, *out.shape[:2]), out)


@compiled
def _differences(pixels: Pixels, planes: Pixels) -> None:
    height, width = pixels.shape[0], pixels.shape[1]
    above = np.zeros((3, width), np.uint8)
    for y in range(height):
        left = np.zeros(3, np.uint8)
        for x in range(width):
            green = pixels[y, x, 1]
            for c in range(3):
                value = green if c == 0 else np.uint8(pixels[y, x, 2 * c - 2] - green)
                down = np.uint8(value - above[c, x])
                above[c, x] = value
                planes[c, y, x] = down - left[c]
                left[c] = down


@compiled
def _sums(planes: Pixels, pixels: Pixels) -> None:
    height, width = pixels.shape[0], pixels.shape[1]
    above = np.zeros((3, width), np.uint8)
    for y in range(height):
        for c in range(3):
            for x in range(width):
                above[c, x] += planes[c, y, x]
        green, red, blue = np.uint8(0), np.uint8(0), np.uint8(0)
        for x in range(width):
            green += above[0, x]
            red += above[1, x]
            blue += above[2, x]
            pixels[y, x, 0] = green + red
            pixels[y, x, 1] = green
            pixels[y, x, 2] = green + blue
