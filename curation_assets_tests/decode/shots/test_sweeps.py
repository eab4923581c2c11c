"""Wipes and slides are found where they are; what looks like one for a moment is none."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.decode.shots.cascade import CascadeDetector
from curation_assets.decode.shots.proposals import Proposals
from curation_assets.decode.shots.shifted import moved
from curation_assets.decode.shots.sweeps import Ints, Sweeps, _slides, slide_rest, wipe_rest
from curation_assets.decode.shots.thinning import Thinned
from curation_assets_tests.decode.shots.videos import Image, detect

WIDTH, HEIGHT = 320, 180
Mix = Callable[[Image, Image, float], Image]


def scene(seed: int, length: int) -> list[Image]:
    """Coarse blobs before a camera that is held by hand."""
    rng = np.random.default_rng(seed)
    ground = cv2.resize(rng.integers(0, 256, (7, 12, 3), np.uint8), (400, 240), interpolation=cv2.INTER_CUBIC)
    places = 20 + np.cumsum(rng.uniform(-1, 1, (length, 2)), axis=0).round().astype(int).clip(-20, 20)
    return [ground[y : y + HEIGHT, x : x + WIDTH] for x, y in places]


def joined(mix: Mix, length: int) -> list[Image]:
    """Two shots with a transition over frames [40, 40 + `length`)."""
    a, b = scene(70, 40 + length), scene(71, 60 + length)
    between = [mix(a[40 + k], b[k], (k + 1) / (length + 1)) for k in range(length)]
    return [*a[:40], *between, *b[length:]]


def from_left(a: Image, b: Image, share: float) -> Image:
    edge = round(share * WIDTH)
    return np.concatenate([b[:, :edge], a[:, edge:]], axis=1)


def in_a_circle(a: Image, b: Image, share: float) -> Image:
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    return np.where((np.hypot(x, y) < share * np.sqrt(2))[..., None], b, a)


def pushed_up(a: Image, b: Image, share: float) -> Image:
    rows = round(share * HEIGHT)
    return np.concatenate([a[rows:], b[:rows]], axis=0)


@pytest.mark.parametrize("mix", [from_left, in_a_circle, pushed_up])
@pytest.mark.parametrize("length", [10, 20])
def test_a_wipe_or_slide_is_one_boundary_in_its_middle(mix: Mix, length: int) -> None:
    (cut,) = detect(CascadeDetector(), joined(mix, length)).accepted
    assert cut.kind == "wipe"
    assert abs(cut.frame - (40 + length / 2)) <= 4
    assert abs(cut.transition_start - 40) <= 6
    assert abs(cut.transition_end - (40 + length)) <= 6


class Known(Proposals):
    """Cells that are at hand."""

    def __init__(self, cells: Ints) -> None:
        super().__init__(Thinned(25.0))
        self.known = cells

    def cells(self, first: int, end: int, at: int) -> tuple[int, Ints]:
        return max(0, first), self.known[max(0, first) : end]


def test_slides_in_one_run_of_proposals_are_each_found() -> None:
    pictures = [noise(seed, 13, 24) for seed in (2, 3, 4)]
    frames = [pictures[0]] * 40
    for old, new in itertools.pairwise(pictures):
        frames += [np.concatenate([old[:, k:], new[:, :k]], axis=1) for k in range(2, 24, 2)] + [new] * 20
    chances = np.zeros(len(frames))
    chances[42:80] = 0.1
    found = sorted((s.first, s.end) for s in Sweeps(Known(np.stack(frames))).follow(0, chances, last=True))
    assert len(found) == 2
    for (first, end), start in zip(found, (40, 71), strict=True):
        assert abs(first - start) <= 3
        assert abs(end - (start + 11)) <= 3


def test_a_slide_tells_when_its_edge_is_at_either_side() -> None:
    a, b = noise(2, 13, 24), noise(3, 13, 24)
    over = [np.concatenate([a[:, k:], b[:, :k]], axis=1) for k in range(2, 24, 2)]
    late = np.stack([*[a] * 5, *over, b])
    assert slide_rest(late) is None, "it is not even from the first picture on"
    (slide,) = _slides(late)
    assert slide.rest < 0.1
    assert not slide.steady
    assert abs(slide.begin - 4 / 16) < 0.08
    assert abs(slide.end - 1) < 0.08


def test_slides_are_told_from_pictures_that_are_moved_and_laid_over_each_other() -> None:
    rng = np.random.default_rng(5)
    old, new = rng.integers(0, 3061, (2, 5, 8)).astype(np.int32)
    seen = rng.integers(0, 3061, (3, 5, 8)).astype(np.int32)
    for come, apart in enumerate(np.moveaxis(moved(seen, old, new), 2, 0), 1):
        stay = 8 - come
        slides = [
            [
                np.concatenate([first, second], axis=1)
                for first, second in (
                    (old[:, come:], new[:, :come]),
                    (old[:, :stay], new[:, :come]),
                    (old[:, come:], new[:, stay:]),
                )
            ],
            [
                np.concatenate([first, second], axis=1)
                for first, second in (
                    (new[:, stay:], old[:, :stay]),
                    (new[:, stay:], old[:, come:]),
                    (new[:, :come], old[:, :stay]),
                )
            ],
        ]
        assert (apart == [[np.abs(seen - slide).sum(axis=(1, 2)) for slide in side] for side in slides]).all()


def test_a_thing_that_passes_near_the_camera_is_none() -> None:
    images, thing = scene(30, 120), scene(31, 1)[0]
    for k in range(24):
        edge = round((k / 12 - 1) * WIDTH)
        passing = np.zeros((HEIGHT, WIDTH), bool)
        passing[:, max(0, edge) : WIDTH + min(0, edge)] = True
        images[50 + k] = np.where(passing[..., None], thing, images[50 + k])
    assert [c for c in detect(CascadeDetector(), images) if c.kind == "wipe"] == []


def test_light_that_changes_from_one_side_is_none() -> None:
    images = scene(30, 120)
    for k in range(50, 120):
        brightness = np.clip((k - 50) / 12 - np.linspace(0, 1, WIDTH), 0, 1)[None, :, None]
        images[k] = cv2.convertScaleAbs(images[k] * (1 - 0.6 * brightness))
    assert [c for c in detect(CascadeDetector(), images) if c.kind == "wipe"] == []


def noise(seed: int, *shape: int) -> Ints:
    """Cells that vary smoothly from one to the next."""
    coarse = np.random.default_rng(seed).uniform(0, 1020, (shape[0] // 3 + 1, shape[1] // 3 + 1, 3)).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC).astype(np.int32)


def test_a_wipe_is_explained_and_a_cut_or_a_dissolve_is_not() -> None:
    a, b = noise(0, 13, 24), noise(1, 13, 24)
    columns = np.arange(24)[None, :, None]
    wiped = np.stack([np.where(columns < 2 * k, b, a) for k in range(13)])
    assert wipe_rest(wiped) == 0
    assert wipe_rest(np.stack([a] * 6 + [b] * 7)) is None
    assert wipe_rest(np.stack([a + (b - a) * k // 12 for k in range(13)])) is None


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("way", ["pushed", "over", "away"])
def test_a_slide_is_explained_in_all_directions(turns: int, way: str) -> None:
    a, b = noise(2, 24, 24), noise(3, 24, 24)

    def frame(come: int) -> NDArray[np.int32]:
        old = a[:, : 24 - come] if way == "over" else a[:, come:]
        new = b[:, 24 - come :] if way == "away" else b[:, :come]
        return np.rot90(np.concatenate([old, new], axis=1), turns)

    assert slide_rest(np.stack([frame(2 * k) for k in range(13)])) == 0


def test_a_pan_and_a_still_picture_are_no_slides() -> None:
    wide = noise(4, 13, 48)
    assert slide_rest(np.stack([wide[:, 2 * k : 2 * k + 24] for k in range(13)])) is None
    assert slide_rest(np.stack([wide[:, :24]] * 13)) is None
