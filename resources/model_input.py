"""Pictures as a model takes them: fitted to one size, and stored so that reading them costs little.

What belongs here: how a picture is fitted (`Fit`), and the formats in which a fitted one is kept. What does not: which model takes what
(`clip_model.py`), and where fitted pictures lie.

Only what is kept of a picture is resized (`part_resizing.py`), and the result is the same, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from curation_resources.packed_pixels import packed, unpacked
from curation_resources.part_resizing import resized_part

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
"""(height, width, 3), red, green and blue."""
InputFormat = Literal["zstd", "jpeg", "webp", "raw"]
EXTENSIONS = {"zstd": "rgb.zst", "jpeg": "jpg", "webp": "webp", "raw": "rgb"}
"""Formats -> endings of files."""
FILTERS = {"bicubic": 3, "bilinear": 2}
"""Names of filters -> Pillow's numbers."""
JPEG_QUALITY = 95
"""With colour at full resolution. A JPEG's luminance and colours have 8 bits each, so that a whole area may be half a level off at any quality."""


@dataclass(frozen=True)
class Fit:
    """open_clip's resizing and cropping with Pillow alone, so that a process that does it need not import torch.

    Attributes:
        shorter: length that the shorter side gets before the centre is cut out; None stretches the picture to `size`.
        size: (height, width) of the result.
        resample: Pillow's number of the filter.
    """

    shorter: int | None
    size: tuple[int, int]
    resample: int

    def __post_init__(self) -> None:
        if self.shorter is not None and self.shorter < max(self.size):
            raise ValueError(f"a side of {self.shorter} pixels has no centre of {self.size[1]}x{self.size[0]}")

    @property
    def name(self) -> str:
        """What it does, such as `224x224 bicubic centre of 224`: one name for one result."""
        height, width = self.size
        how = next(n for n, number in FILTERS.items() if number == self.resample)
        return f"{width}x{height} {how} " + ("stretched" if self.shorter is None else f"centre of {self.shorter}")

    def __call__(self, picture: Image.Image) -> Pixels:
        """The RGB picture, fitted: bit for bit what open_clip's own transform makes of it."""
        return self.of(np.asarray(picture))

    def of(self, pixels: Pixels) -> Pixels:
        """The same of pixels."""
        high, wide = pixels.shape[:2]
        height, width = self.size
        resized = self._resized(wide, high)
        left, top = self._corner(*resized)
        if resized == (wide, high):
            return np.ascontiguousarray(pixels[top : top + height, left : left + width])
        return resized_part(pixels, resized, (left, top), self.size, self.resample)

    def _resized(self, wide: int, high: int) -> tuple[int, int]:
        """Width and height that a picture gets before the centre is cut out."""
        if self.shorter is None:
            return self.size[1], self.size[0]
        least = min(wide, high)
        to_wide, to_high = (
            self.shorter if side == least else int(self.shorter * side / least) for side in (wide, high)
        )
        return to_wide, to_high

    def _corner(self, wide: int, high: int) -> tuple[int, int]:
        """Left and top of the centre."""
        height, width = self.size
        return round((wide - width) / 2), round((high - height) / 2)


@dataclass(frozen=True)
class ModelInput:
    """A picture that is kept for a model.

    Attributes:
        fit: how pictures are fitted for it.
        format: bit for bit: zstd (`packed_pixels.py`), webp (lossless) or raw (3 bytes a pixel); or jpeg (quality 95, colour at full resolution).
    """

    fit: Fit
    format: InputFormat = "zstd"

    def made(self, pixels: Pixels) -> bytes:
        """The bytes that are kept of a whole picture."""
        return _ENCODERS[self.format](self.fit.of(pixels))


def decoded(data: bytes | memoryview, form: str, size: tuple[int, int]) -> Pixels:
    """The picture of `size` (height, width) that was kept in the format `form`; raises as `decode_into`."""
    out = np.empty((*size, 3), np.uint8)
    decode_into(out, data, form)
    return out


def decode_into(out: Pixels, data: bytes | memoryview, form: str) -> None:
    """Puts a picture that was kept in the format `form` into `out`, [height, width, 3] in one piece, which has its size.

    Raises:
        ValueError: the bytes are not such a picture.
    """
    decode = _DECODERS.get(form)
    if decode is None:
        raise ValueError(f"is kept as {form!r}, which this version does not read")
    if not decode(data, out):
        raise ValueError(f"is no {form} of {out.shape[1]}x{out.shape[0]}")


def _jpeg(pixels: Pixels) -> bytes:
    import cv2

    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _webp(pixels: Pixels) -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "WEBP", lossless=True, exact=True, method=0)
    return out.getvalue()


def _unpacked(data: bytes | memoryview, out: Pixels) -> bool:
    try:
        unpacked(data, out)
    except OSError:
        return False
    return True


def _by_opencv(data: bytes | memoryview, out: Pixels) -> bool:
    import cv2

    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    if pixels is None or pixels.shape != out.shape:
        return False
    out[...] = pixels
    return True


def _by_length(data: bytes | memoryview, out: Pixels) -> bool:
    if len(data) != out.size:
        return False
    out[...] = np.frombuffer(data, np.uint8).reshape(out.shape)
    return True


_ENCODERS: Mapping[str, Callable[[Pixels], bytes]] = {
    "zstd": packed,
    "jpeg": _jpeg,
    "webp": _webp,
    "raw": lambda p: p.tobytes(),
}
_DECODERS: Mapping[str, Callable[[bytes | memoryview, Pixels], bool]] = {
    "zstd": _unpacked,
    "jpeg": _by_opencv,
    "webp": _by_opencv,
    "raw": _by_length,
}
