"""The small picture on which everything but the sampled frames is computed.

A decoded frame becomes one `AnalysisPicture`. Every view of it is made when it is first asked for and kept, so a frame that nobody
needs costs nothing and a view that two consumers need is made once. Pictures are as displayed: sample aspect ratio and rotation
applied, 8 bits per sample, luma in the studio range (black 16, white 235) whatever the range of the video.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

LONG_SIDE = 320
TINY = (48, 27)
"""Width and height of the picture that TransNetV2 reads."""

Plane = NDArray[np.uint8]


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
        """uint8 (h, w, 3): blue, green, red at the size PySceneDetect's SceneManager would hand out; exact mode only, else None."""
        return None
