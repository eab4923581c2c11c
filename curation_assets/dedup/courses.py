"""The course of a clip as it was stored, and how one picture lies on another.

What belongs here: what two clips are compared by. What does not: making a course (`decode.measures.course`), comparing two (`evidence`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.measures.course import CELLS
from curation_assets.decode.measures.still import picture
from curation_assets.dedup.align import Altered

Values = NDArray[np.float64]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Course:
    """What is known of a clip.

    Attributes:
        cells: uint8 (spans, CELLS, CELLS).
        duration_ms: of the clip, which the spans divide evenly.
        box: x, y, width and height of the picture in the frame, shares of the frame.
        still: uint8 (SIDE, SIDE), the clip's still; None if it has none.
    """

    cells: NDArray[np.uint8]
    duration_ms: int
    box: Box
    still: NDArray[np.uint8] | None = None

    @staticmethod
    def of(stored: bytes, duration_ms: int, box: Box, still: bytes | None = None) -> Course:
        """From the columns of `clip_fingerprints`."""
        cells = np.frombuffer(stored, np.uint8).reshape(-1, CELLS, CELLS)
        return Course(cells, duration_ms, box, None if still is None else picture(still))

    def altered_back(self, altered: Altered) -> Course:
        """The course of the clip mirrored, run backwards or made negative."""
        if altered is Altered.MIRRORED:
            x, y, width, height = self.box
            still = None if self.still is None else self.still[:, ::-1]
            return replace(self, cells=self.cells[:, :, ::-1], box=(1 - x - width, y, width, height), still=still)
        if altered is Altered.REVERSED:
            return replace(self, cells=self.cells[::-1])
        if altered is Altered.NEGATIVE:
            return replace(self, cells=255 - self.cells, still=None if self.still is None else 255 - self.still)
        return self


@dataclass(frozen=True)
class Overlay:
    """How one picture lies on another: a point at the share u of the first one's side lies at scale x u + offset of the other's."""

    scale_x: float = 1.0
    offset_x: float = 0.0
    scale_y: float = 1.0
    offset_y: float = 0.0

    @staticmethod
    def between(a: Box, b: Box) -> Overlay:
        """Of what lies inside the boxes (x, y, width, height) of one frame."""
        return Overlay(a[2] / b[2], (a[0] - b[0]) / b[2], a[3] / b[3], (a[1] - b[1]) / b[3])

    def steps(self, size: float) -> Iterator[Overlay]:
        """Moved, and scaled about the middle, by this share of the side."""
        x, a, y, b = self.scale_x, self.offset_x, self.scale_y, self.offset_y
        for sign in (size, -size):
            grown = 1 + sign
            yield Overlay(x * grown, a - x * sign / 2, y * grown, b - y * sign / 2)
            yield Overlay(x, a + sign, y, b)
            yield Overlay(x, a, y, b + sign)

    def moved(self, across: float, down: float) -> Overlay:
        return Overlay(self.scale_x, self.offset_x + across, self.scale_y, self.offset_y + down)

    def common(self) -> Box:
        """What both show: left, top, right and lower edge in the other picture."""
        return (
            max(0.0, self.offset_x),
            max(0.0, self.offset_y),
            min(1.0, self.scale_x + self.offset_x),
            min(1.0, self.scale_y + self.offset_y),
        )

    def turned(self) -> Overlay:
        """How the other picture lies on the first one."""
        x, a, y, b = self.scale_x, self.offset_x, self.scale_y, self.offset_y
        return Overlay(1 / x, -a / x, 1 / y, -b / y)

    def onto(self, region: Box) -> Box:
        """A region of this picture in the other one."""
        left, top, right, bottom = region
        x, a, y, b = self.scale_x, self.offset_x, self.scale_y, self.offset_y
        return x * left + a, y * top + b, x * right + a, y * bottom + b

    def back(self, region: Box) -> Box:
        """A region of the other picture in this one."""
        left, top, right, bottom = region
        x, a, y, b = self.scale_x, self.offset_x, self.scale_y, self.offset_y
        return (left - a) / x, (top - b) / y, (right - a) / x, (bottom - b) / y
