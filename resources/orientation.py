"""How a decoded picture is turned and mirrored for display, as its display matrix says (ISO/IEC 14496-12, 8.3.2).

Any of the eight ways to lay a rectangle on itself may occur: cameras held sideways turn, front cameras mirror too. Matrices that turn by
other angles count as the nearest quarter turn. The rule is that of ffmpeg's `-autorotate`.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FILTERS = {
    (False, 0): [],
    (False, 90): ["transpose=clock"],
    (False, 180): ["hflip", "vflip"],
    (False, 270): ["transpose=cclock"],
    (True, 0): ["hflip"],
    (True, 90): ["transpose=clock_flip"],
    (True, 180): ["vflip"],
    (True, 270): ["transpose=cclock_flip"],
}


@dataclass(frozen=True)
class Orientation:
    """What is done with a stored picture to show it: first it is mirrored, then turned.

    Attributes:
        rotation: clockwise degrees: 0, 90, 180 or 270.
        mirrored: whether left and right change places before that.
    """

    rotation: int = 0
    mirrored: bool = False

    @staticmethod
    def of(frame: Any) -> Orientation:
        """From the side data of a frame that PyAV decoded; upright without a matrix, or with one that flattens the picture."""
        data = frame.side_data.get("DISPLAYMATRIX")
        if data is None:
            return UPRIGHT
        numbers = struct.unpack("=9i", bytes(data)[:36])
        return Orientation.of_matrix(numbers[0], numbers[1], numbers[3], numbers[4])

    @staticmethod
    def of_matrix(a: float, b: float, c: float, d: float) -> Orientation:
        """From the part of the matrix that turns: x' = a x + c y, y' = b x + d y, with y downwards."""
        across, down = math.hypot(a, c), math.hypot(b, d)
        determinant = a * d - b * c
        if not across or not down or not determinant:
            return UPRIGHT
        mirrored = determinant < 0
        if mirrored:
            a, b = -a, -b
        return Orientation(round(math.degrees(math.atan2(b / down, a / across)) / 90) * 90 % 360, mirrored)

    @property
    def sideways(self) -> bool:
        """Whether width and height change places."""
        return self.rotation in (90, 270)

    @property
    def filters(self) -> list[str]:
        """The same as filters of ffmpeg."""
        return list(_FILTERS[self.mirrored, self.rotation])

    def turn(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A view of `picture` (h, w, ...) as it is shown; the same object if nothing changes."""
        if not self.rotation and not self.mirrored:
            return picture
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, -self.rotation // 90)


UPRIGHT = Orientation()
"""Shown as it is stored."""
