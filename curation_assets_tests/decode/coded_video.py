"""Videos whose frames carry their own number as grey blocks, so that a test can read which frame it is looking at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets_tests.frame_numbers import BITS

SIZE = (320, 180)


def picture(number: int, shot: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A frame (h, w, 3): a texture of its shot that pans by a pixel a frame, under twelve blocks that say its number, low bit first."""
    width, height = size
    rng = np.random.default_rng(shot)
    base = rng.integers(40, 200, 3)
    coarse = rng.integers(0, 56, (9, 32, 3))
    texture = cv2.resize(
        (base + coarse).clip(0, 255).astype(np.uint8), (2 * width, height), interpolation=cv2.INTER_CUBIC
    )
    image = np.ascontiguousarray(texture[:, number % width : number % width + width])
    side = width // BITS
    for bit in range(BITS):
        image[:side, bit * side : (bit + 1) * side] = 88 + 80 * (number >> bit & 1)
    return image


def write_video(
    path: Path,
    lengths: Sequence[int],
    *,
    rate: Fraction = Fraction(25),
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    container: str | None = None,
    first: int = 0,
    each: int = 1,
    **options: str,
) -> Path:
    """Writes shots of the given `lengths` in frames.

    Args:
        times: presentation time of every frame in ticks of `time_base`; default one frame after the other at `rate`.
        rotation: degrees counterclockwise that the file asks players to turn it by.
        first: number of the first frame.
        each: frames for which a picture and its number stand.
        options: of the encoder.
    """
    base = time_base or 1 / rate
    with _usual_scheduling(), av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(
            codec, rate=rate, options={"preset": "veryfast", **options} if codec == "libx264" else options
        )
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = base
        if rotation:
            stream.set_display_rotation(rotation)
        number = 0
        for shot, length in enumerate(lengths):
            for _ in range(length):
                frame = av.VideoFrame.from_ndarray(
                    picture(first + number // each, shot, size), format="rgb24"
                ).reformat(format=pix_fmt)
                frame.pts, frame.time_base = times[number] if times is not None else number, base
                output.mux(stream.encode(frame))
                number += 1
        output.mux(stream.encode(None))
    return path


@contextmanager
def _usual_scheduling() -> Iterator[None]:
    """Gives the process its scheduling back after the block: SVT-AV1, run as root, makes the thread that opens it a real-time one, which
    its children inherit, and a real-time loop leaves nothing to anybody (findings/svt_av1_realtime.sh)."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, param = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, param)


def two_streams(path: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    """Writes a file with one stream per size of the same thirty frames; players show the last one."""
    with av.open(str(path), "w") as output:
        streams = []
        for size in sizes:
            stream = output.add_stream("libx264", rate=25, options={"preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            streams.append((stream, size))
            stream.disposition = av.stream.Disposition.default if size == sizes[-1] else av.stream.Disposition(0)
        for number in range(30):
            for stream, size in streams:
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number, 0, size), format="rgb24")))
        for stream, _ in streams:
            output.mux(stream.encode(None))
    return path
