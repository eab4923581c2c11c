"""Light that changes is no boundary, and hides none: flashes, lamps that are switched, and cuts that are smeared over a few pictures."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from curation_assets.decode.shots.cascade import CascadeDetector
from curation_assets.decode.shots.evidence import cells_of
from curation_assets.decode.shots.history import distance
from curation_assets.decode.shots.relit import ground_relit, light_alone, light_leaks, relit
from curation_assets.decode.shots.thinning import Thinned
from curation_assets.decode.shots.whole_change import returns
from curation_assets_tests.decode.shots.videos import Image, Picture, detect, shot

Way = Callable[[Image], Image]


def lit(gain: float, offset: float = 0.0) -> Way:
    return lambda p: np.clip(p * gain + offset, 0, 255).astype(np.uint8)


def thin(images: list[Picture]) -> Thinned:
    thinned = Thinned(25.0)
    for index, image in enumerate(images):
        step = distance(images[index - 1].tiny_rgb, image.tiny_rgb) if index else 0.0
        thinned.push(index, 40 * index, image.tiny_rgb, step)
    thinned.finish()
    return thinned


def cells(image: Image) -> np.ndarray:
    tiny = image[: 27 * 6, : 48 * 6].reshape(27, 6, 48, 6, 3).mean(axis=(1, 3)).astype(np.uint8)
    return cells_of(tiny[None])[0].astype(np.int32)


@pytest.mark.parametrize(
    "way", [lit(0.25), lit(0.5, 90), lit(1.7), lambda p: (255 * (p / 255) ** 2.2).astype(np.uint8)]
)
def test_a_picture_is_known_in_another_light_and_another_picture_is_not(way: Way) -> None:
    for seed in range(12):
        first, later = shot(seed, 2)
        assert relit(cells(first), cells(way(later)))
        assert relit(cells(way(later)), cells(first))
        assert not relit(cells(first), cells(way(shot(seed + 1, 1)[0])))


def test_bars_that_stay_do_not_make_two_pictures_one() -> None:
    between = [cells(p) * (np.abs(np.arange(24) - 11.5) < 4)[None, :, None] for p in (shot(3, 1)[0], shot(4, 1)[0])]
    assert not relit(*between)
    assert relit(between[0], between[0] // 2)


def test_nothing_is_known_on_plain_ground() -> None:
    assert not relit(np.full((13, 24, 3), 40), np.full((13, 24, 3), 900))


@pytest.mark.parametrize("gain", [0.25, 2.0])
def test_a_lamp_that_is_switched_makes_no_cut_and_hides_none(gain: float) -> None:
    images = [image for seed, length in enumerate((60, 50)) for image in shot(seed, length)]
    switched = [lit(gain)(p) if 25 <= k < 45 or k >= 85 else p for k, p in enumerate(images)]
    assert [c.frame for c in detect(CascadeDetector(), switched).accepted] == [60]


@pytest.mark.parametrize("away", [2, 3, 5])
def test_a_cut_shortly_after_a_flash_is_found(away: int) -> None:
    images = [image for seed, length in enumerate((60, 50)) for image in shot(seed, length)]
    images[60 - away] = lit(0.4, 150)(images[60 - away])
    assert [c.frame for c in detect(CascadeDetector(), images).accepted] == [60]


@pytest.mark.parametrize(("white", "kept"), [([8], []), ([15, 16], []), ([15, 16, 17], []), ([30], [30]), ([29], [29])])
def test_flashes_are_left_out_and_white_frames_at_a_cut_are_not(white: list[int], kept: list[int]) -> None:
    images = [Picture(image) for seed in range(2) for image in shot(seed, 30)]
    for k in white:
        images[k] = Picture(np.full((180, 320, 3), 240, np.uint8))
    thinned = thin(images)
    shown = [thinned.shown(p)[0] for p in range(thinned.count)]
    assert [k for k in shown if k in white] == kept
    assert 30 in [thinned.cut(p)[0] for p in range(thinned.count)]


def test_empty_frames_amid_a_moving_shot_are_no_boundary_and_hide_none_between_two() -> None:
    images = [image for seed in range(2) for image in shot(seed, 120)[::2]]
    for k in (20, 40, 60):
        images[k : k + 2] = [np.full_like(images[0], 3)] * 2
    (found,) = detect(CascadeDetector(), images).accepted
    assert 60 <= found.frame <= 62


def watched(length: int) -> list[Image]:
    """A fixed camera over stained ground; a white box crosses it, and the exposure follows."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.normal(115, 12, (12, 20)), (320, 180), interpolation=cv2.INTER_CUBIC)
    ground = coarse[..., None] + rng.normal(0, 4, (180, 320, 1))
    images, gain = [], 1.0
    for k in range(length):
        view = np.repeat(ground, 3, axis=2)
        top = 180 - 12 * max(0, k - 30)
        view[max(0, top) : max(0, top + 130), 120:200] = 250
        images.append(np.clip(view * gain, 0, 255).astype(np.uint8))
        gain += 0.3 * ((110 / view.mean()) ** 4 - gain)
    return images


def test_ground_that_an_exposure_darkens_is_known_whatever_crosses_it() -> None:
    images = watched(60)
    assert ground_relit(cells(images[30]), cells(images[42]))
    assert ground_relit(cells(images[42]), cells(images[59]))
    assert not detect(CascadeDetector(), images).accepted


def test_neither_another_picture_nor_one_in_the_same_light_is_ground_that_is_lit_anew() -> None:
    for seed in range(12):
        first, other = shot(seed, 1)[0], shot(seed + 1, 1)[0]
        assert not ground_relit(cells(first), cells(other))
        assert not ground_relit(cells(first), cells(lit(0.2, 100)(other)))
    image = shot(0, 1)[0]
    moved = image.copy()
    moved[:40] = image[60:100]
    assert not ground_relit(cells(image), cells(moved))
    assert ground_relit(cells(image), cells(lit(0.6)(moved)))


def test_light_that_goes_again_is_told_from_a_cut() -> None:
    rng = np.random.default_rng(0)
    stills = [shot(seed, 1)[0] for seed in (0, 1) for _ in range(40)]
    images = [np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8) for image in stills]
    for k in range(8):
        images[15 + k] = lit(1, 220 - 25 * k)(images[15 + k])
    thinned = thin([Picture(image) for image in images])
    position = {thinned.cut(p)[0]: p for p in range(thinned.count)}
    assert returns(thinned, position[15])
    assert not returns(thinned, position[40])


@pytest.mark.parametrize("away", [4, 5, 30])
def test_lightning_that_fades_is_left_out_and_hides_no_cut(away: int) -> None:
    still = [shot(seed, 1)[0] for seed in (0, 1) for _ in range(60)]
    images = [np.roll(image, k // 8, axis=1) for k, image in enumerate(still)]
    for k, glow in enumerate((180, 120, 170, 110, 75, 50, 32, 20, 12)):
        images[60 + away + k] = lit(1 + glow / 150, glow)(images[60 + away + k])
    thinned = thin([Picture(image) for image in images])
    shown = [thinned.shown(p)[0] for p in range(thinned.count)]
    assert not {60 + away, 61 + away, 62 + away, 63 + away} & set(shown)
    assert any(thinned.returned(p) for p in range(thinned.count))
    assert [c.frame for c in detect(CascadeDetector(), images).accepted] == [60]


def test_a_short_shot_between_two_of_another_is_no_light() -> None:
    one, other = shot(0, 80), shot(1, 8)
    for images in ([*one[:40], *other, *one[40:]], [*one[:40], *map(lit(0.4, 150), other), *one[40:]]):
        thinned = thin([Picture(image) for image in images])
        assert {40, 44, 47} <= {thinned.shown(p)[0] for p in range(thinned.count)}


def test_what_is_mixed_of_two_pictures_is_not_the_first_in_another_light() -> None:
    for seed in range(12):
        first, later = shot(seed, 2)
        other = shot(seed + 1, 1)[0]
        assert light_alone(cells(first), cells(lit(1.5)(later)))
        assert light_alone(cells(first), cells(lit(0.6)(later)))
        assert not light_alone(cells(first), cells(((first.astype(int) * 2 + other) // 3).astype(np.uint8)))


def test_a_cut_between_means_of_three_pictures_is_found() -> None:
    images = [image for seed, length in enumerate((45, 50)) for image in shot(seed + 4, length)]
    means = [np.mean(images[max(0, k - 2) : k + 1], axis=0).astype(np.uint8) for k in range(len(images))]
    (found,) = detect(CascadeDetector(), means).accepted
    assert abs(found.frame - 46) <= 2


def leaked(image: Image, strength: float, corner: tuple[int, int]) -> Image:
    """Under a soft orange light that comes in from a corner: 0 or 1, down and across."""
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    away = np.hypot(rows / image.shape[0] - corner[0], columns / image.shape[1] - corner[1])
    light = np.clip(strength * (1.5 - away), 0, None)[..., None] * np.array([30, 90, 160])
    return np.clip(image + light, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("corner", [(0, 0), (1, 1), (0, 1)])
@pytest.mark.parametrize("strength", [0.3, 0.6])
def test_a_light_that_leaks_in_from_a_corner_is_known(corner: tuple[int, int], strength: float) -> None:
    known = []
    for seed in range(12):
        first, later = (cv2.GaussianBlur(image, (0, 0), 4) // 2 for image in shot(seed, 2))
        other = cv2.GaussianBlur(shot(seed + 1, 1)[0], (0, 0), 4) // 2
        known.append(light_leaks(cells(first), cells(leaked(later, strength, corner))))
        assert light_leaks(cells(leaked(first, strength, corner)), cells(later)) == known[-1]
        assert not light_leaks(cells(first), cells(leaked(other, strength, corner)))
    assert all(known)


def test_where_a_light_has_bleached_all_edges_nothing_is_known() -> None:
    first = shot(0, 1)[0]
    assert not light_leaks(cells(first), np.full((13, 24, 3), 1000, np.int32))
