"""Pictures with text whose words and place are known."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Line = tuple[str, int, int, int]
"""Text, left, top, font size, pixels."""


def backdrop(seed: int = 0, width: int = 683, height: int = 384) -> NDArray[np.uint8]:
    """uint8 (h, w, 3): soft coloured clouds without anything that looks like text."""
    rng = np.random.default_rng(seed)
    clouds = cv2.GaussianBlur(rng.normal(0, 1, (height, width, 3)).astype(np.float32), (0, 0), 40)
    return np.clip(90 + 30 * clouds / clouds.std(), 0, 255).astype(np.uint8)


def page(
    lines: Sequence[Line], picture: NDArray[np.uint8] | None = None, colour: int = 245
) -> tuple[NDArray[np.uint8], list[tuple[float, float, float, float]]]:
    """A copy of `picture` with lines written on it, blue, green, red, and the extent of each: left, top, right, bottom."""
    image = Image.fromarray((backdrop() if picture is None else picture).copy())
    draw = ImageDraw.Draw(image)
    boxes = []
    for text, left, top, size in lines:
        font = ImageFont.load_default(size)
        draw.text((left, top), text, font=font, fill=(colour,) * 3)
        boxes.append(draw.textbbox((left, top), text, font=font))
    return np.asarray(image), boxes


def jpeg(image: NDArray[np.uint8], quality: int = 90) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
