"""Cuts are found where the picture is dark, hazy, small, flashed over or repeated, exactly, and nothing but them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from curation_assets.decode.shots.cascade import CascadeDetector
from curation_assets.decode.shots.evidence import REACH, WHOLE, active_box, cells_of, evidence
from curation_assets.decode.shots.history import distance
from curation_assets.decode.shots.network_view import stretched
from curation_assets.decode.shots.thinning import Thinned
from curation_assets.decode.shots.trees import boundary_trees
from curation_assets_tests.decode.shots.videos import Image, Picture, detect, shot

LENGTHS = (40, 33, 47, 36)
CUTS = [40, 73, 120]


def scaled(image: Image, gain: float, offset: float = 0.0) -> Image:
    return np.clip(image * gain + offset, 0, 255).astype(np.uint8)


def within(image: Image, share: float, ground: Image) -> Image:
    ground = ground.copy()
    h, w = round(180 * share), round(320 * share)
    y, x = (180 - h) // 2, (320 - w) // 2
    ground[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    return ground


def upright(image: Image) -> Image:
    return cv2.copyMakeBorder(image[:, 110:210], 0, 0, 110, 110, cv2.BORDER_CONSTANT)


WAYS: dict[str, Callable[[Image], Image]] = {
    "dark": lambda p: scaled(p, 0.15),
    "very dark": lambda p: scaled(p, 0.08),
    "hazy": lambda p: scaled(p, 0.15, 170),
    "grey": lambda p: cv2.cvtColor(cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR),
    "upright": upright,
    "in a frame": lambda p: within(p, 0.4, shot(99, 1)[0]),
}


def film() -> list[Image]:
    return [image for seed, length in enumerate(LENGTHS) for image in shot(seed, length)]


@pytest.mark.parametrize("way", WAYS)
def test_cuts_of_weak_pictures(way: str) -> None:
    cuts = detect(CascadeDetector(), [WAYS[way](p) for p in film()])
    assert [c.frame for c in cuts.accepted] == CUTS


@pytest.mark.parametrize("strip", ["alone", "amid frozen pictures"])
def test_a_strip_that_flickers_hides_no_cut_and_makes_none(strip: str) -> None:
    """A strip of 16 cells on top holds each frame's number in black and white, as a counter or a strip of signals does."""
    images = film() if strip == "alone" else [shot(seed, 1)[0] for seed, n in enumerate(LENGTHS) for _ in range(n)]
    numbered = []
    for number, image in enumerate(images):
        bits = np.array([number >> bit & 1 for bit in range(16)], np.uint8) * 255
        numbered.append(np.concatenate([np.tile(np.repeat(bits, 20)[None, :, None], (32, 1, 3)), image[32:]]))
    assert [c.frame for c in detect(CascadeDetector(), numbered).accepted] == CUTS


@pytest.mark.parametrize("white", [1, 2])
def test_white_frames_at_a_cut(white: int) -> None:
    images = film()
    for cut in CUTS:
        images[cut : cut + white] = [np.full_like(images[0], 250)] * white
    frames = [c.frame for c in detect(CascadeDetector(), images).accepted]
    assert len(frames) == len(CUTS)
    assert all(0 <= f - cut <= white for f, cut in zip(frames, CUTS, strict=True))


@pytest.mark.parametrize(("times", "ms"), [(4, 31), (2, 33)])
def test_repeated_pictures_are_no_cuts_and_cuts_among_them_are_exact(times: int, ms: int) -> None:
    moving = [shot(seed, 160)[::4] for seed in (0, 1)]
    images = [p for part in moving for p in part for _ in range(times)]
    cuts = detect(CascadeDetector(), images, [ms * k for k in range(len(images))])
    assert [c.frame for c in cuts.accepted] == [40 * times]


def test_cuts_at_sixty_frames_a_second_are_exact() -> None:
    lengths = [61, 48, 75]
    images = [p for seed, length in enumerate(lengths) for p in shot(seed, length)]
    cuts = detect(CascadeDetector(fps=60.0), images, [round(1000 * k / 60) for k in range(len(images))])
    assert [c.frame for c in cuts.accepted] == [61, 109]


def test_a_thinned_sequence_knows_where_each_picture_came_from() -> None:
    pictures = [Picture(p).tiny_rgb for p in shot(0, 60)[::3]]
    repeated = [p for p in pictures for _ in range(3)]
    thinned = Thinned(30.0)
    for k, frame in enumerate(repeated):
        thinned.push(k, 33 * k, frame, distance(repeated[k - 1], frame) if k else 0.0)
    thinned.finish()
    assert thinned.count == len(pictures)
    assert [thinned.cut(k) for k in range(1, thinned.count)] == [(3 * k, 99 * k) for k in range(1, len(pictures))]


def test_still_pictures_are_not_thinned_away() -> None:
    frame = Picture(shot(0, 1)[0]).tiny_rgb
    thinned = Thinned(25.0)
    for k in range(100):
        thinned.push(k, 40 * k, frame, 0.0)
    thinned.finish()
    assert thinned.count == 100


def test_evidence_and_trees_do_not_depend_on_neighbours_in_the_batch() -> None:
    cells = cells_of(np.stack([Picture(p).tiny_rgb for p in [*shot(0, 70), *shot(1, 90)]]))
    whole = evidence(cells, WHOLE)
    for first in (0, 33, 61):
        part = evidence(cells[first : first + 2 * REACH + 7], WHOLE)
        assert np.array_equal(part, whole[first : first + 7])
    trees = boundary_trees()
    together = trees.probabilities(whole)
    assert np.array_equal(together, np.concatenate([trees.probabilities(row[None]) for row in whole]))
    assert together.argmax() == 70 - REACH
    assert together.max() > 0.95


def test_the_box_leaves_out_what_does_not_change() -> None:
    ground = shot(99, 1)[0]
    moving = cells_of(np.stack([Picture(within(p, 0.5, ground)).tiny_rgb for p in shot(0, 60)]))
    box = active_box(moving.min(axis=0), moving.max(axis=0))
    assert (abs(box.left - 6), abs(box.right - 18), abs(box.top - 3), abs(box.bottom - 10)) < (2, 2, 2, 2)
    still = cells_of(np.stack([Picture(ground).tiny_rgb] * 3))
    assert active_box(still.min(axis=0), still.max(axis=0)) == WHOLE


def test_the_network_sees_dark_pictures_as_bright_ones() -> None:
    frames = np.stack([Picture(p).tiny_rgb for p in shot(0, 20)])
    seen = stretched((frames * 0.1).astype(np.uint8), WHOLE)
    assert seen.shape == frames.shape
    assert np.ptp(seen) > 200
