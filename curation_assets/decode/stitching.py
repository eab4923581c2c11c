"""Over-cut shots of one event joined again, as Panda-70M's splitting does it (Chen and others 2024): by embeddings of the pictures beside each cut.

Of each shot two pictures are embedded, at 5 and 95 percent of its frames. A shot continues the one before if the last picture of that one and its own
first are no further apart than a threshold. A shot whose own two pictures are far apart has a transition in it, and joins nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from curation_assets.decode.clip_spans import Joins
from curation_assets.decode.clips import Stitch
from curation_assets.decode.reading.media import Display, Source
from curation_assets.decode.reading.sampling import frames_near
from curation_assets.decode.reading.shown_frames import Decoding

if TYPE_CHECKING:
    from PIL import Image

    from curation_resources.clip_model import ClipModel

FIRST, LAST = 0.05, 0.95
"""Where in a shot its two pictures lie: Panda-70M's."""
BATCH = 64

Spans = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class StitchModel:
    """The CLIP model that embeds the pictures, as `embeddings` of the recipe names it."""

    model: str
    pretrained: str
    device: str

    def loaded(self) -> ClipModel:
        """The model, loaded once for each process."""
        return _loaded(self)


@lru_cache(maxsize=1)
def _loaded(named: StitchModel) -> ClipModel:
    from curation_resources.clip_model import load_clip

    return load_clip(named.model, named.pretrained, device=named.device, precision="fp32")


def border_frames(shots: Spans) -> list[tuple[int, int]]:
    """The first and the last picture of each shot that are embedded, as frames of the video."""
    return [(int((1 - FIRST) * a + FIRST * (b - 1)), int((1 - LAST) * a + LAST * (b - 1))) for a, b in shots]


def continued(borders: np.ndarray, shots: Spans, params: Stitch) -> list[bool]:
    """For each shot but the first whether it continues the one before.

    Args:
        borders: float (shots, 2, d) of length 1, the embeddings of both pictures; nan where one could not be had.
    """
    within = np.linalg.norm(borders[:, 0] - borders[:, 1], axis=1)
    steady = within <= params.transition
    apart = np.linalg.norm(borders[1:, 0] - borders[:-1, 1], axis=1)
    found = (apart <= params.distance) & steady[1:] & steady[:-1]
    beside = [a[1] == b[0] for a, b in pairwise(shots)]
    return [bool(near) and touches for near, touches in zip(found.tolist(), beside, strict=True)]


def joins_of(source: Source, found: Decoding, params: Stitch, model: StitchModel) -> Joins:
    """Looks at the pictures beside the cuts of a video, by seeking.

    Args:
        found: of the pass over the whole video.
    """

    def joins(shots: Spans) -> Sequence[bool]:
        timeline = found.timeline
        if timeline is None or len(shots) < 2:
            return [False] * max(0, len(shots) - 1)
        network = model.loaded()
        wanted = [[timeline.time_of(frame) for frame in pair] for pair in border_frames(shots)]
        wanted_times = {t for pair in wanted for t in pair}
        borders = np.full((len(shots), 2, network.dimension), np.nan, np.float32)
        vectors: dict[int, np.ndarray] = {}
        pixels: list[tuple[int, np.ndarray]] = []

        def flush() -> None:
            if pixels:
                encoded = network.encode_images(np.stack([p for _, p in pixels]))
                vectors.update(zip((t for t, _ in pixels), encoded, strict=True))
                pixels.clear()

        convert = VideoReformatter()
        for near in frames_near(source, found, sorted(wanted_times)):
            if near.time_ms in wanted_times and near.time_ms not in vectors:
                pixels.append((near.time_ms, network.preprocess(_picture(convert, near.frame, near.display))))
                if len(pixels) == BATCH:
                    flush()
        flush()
        for shot, pair in enumerate(wanted):
            for side, time_ms in enumerate(pair):
                if time_ms in vectors:
                    borders[shot, side] = vectors[time_ms]
        return continued(borders, shots, params)

    return joins


def _picture(convert: VideoReformatter, frame: VideoFrame, display: Display) -> Image.Image:
    """The frame as it is displayed."""
    from PIL import Image

    pixels = convert.reformat(frame, *display.upright, "rgb24", interpolation="AREA", threads=1).to_ndarray()
    return Image.fromarray(np.ascontiguousarray(display.orientation.turn(pixels)))
