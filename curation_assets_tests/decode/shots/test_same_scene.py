"""One scene on either side of a change is no boundary: other lamps, a page or a camera that moves, focus that is lost and found, a glow that passes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curation_assets.decode.shots.cascade import CascadeDetector
from curation_assets.decode.shots.dips import blurred
from curation_assets.decode.shots.evidence import cells_of
from curation_assets.decode.shots.history import distance
from curation_assets.decode.shots.relit import light_comes_and_goes
from curation_assets.decode.shots.same_scene import lit_otherwise, moved_along
from curation_assets.decode.shots.thinning import Thinned
from curation_assets_tests.decode.shots.videos import SIZE, Image, Picture, detect, dissolve, shot


def lamps(image: Image, seed: int) -> Image:
    """The image in the light of coloured lamps of which one is strong in one place."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-1, 1, SIZE[0]), np.linspace(-1, 1, SIZE[1]))
    beam = np.exp(-((x - rng.uniform(-1, 1)) ** 2 + (y - rng.uniform(-1, 1)) ** 2) / 0.5)[..., None]
    return np.clip(image * rng.uniform(0.2, 1.3, 3) * (0.4 + 0.8 * beam), 0, 255).astype(np.uint8)


def cells(image: Image) -> np.ndarray:
    return cells_of(Picture(image).tiny_rgb[None])[0].astype(np.int32)


def luma(image: Image) -> np.ndarray:
    return Picture(image).tiny_rgb.sum(axis=2, dtype=np.int32)


def thinned(images: list[Image]) -> Thinned:
    kept = Thinned(25.0)
    tiny = [Picture(image).tiny_rgb for image in images]
    for index, frame in enumerate(tiny):
        kept.push(index, 40 * index, frame, distance(tiny[index - 1], frame) if index else 0.0)
    kept.finish()
    return kept


def accepted(images: list[Image]) -> list[int]:
    return [c.frame for c in detect(CascadeDetector(fps=25.0), images).accepted]


@pytest.mark.parametrize("seed", range(4))
def test_other_lamps_over_one_scene_are_known_and_another_scene_under_them_is_not(seed: int) -> None:
    one, other = shot(seed, 1)[0], shot(seed + 50, 1)[0]
    assert lit_otherwise([(cells(lamps(one, 2 * seed)), cells(lamps(one, 2 * seed + 1)))])
    assert not lit_otherwise([(cells(lamps(one, 2 * seed)), cells(lamps(other, 2 * seed + 1)))])


def test_a_jump_within_a_take_is_no_change_of_lamps() -> None:
    take = shot(3, 60)
    assert not lit_otherwise([(cells(take[0]), cells(take[40]))])
    assert not lit_otherwise([(cells(take[0]), cells(take[0]))])


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("share", [0.15, 0.4])
def test_a_picture_moved_along_is_known_with_what_comes_in(axis: int, share: float) -> None:
    first, second = shot(5, 1)[0], shot(6, 1)[0]
    by = round(share * first.shape[axis])
    whole = np.concatenate([first, second], axis=axis)
    moved = np.take(whole, range(by, by + first.shape[axis]), axis)
    assert moved_along(luma(first), luma(moved))
    assert moved_along(luma(moved), luma(first))
    assert not moved_along(luma(first), luma(second))


def test_plain_ground_moves_along_nothing() -> None:
    plain = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    assert not moved_along(luma(plain), luma(plain))
    assert not moved_along(luma(plain), luma(plain + np.uint8(60)))


def test_lamps_within_a_shot_make_no_boundary_and_hide_none() -> None:
    noise = np.random.default_rng(0)
    frames = []
    for scene in (1, 2):
        still = shot(scene, 1)[0]
        for k in range(60):
            grainy = cv2.add(still, noise.integers(0, 6, still.shape, np.uint8))
            frames.append(lamps(grainy, 2 * scene + k // 8 % 2))
    assert accepted(frames) == [60]


def test_a_page_that_is_scrolled_makes_no_boundary_and_the_next_page_one() -> None:
    pages = [np.concatenate([shot(20 * page + k, 1)[0] for k in range(5)]) for page in (1, 2)]
    places = [*[0] * 20, *np.linspace(0, 420, 8).astype(int), *[420] * 20]
    frames = [page[place : place + SIZE[1]] for page in pages for place in places]
    assert accepted(frames) == [len(places)]


def test_focus_that_is_lost_has_less_detail_than_any_mixture() -> None:
    take, other = shot(7, 60), shot(8, 60)
    blur = [0.0] * 20 + [*np.linspace(1, 14, 10), *np.linspace(14, 1, 10)] + [0.0] * 20
    pulled = [cv2.GaussianBlur(f, (0, 0), b) if b else f for f, b in zip(take, blur, strict=True)]
    assert blurred(thinned(pulled), 20, 40)
    assert not blurred(thinned(dissolve(take, other, 20)), 40, 60)


def test_a_glow_that_passes_is_known_and_a_shot_between_two_others_is_not() -> None:
    ground = np.full((60, SIZE[1], SIZE[0], 3), 70, np.uint8)
    ground += np.random.default_rng(0).integers(0, 3, ground.shape, np.uint8)
    glow = np.sin(np.linspace(0, np.pi, 14)) * 150
    lit, cut = ground.copy(), ground.copy()
    for k, light in enumerate(glow, 23):
        lit[k] = np.clip(ground[k] + light, 0, 255).astype(np.uint8)
        cut[k] = 190
    for frames, passes in ((lit, True), (cut, False)):
        seen = cells_of(np.stack([Picture(f).tiny_rgb for f in frames])).astype(np.int32)
        assert light_comes_and_goes(seen, 26, 28) is passes
