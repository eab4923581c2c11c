"""Pictures as a model takes them: fitted to one size, and stored so that reading them costs little.

What belongs here: how a picture is fitted (`Fit`), and the formats in which a fitted one is kept. What does not: which model takes what
(`clip_model.py`), and where fitted pictures lie.

The centre is cut out of a picture *before* it is resized, which saves a third to a half of the work and moves a value by at most 2 levels of 255;
before a reduction by 4.8 and more, whole blocks of pixels are averaged first, as Pillow does with `reducing_gap`. `exact` does neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
"""(height, width, 3), red, green and blue."""
InputFormat = Literal["jpeg", "webp", "raw"]
EXTENSIONS = {"jpeg": "jpg", "webp": "webp", "raw": "rgb"}
"""Formats -> endings of files."""
FILTERS = {"bicubic": 3, "bilinear": 2}
"""Names of filters -> Pillow's numbers."""
JPEG_QUALITY = 95
"""With colour at full resolution: 0.3 to 1.1 levels of mean difference on real videos, where the way over a stored frame makes as many."""
GAP = 2.4
"""How many times larger than wanted a picture stays at least when blocks of its pixels are averaged first: so 1080 lines are halved for 224, and values
move by less than a 30th of what a pixel aside would make (at 2.0 by two to three times as much)."""
SUPPORT = 2
"""Pixels of the result to each side of one that the filters look at."""


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

    @property
    def name(self) -> str:
        """What it does, such as `224x224 bicubic centre of 224`: one name for one result."""
        height, width = self.size
        how = next(n for n, number in FILTERS.items() if number == self.resample)
        return f"{width}x{height} {how} " + ("stretched" if self.shorter is None else f"centre of {self.shorter}")

    def __call__(self, picture: Image.Image) -> Pixels:
        """The RGB picture, fitted: bit for bit what open_clip's own transform makes of it."""
        from PIL import Image

        height, width = self.size
        wide, high = self._resized(*picture.size)
        if picture.size != (wide, high):
            picture = picture.resize((wide, high), Image.Resampling(self.resample))
        left, top = self._corner(wide, high)
        return np.array(picture.crop((left, top, left + width, top + height)))

    def exact(self, pixels: Pixels) -> Pixels:
        """As a call with the picture."""
        from PIL import Image

        return self(Image.fromarray(pixels))

    def near(self, pixels: Pixels) -> Pixels:
        """The same to a few levels for less: see the module's text."""
        import cv2
        from PIL import Image

        high, wide = pixels.shape[:2]
        to_wide, to_high = self._resized(wide, high)
        height, width = self.size
        left, top = self._corner(to_wide, to_high)
        if min(left, top) < 0 or (to_wide, to_high) == (wide, high):
            return self.exact(pixels)
        x, y = wide / to_wide, high / to_high
        block = max(1, int(min(x, y) / GAP))
        columns = _span(left * x, (left + width) * x, x, block, wide)
        rows = _span(top * y, (top + height) * y, y, block, high)
        part = pixels[rows[0] : rows[1], columns[0] : columns[1]]
        if block > 1:
            more = -part.shape[0] % block, -part.shape[1] % block
            whole = cv2.copyMakeBorder(part, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE) if any(more) else part
            few = (whole.shape[1] // block, whole.shape[0] // block)
            part = np.asarray(cv2.resize(whole, few, interpolation=cv2.INTER_AREA), np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(part))
        box = (
            (left * x - columns[0]) / block,
            (top * y - rows[0]) / block,
            min(((left + width) * x - columns[0]) / block, picture.size[0]),
            min(((top + height) * y - rows[0]) / block, picture.size[1]),
        )
        return np.array(picture.resize((width, height), Image.Resampling(self.resample), box=box))

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


def _span(first: float, last: float, scale: float, block: int, end: int) -> tuple[int, int]:
    """Pixels from which those from `first` to `last` are made, with what the filter looks at beside them, in whole blocks."""
    margin = SUPPORT * max(scale, 1.0) + block
    begin = max(0, int(first - margin)) // block * block
    return begin, min(end, -(-int(last + margin + 1) // block) * block)


@dataclass(frozen=True)
class ModelInput:
    """A picture that is kept for a model.

    Attributes:
        fit: how pictures are fitted for it.
        format: jpeg (quality 95, colour at full resolution), or bit for bit: webp (lossless) or raw (3 bytes a pixel).
    """

    fit: Fit
    format: InputFormat = "jpeg"

    def made(self, pixels: Pixels) -> bytes:
        """The bytes that are kept of a whole picture."""
        return _ENCODERS[self.format]((self.fit.near if self.format == "jpeg" else self.fit.exact)(pixels))


def decoded(data: bytes | memoryview, form: str, size: tuple[int, int]) -> Pixels:
    """The picture of `size` (height, width) that was kept in the format `form`.

    Raises:
        ValueError: the bytes are not such a picture.
    """
    decode = _DECODERS.get(form)
    if decode is None:
        raise ValueError(f"is kept as {form!r}, which this version does not read")
    pixels = decode(data, size)
    if pixels is None or pixels.shape != (*size, 3):
        raise ValueError(f"is no {form} of {size[1]}x{size[0]}")
    return pixels


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


def _by_opencv(data: bytes | memoryview, size: tuple[int, int]) -> Pixels | None:
    import cv2

    if not data:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if pixels is None else np.asarray(pixels, np.uint8)


def _by_length(data: bytes | memoryview, size: tuple[int, int]) -> Pixels | None:
    return np.frombuffer(data, np.uint8).reshape(*size, 3) if len(data) == 3 * size[0] * size[1] else None


_ENCODERS: Mapping[str, Callable[[Pixels], bytes]] = {"jpeg": _jpeg, "webp": _webp, "raw": lambda p: p.tobytes()}
_DECODERS: Mapping[str, Callable[[bytes | memoryview, tuple[int, int]], Pixels | None]] = {
    "jpeg": _by_opencv,
    "webp": _by_opencv,
    "raw": _by_length,
}
