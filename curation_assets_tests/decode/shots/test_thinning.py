"""What is measured of the tiny pictures, against OpenCV and numpy, and which are kept."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from curation_assets.decode.shots.history import Tiny, distance, levels_of
from curation_assets.decode.shots.thinning import CAPACITY, Thinned


def pictures(count: int) -> Tiny:
    """Noise, blurred more and less, and two plain ones."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (count, 27, 48, 3), dtype=np.uint8)
    made = np.stack([cv2.GaussianBlur(frame, (0, 0), 0.1 + k % 7) for k, frame in enumerate(noise)])
    made[1], made[2] = 0, 255
    return made


def test_levels_are_those_of_each_picture_and_the_one_before() -> None:
    frames = pictures(40)
    levels = [*levels_of(frames[:17], None), *levels_of(frames[17:], frames[16])]
    assert levels[0].step == 0
    assert [one.step for one in levels[1:]] == [distance(a, b) for a, b in pairwise(frames)]
    assert np.allclose([one.mean for one in levels], frames.mean(axis=(1, 2, 3)))
    assert np.allclose([one.deviation for one in levels], frames.std(axis=(1, 2, 3)))


def test_detail_is_what_a_blur_takes_away_also_beyond_a_turn_of_the_ring() -> None:
    frames, thinned = pictures(50), Thinned(25.0)
    count = CAPACITY + 300
    for k in range(count):
        frame, before = frames[k % 50], frames[(k - 1) % 50]
        thinned.push(k, 40 * k, frame, distance(before, frame) if k else 0.0)
        if k in (100, 400, 1100):
            thinned.details(np.array([k - 50]))
    thinned.finish()
    assert thinned.count > CAPACITY
    positions = np.arange(thinned.count - CAPACITY, thinned.count)
    kept = thinned.frames(positions)
    taken = [frame.astype(float) - cv2.blur(frame, (5, 5)) for frame in kept]
    assert np.allclose(thinned.details(positions), [(t**2).mean() for t in taken], rtol=1e-12)
    steps = [distance(a, b) for a, b in pairwise(kept)]
    assert thinned.steps(positions)[1:].tolist() == steps
