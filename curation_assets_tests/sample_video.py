"""Small real videos made on the spot, so that tests of downloads need no files."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np

AUDIO_RATE = 44_100


@lru_cache(maxsize=32)
def sample_video(
    seconds: float = 1.0,
    size: tuple[int, int] = (160, 96),
    fps: int = 10,
    audio: bool = True,
    video: bool = True,
    black_s: float = 0.0,
    seed: int = 0,
    container: str = "mp4",
    index_first: bool = False,
) -> bytes:
    """A moving pattern with a tone.

    Args:
        seconds: duration.
        size: width and height, even.
        black_s: so much of the start is black.
        seed: other seeds give other bytes.
        container: mp4, matroska or webm (VP9 and Opus).
        index_first: for mp4, whether the index stands before the data.
    """
    options = {"movflags": "faststart"} if index_first else {}
    codecs = ("libvpx-vp9", "libopus") if container == "webm" else ("libx264", "aac")
    rate = 48_000 if container == "webm" else AUDIO_RATE
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        with av.open(str(path), "w", format=container, options=options) as output:
            picture = sound = None
            if video:
                picture = output.add_stream(codecs[0], rate=fps)
                picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
                picture.options = {"preset": "ultrafast", "g": str(fps)}
            if audio:
                sound = output.add_stream(codecs[1], rate=rate)
            if picture is not None:
                noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
                for number in range(round(seconds * fps)):
                    pixels = np.roll(noise, 2 * number, axis=1) if number >= black_s * fps else np.zeros_like(noise)
                    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                    frame.pts, frame.time_base = number, Fraction(1, fps)
                    output.mux(picture.encode(frame))
                output.mux(picture.encode(None))
            if sound is not None:
                tone = (0.1 * np.sin(np.arange(round(seconds * rate)) * (440 + seed) * 2 * np.pi / rate)).astype(
                    np.float32
                )
                frame = av.AudioFrame.from_ndarray(tone[None, :], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = rate, 0
                resampler = av.AudioResampler(
                    format=sound.format, layout=sound.layout, rate=rate, frame_size=sound.frame_size or 0
                )
                for piece in [*resampler.resample(frame), *resampler.resample(None)]:
                    output.mux(sound.encode(piece))
                output.mux(sound.encode(None))
        return path.read_bytes()
