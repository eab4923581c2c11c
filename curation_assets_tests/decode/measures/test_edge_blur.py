"""Blur of edges against pictures blurred by known amounts, generated and real."""

from __future__ import annotations

from itertools import islice, pairwise

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from curation_assets_tests.decode.measures.test_quality import plane, scene, score
from curation_assets_tests.shared_data import shared

Picture = NDArray[np.float32]


def shapes(contrast: float = 160, seed: int = 0) -> Picture:
    """Overlapping polygons with sharp edges, 320 x 180."""
    rng = np.random.default_rng(seed)
    picture = np.full((720, 1280), 120, np.float32)
    for _ in range(60):
        points = rng.uniform(-120, 120, (4, 2)) + rng.uniform((0, 0), (1280, 720))
        tone = 120 + contrast * rng.uniform(-0.5, 0.5)
        cv2.fillConvexPoly(picture, cv2.convexHull(points.astype(np.int32)), float(tone))
    return cv2.resize(picture, (320, 180), interpolation=cv2.INTER_AREA)


def blurred(picture: Picture, sigma: float) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture


def blur_of(picture: Picture) -> float | None:
    return score(plane(picture))["edge_blur"]


@pytest.mark.parametrize("contrast", [80, 120, 180])
@pytest.mark.parametrize("sigma", [1, 1.5, 2, 3, 4])
def test_known_blur_is_found_whatever_the_contrast(sigma: float, contrast: float) -> None:
    assert blur_of(blurred(shapes(contrast), sigma)) == pytest.approx(sigma, rel=0.3)


def test_noise_does_not_pass_for_sharpness() -> None:
    rng = np.random.default_rng(0)
    for sigma in (1.5, 3):
        still = blurred(shapes(), sigma)
        clean, noisy = blur_of(still), blur_of(still + rng.normal(0, 5, still.shape).astype(np.float32))
        assert noisy == pytest.approx(clean, rel=0.15)


def test_other_kinds_of_blur_grow_too() -> None:
    sharp = shapes()

    def motion(p: Picture, v: int) -> Picture:
        return cv2.filter2D(p, -1, np.diag(np.ones(v, np.float32)) / v)

    def enlarged(p: Picture, v: int) -> Picture:
        small = cv2.resize(p, (320 // v, 180 // v), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (320, 180), interpolation=cv2.INTER_CUBIC)

    for way in (lambda p, v: cv2.blur(p, (v, v)), motion, enlarged):
        found = [blur_of(sharp)] + [blur_of(way(sharp, v)) for v in (3, 5, 9)]
        assert all(b > 1.1 * a for a, b in pairwise(found)), found


def test_a_sharp_subject_before_a_blurred_background_is_sharp() -> None:
    sharp = shapes()
    mask = np.zeros((180, 320), np.float32)
    cv2.ellipse(mask, (160, 100), (70, 80), 0, 0, 360, 1.0, -1)
    focused = mask * sharp + (1 - mask) * blurred(sharp, 4)
    everywhere = blurred(sharp, 4)
    assert blur_of(focused) < 1.2
    assert blur_of(everywhere) > 3


def test_null_without_edges_and_unmoved_by_bars() -> None:
    assert blur_of(np.full((180, 320), 90, np.float32)) is None
    ramp = np.tile(np.linspace(30, 220, 320, dtype=np.float32), (180, 1))
    assert blur_of(ramp) is None
    boxed = np.full((180, 320), 16, np.float32)
    boxed[24:156] = cv2.resize(blurred(shapes(), 3), (320, 132), interpolation=cv2.INTER_AREA)
    assert blur_of(boxed) > 2
    assert blur_of(blurred(scene(), 1)) is not None


def test_real_videos_compare_where_the_old_measure_does_not() -> None:
    names = ["bikes", "chaplin", "01_dog", "birthday", "skateboarding_dog", "issue-195-aspect-ratio"]
    sigmas = (1, 1.5, 2, 3, 4)
    new: list[list[float]] = []
    old: list[list[float]] = []
    for name in names:
        with av.open(str(shared(f"videos/{name}.mp4"))) as video:
            frame = next(islice(video.decode(video=0), 25, None))
            scale = 320 / max(frame.width, frame.height)
            size = round(frame.width * scale), round(frame.height * scale)
            picture = frame.reformat(*size, "gray", interpolation="AREA").to_ndarray()
        found = [score(plane(blurred(np.float32(picture), s))) for s in sigmas]
        new.append([f["edge_blur"] for f in found])
        old.append([-f["sharpness"] for f in found])
        assert new[-1] == sorted(new[-1])
    known = np.tile(sigmas, len(names))
    ranked_new, ranked_old = (float(spearmanr(np.ravel(m), known).statistic) for m in (new, old))
    assert ranked_new > 0.9
    assert ranked_new > ranked_old + 0.03
    spread = np.ptp(np.log(new), axis=0), np.ptp(np.log(np.negative(old)), axis=0)
    assert np.all(spread[0] < np.log(2.5))
    assert np.all(spread[0] < spread[1])
