"""What is laid over a shot for a while and taken away again: captions and bars. None of it is a boundary.

Each takes the frames of a shot, uint8 (144, 256, 3), and gives them with the overlay.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np

from benchmarks.truth.episodes import Rng, places
from benchmarks.truth.single_shots import SIZE, Image

SPEECH = "what we saw there was not a thing that anyone of us had thought of before this day"


def captions(frames: list[Image], rng: Rng) -> list[Image]:
    """Lines of text that come, change and go, outlined or on a strip, below or in the lower third."""
    frames = [f.copy() for f in frames]
    strip, bottom = bool(rng.integers(2)), int(rng.choice([104, 134]))
    begins = list(places(len(frames), 24, rng))
    for begin, following in itertools.pairwise([*begins, len(frames)]):
        end = following if rng.random() < 0.5 else min(following, begin + int(rng.integers(12, 30)))
        lines = [_line(rng) for _ in range(int(rng.integers(1, 3)))]
        for image in frames[begin:end]:
            for number, line in enumerate(reversed(lines)):
                _write(image, line, bottom - 16 * number, strip)
    return frames


def _line(rng: Rng) -> str:
    words = SPEECH.split()
    first = int(rng.integers(len(words) - 5))
    return " ".join(words[first : first + int(rng.integers(3, 6))])


def _write(image: Image, line: str, bottom: int, strip: bool) -> None:
    """Writes a centred line of 12 pixels into the image."""
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (width, height), _ = cv2.getTextSize(line, font, size, 1)
    left = max(2, (SIZE[0] - width) // 2)
    if strip:
        cv2.rectangle(image, (left - 4, bottom - height - 3), (left + width + 4, bottom + 4), (30, 30, 30), -1)
    else:
        cv2.putText(image, line, (left, bottom), font, size, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(image, line, (left, bottom), font, size, (250, 250, 250), 1, cv2.LINE_AA)


def bars(frames: list[Image], rng: Rng) -> list[Image]:
    """Black bars above and below or at the sides that cover a part of the picture for a while, at once or moving in and out."""
    frames = list(frames)
    begins = list(places(len(frames), 30, rng))
    for begin, following in itertools.pairwise([*begins, len(frames)]):
        end = min(following, begin + int(rng.integers(12, 30)))
        axis, share = int(rng.integers(2)), rng.uniform(0.1, 0.22)
        ramp = int(rng.choice([1, 1, 8]))
        for k in range(begin, end):
            grown = min(1.0, (k - begin + 1) / ramp, (end - k) / ramp)
            size = round(share * grown * frames[k].shape[axis])
            frames[k] = frames[k].copy()
            covered = np.moveaxis(frames[k], axis, 0)
            covered[:size], covered[len(covered) - size :] = 0, 0
    return frames
