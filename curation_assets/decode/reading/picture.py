"""The small picture on which everything but the sampled frames is computed.

A decoded frame becomes one `AnalysisPicture`. Every view of it is made when it is first asked for and kept, so a frame that nobody
needs costs nothing and a view that two consumers need is made once. Pictures are as displayed: sample aspect ratio and rotation
applied, 8 bits per sample, luma in the studio range (black 16, white 235) whatever the range of the video.

Scaling is by repeated halving (each pixel the mean of four, for which OpenCV has a vectorized kernel) and one bilinear step below a
factor of two; that costs a fifth of an area filter of the same quality.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from curation_assets.decode.reading.media import Display
from curation_assets.decode.reading.small_views import HEIGHT, WIDTH, Padded, fixed, grid, halved, is_large, tiny_rgb
from curation_resources.orientation import UPRIGHT

LONG_SIDE = 320
TINY = (WIDTH, HEIGHT)
"""Width and height of the picture that TransNetV2 reads."""
PYSCENEDETECT_WIDTH = 256
"""PySceneDetect's SceneManager scales frames until their long side is this (`DEFAULT_MIN_WIDTH`), bilinearly."""

PLANAR = frozenset(
    {"yuv420p", "yuv422p", "yuv444p", "yuv411p", "yuv410p", "yuva420p"}
    | {"yuvj420p", "yuvj422p", "yuvj444p", "gray", "gray8"}
)
"""Pixel formats whose planes are read in place; all others are converted first."""
FULL_RANGE = 2
"""AVColorRange: full range."""

Plane = NDArray[np.uint8]

_STUDIO = np.round(16 + np.arange(256) * 219 / 255).astype(np.uint8)
_BT601 = (0.299, 0.114)
_BT709 = (0.2126, 0.0722)


def _rgb_matrix(red: float, blue: float) -> NDArray[np.float32]:
    """From studio-range Y, U, V and 1 to full-range R, G, B, for the luma weights of red and blue (ITU-R BT.601, BT.709)."""
    green = 1 - red - blue
    y, c = 255 / 219, 255 / 112
    chroma = np.array(
        [
            [0, c * (1 - red)],
            [-c * (1 - blue) * blue / green, -c * (1 - red) * red / green],
            [c * (1 - blue), 0],
        ]
    )
    offset = -16 * y - 128 * chroma.sum(axis=1)
    return np.column_stack([np.full(3, y), chroma, offset]).astype(np.float32)


_TO_RGB = {False: _rgb_matrix(*_BT601), True: _rgb_matrix(*_BT709)}
_FIXED_TO_RGB = {hd: fixed(matrix) for hd, matrix in _TO_RGB.items()}


@dataclass
class AnalysisPicture:
    """One frame at the analysis size. Views are cached; a consumer must copy what it wants to change.

    Attributes:
        interpolated: the frame was not decoded but blended from its decoded neighbours, because nothing changes between them.
    """

    interpolated: bool = field(default=False, init=False)

    @cached_property
    def luma(self) -> Plane:
        """uint8 (h, w): luma, long side about 320."""
        raise NotImplementedError

    @cached_property
    def chroma_u(self) -> Plane | None:
        """uint8 (h/2, w/2) about: blue difference around 128; None for grey video."""
        raise NotImplementedError

    @cached_property
    def chroma_v(self) -> Plane | None:
        """uint8 (h/2, w/2) about: red difference around 128; None for grey video."""
        raise NotImplementedError

    @cached_property
    def tiny_rgb(self) -> NDArray[np.uint8]:
        """uint8 (27, 48, 3): red, green, blue in full range, for TransNetV2 and for cheap comparisons."""
        raise NotImplementedError

    @cached_property
    def bgr(self) -> NDArray[np.uint8] | None:
        """uint8 (h, w, 3): blue, green, red at the size PySceneDetect's SceneManager hands out; None for blended frames."""
        return None


class PictureMaker:
    """Turns the decoded frames of one video into pictures that all have the same size.

    Args:
        display: of the first frame; frames that change size midway are scaled to match.
    """

    def __init__(self, display: Display) -> None:
        self.display = display
        self.size = display.fit(long_side=LONG_SIDE)
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> DecodedPicture:
        return DecodedPicture(frame, self)

    def planes(self, frame: VideoFrame) -> tuple[list[Padded], bool, bool]:
        """Luma and chroma planes, whether luma is full range, and whether the colours are BT.709; grey video has one plane."""
        full, hd = frame.color_range == FULL_RANGE, frame.colorspace == 1
        name = frame.format.name
        if name not in PLANAR:
            width, height = (max(2, side) for side in self.size)
            frame = self._reformatter.reformat(frame, width * 2, height * 2, "yuv420p", interpolation="AREA", threads=1)
            full, hd, name = False, False, "yuv420p"
        count = 1 if name.startswith("gray") else 3
        return [_padded(plane) for plane in frame.planes[:count]], full or name.startswith("yuvj"), hd

    def bgr(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The frame as PySceneDetect's detectors are handed it: whole, turned for display, then scaled bilinearly."""
        image = frame.to_ndarray(format="bgr24")
        size = self._scenedetect_size
        if size != (image.shape[1], image.shape[0]):
            image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return self.turn(np.asarray(image, np.uint8))

    @property
    def _scenedetect_size(self) -> tuple[int, int]:
        width, height = self.display.width, self.display.height
        factor = max(1.0, max(width, height) / PYSCENEDETECT_WIDTH)
        return max(1, round(width / factor)), max(1, round(height / factor))

    @cached_property
    def upright(self) -> bool:
        """Whether pictures lie on the screen as they are decoded."""
        return self.display.orientation == UPRIGHT

    def turn(self, plane: Plane) -> Plane:
        """The picture as it lies on the screen."""
        turned = self.display.orientation.turn(plane)
        return plane if turned is plane else np.ascontiguousarray(turned)


class DecodedPicture(AnalysisPicture):
    """The picture of a decoded frame."""

    def __init__(self, frame: VideoFrame, maker: PictureMaker) -> None:
        super().__init__()
        self._frame, self._maker = frame, maker

    @cached_property
    def _planes(self) -> tuple[list[Padded], bool, bool]:
        return self._maker.planes(self._frame)

    @cached_property
    def luma(self) -> Plane:
        planes, full, _ = self._planes
        small = shrink(planes[0], self._maker.size)
        return self._maker.turn(cv2.LUT(small, _STUDIO) if full else small)

    def _chroma(self, index: int) -> Plane | None:
        planes, _, _ = self._planes
        if len(planes) == 1:
            return None
        width, height = self._maker.size
        return self._maker.turn(shrink(planes[index], (max(1, width // 2), max(1, height // 2))))

    @cached_property
    def chroma_u(self) -> Plane | None:
        return self._chroma(1)

    @cached_property
    def chroma_v(self) -> Plane | None:
        return self._chroma(2)

    @cached_property
    def tiny_rgb(self) -> NDArray[np.uint8]:
        planes, _, hd = self._planes
        luma, turn = self.luma, self._maker.turn
        if len(planes) == 1:
            y = _tiny(luma)
            u = v = np.full_like(y, 128)
            return cv2.transform(cv2.merge((y, u, v)), _TO_RGB[hd])
        if not self._maker.upright:
            turned = [turn(plane.shown) for plane in planes]
            planes = [Padded(plane, plane.shape[1], plane.shape[0]) for plane in turned]
        _, blue, red = planes
        height, width = luma.shape
        if is_large(width, height) and is_large(blue.width, blue.height):
            sizes = grid(width, height), grid(blue.width, blue.height)
            return tiny_rgb(luma, sizes[0], blue.samples, red.samples, sizes[1], _FIXED_TO_RGB[hd])
        return cv2.transform(cv2.merge((_tiny(luma), _tiny(blue.shown), _tiny(red.shown))), _TO_RGB[hd])

    @cached_property
    def bgr(self) -> NDArray[np.uint8] | None:
        return self._maker.bgr(self._frame)


class BlendedPicture(AnalysisPicture):
    """A frame between two decoded ones that hardly differ: their mean, weighted by its place between them.

    Args:
        before, after: the decoded neighbours.
        weight: share of `after`, 0 to 1.
    """

    def __init__(self, before: AnalysisPicture, after: AnalysisPicture, weight: float) -> None:
        super().__init__()
        self.interpolated = True
        self._before, self._after, self._weight = before, after, weight

    def _mix(self, before: Plane, after: Plane) -> Plane:
        return cv2.addWeighted(before, 1 - self._weight, after, self._weight, 0)

    @cached_property
    def luma(self) -> Plane:
        return self._mix(self._before.luma, self._after.luma)

    @cached_property
    def chroma_u(self) -> Plane | None:
        before, after = self._before.chroma_u, self._after.chroma_u
        return None if before is None or after is None else self._mix(before, after)

    @cached_property
    def chroma_v(self) -> Plane | None:
        before, after = self._before.chroma_v, self._after.chroma_v
        return None if before is None or after is None else self._mix(before, after)

    @cached_property
    def tiny_rgb(self) -> NDArray[np.uint8]:
        return self._mix(self._before.tiny_rgb, self._after.tiny_rgb)


def shrink(padded: Padded, size: tuple[int, int]) -> Plane:
    """A plane at `size` (width, height): halved while it is at least twice as large, then scaled bilinearly."""
    width, height = size
    if padded.width >= 2 * width and padded.height >= 2 * height and min(padded.width, padded.height) > 1:
        plane: Plane = halved(padded.samples, padded.width, padded.height, width, height)
        if plane.shape == (height, width):
            return plane
    else:
        plane = padded.shown
    return (
        cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        if plane.shape != size[::-1]
        else plane.copy()
    )


def _tiny(plane: Plane) -> Plane:
    """`plane` at 48x27: sampled bilinearly at twice that and averaged from there."""
    width, height = TINY
    if plane.shape[1] > 2 * width and plane.shape[0] > 2 * height:
        plane = cv2.resize(plane, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(plane, TINY, interpolation=cv2.INTER_AREA)


def _padded(plane: VideoPlane) -> Padded:
    """A plane of 8-bit samples, read in place."""
    samples: Plane = np.ndarray((plane.buffer_size // plane.line_size, plane.line_size), np.uint8, memoryview(plane))
    return Padded(samples, plane.width, plane.height)
