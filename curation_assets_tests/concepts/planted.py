"""Videos of planted concepts: each shows one of a few pictures with noise of its own, so that even a network with random weights tells them apart."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = 10


def planted_video(path: Path, concept: int, seed: int, noise: int = 24, seconds: float = 1.0) -> None:
    """A second of a picture that the concept decides, 160 x 96, under noise of `noise` levels that the seed decides."""
    coarse = np.random.default_rng(1000 + concept).integers(40, 216, (6, 10, 3))
    picture = np.kron(coarse, np.ones((16, 16, 1))).astype(np.int64)
    own = np.random.default_rng(seed)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "20"}
        for number in range(round(seconds * FPS)):
            pixels = picture + own.integers(-noise, noise + 1, picture.shape)
            frame = av.VideoFrame.from_ndarray(pixels.clip(0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def planted_videos(folder: Path, concepts: int, each: int, first: int = 0) -> dict[str, int]:
    """Writes `each` videos of every concept; name without ending -> concept."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for number in range(first, first + each):
        for concept in range(concepts):
            name = f"v{number}{'abcdefgh'[concept]}"
            planted_video(folder / f"{name}.mp4", concept, seed=number * 100 + concept)
            found[name] = concept
    return found
