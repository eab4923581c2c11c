"""Captions and bars within a shot are no cuts, jumps within a take and shots in the dark are, and each boundary is seen once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from curation_assets.decode.shots.cascade import CascadeDetector
from curation_assets.decode.shots.network_view import View
from curation_assets.decode.shots.proposed_parts import standing_out
from curation_assets_tests.decode.shots.videos import Image, detect, shot


def found(images: list[Image]) -> list[int]:
    return [c.frame for c in detect(CascadeDetector(), images).accepted]


def captioned(image: Image, text: str) -> Image:
    """With two lines on a strip that covers an eighth of the picture."""
    image = image.copy()
    cv2.rectangle(image, (70, 112), (250, 155), (30, 30, 30), -1)
    for number, line in enumerate((text, "and what follows it")):
        at = (76, 130 + 20 * number)
        cv2.putText(image, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (250, 250, 250), 1, cv2.LINE_AA)
    return image


def barred(image: Image, size: int, axis: int) -> Image:
    image = image.copy()
    lines = np.moveaxis(image, axis, 0)
    lines[:size], lines[len(lines) - size :] = 0, 0
    return image


def test_captions_that_come_and_go_are_no_cuts() -> None:
    images = [*shot(0, 90), *shot(1, 90)]
    for first, end, text in ((20, 45, "a first line"), (45, 70, "and another one"), (110, 150, "the last of them")):
        images[first:end] = [captioned(p, text) for p in images[first:end]]
    assert found(images) == [90]


@pytest.mark.parametrize(("size", "axis"), [(22, 0), (30, 0), (40, 1), (70, 1)])
def test_bars_that_come_and_go_within_a_shot_are_no_cuts(size: int, axis: int) -> None:
    images = [*shot(0, 90), *shot(1, 90)]
    images[30:60] = [barred(p, size, axis) for p in images[30:60]]
    images[120:150] = [barred(p, size, axis) for p in images[120:150]]
    assert found(images) == [90]


@pytest.mark.parametrize("axis", [0, 1])
def test_bars_amid_motion_are_no_cuts(axis: int) -> None:
    take = [np.roll(p, 2 * k, axis=1) for k, p in enumerate(shot(2, 90))]
    take[30:60] = [barred(p, 38, axis) for p in take[30:60]]
    assert found([*take, *shot(1, 60)]) == [90]


def test_a_cut_to_a_picture_between_bars_is_one() -> None:
    assert found([*shot(0, 60), *(barred(p, 30, 0) for p in shot(1, 60)), *shot(2, 60)]) == [60, 120]


@pytest.mark.parametrize("gap", [15, 25])
def test_jumps_within_a_take_are_cuts(gap: int) -> None:
    take = shot(4, 150 + gap)
    assert found([*take[:75], *take[75 + gap :]]) == [75]


def test_a_shot_in_the_dark_between_two_bright_ones_is_no_fade() -> None:
    dark = [np.asarray(p * 0.05, np.uint8) for p in shot(1, 40)]
    cuts = detect(CascadeDetector(), [*shot(0, 60), *dark, *shot(2, 60)]).accepted
    assert [(c.frame, c.kind) for c in cuts] == [(60, "cut"), (100, "cut")]


def test_what_the_network_sees_of_a_likelier_boundary_weighs_less() -> None:
    single = np.zeros(20, np.float32)
    single[9] = 0.9
    view = View(np.arange(20), single, np.zeros(20, np.float32), 0.0)
    assert view.seen(7, 8, []) == (9, pytest.approx(0.9))
    assert view.seen(7, 8, [(10, 11)]) == (9, pytest.approx(0.45))
    assert view.seen(10, 11, [(7, 8)]) == (9, pytest.approx(0.9))


def test_cuts_beside_a_gradual_transition_stay_cuts() -> None:
    chances = np.full(40, 0.15)
    chances[[3, 4]], chances[20:28], chances[31] = 0.8, 0.9, 0.5
    assert standing_out(chances) == [(3, 5), (20, 32)]
    assert standing_out(np.full(5, 0.2)) == [(0, 1)]
