"""What stands in two clips: other words on one card are no copies; noise, blur, a shift, a gain and a logo in a corner leave a copy one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.decode.measures import still
from curation_assets.decode.measures.course import CELLS
from curation_assets.dedup.courses import Course
from curation_assets.dedup.evidence import agreement
from curation_assets.dedup.standing import stands_apart
from curation_assets.demo.drawing import photographs

Luma = NDArray[np.uint8]
WHOLE = (0.0, 0.0, 1.0, 1.0)
FONT = cv2.FONT_HERSHEY_DUPLEX


def _card(word: str, *, seed: int | None = 3) -> Luma:
    """320 x 180: a title over soft clouds, or over plain ground."""
    page = np.full((180, 320), 40, np.uint8)
    if seed is not None:
        noise = np.random.default_rng(seed).uniform(0, 90, (6, 9)).astype(np.float32)
        page = np.asarray(cv2.resize(noise, (320, 180), interpolation=cv2.INTER_CUBIC).clip(0, 255), np.uint8)
    cv2.putText(page, f"Chapter {word}", (70, 100), FONT, 1.0, (230,), 1, cv2.LINE_AA)
    return page


def _clip(pictures: list[Luma], box: tuple[float, float, float, float] = WHOLE) -> Course:
    """A clip of four seconds of these pictures, of which the box is kept."""
    x, y, w, h = (round(side * of) for side, of in zip(box, (320, 180) * 2, strict=True))
    parts = [p[y : y + h, x : x + w] for p in pictures]
    cells, fine = (
        np.array([cv2.resize(p, (side, side), interpolation=cv2.INTER_AREA) for p in parts], np.uint8)
        for side in (CELLS, still.SIDE)
    )
    stored = still.still(fine)
    assert stored is not None
    return Course(np.repeat(cells, 16 // len(cells), axis=0), 4000, box, still.picture(stored))


def _apart(a: Course, b: Course) -> bool:
    found = agreement(a, b, 1.0, 0)
    assert found is not None
    return stands_apart(a, b, found)


def _logo(card: Luma) -> Luma:
    out = card.copy()
    out[7:29, 267:307] = 235
    cv2.putText(out, "TV", (269, 25), FONT, 0.6, (16,), 2)
    return out


def _noisy(card: Luma, seed: int) -> Luma:
    return np.asarray((card + np.random.default_rng(seed).normal(0, 6, card.shape)).clip(0, 255), np.uint8)


CHANGES: dict[str, Callable[[Luma], Luma]] = {
    "noise": partial(_noisy, seed=1),
    "blur": lambda c: np.asarray(cv2.GaussianBlur(c, (0, 0), 1.2), np.uint8),
    "a pixel": lambda c: np.roll(c, 2, axis=1),
    "gain": lambda c: np.asarray(c * 0.6 + 40, np.uint8),
    "logo": _logo,
}


@pytest.mark.parametrize("seed", [3, None])
@pytest.mark.parametrize("change", CHANGES)
def test_copies_of_a_card_and_other_cards(change: str, seed: int | None) -> None:
    changed = _clip([CHANGES[change](_card("One", seed=seed))])
    assert not _apart(_clip([_card("One", seed=seed)]), changed)
    for word in ("Two", "Six"):
        assert _apart(_clip([_card(word, seed=seed)]), changed)


@given(st.integers(0, 10_000), st.sampled_from(("One", "Two", "Four")), st.sampled_from(("One", "Two", "Four")))
@settings(max_examples=15)
def test_which_clip_is_first_does_not_matter(seed: int, a: str, b: str) -> None:
    one, other = _clip([_card(a, seed=seed)]), _clip([_noisy(_card(b, seed=seed), seed)])
    assert _apart(one, other) == _apart(other, one) == (a != b)


def test_a_line_more_counts_although_it_lies_outside_what_the_other_shows() -> None:
    page = np.full((180, 320), 240, np.uint8)
    for k, line in enumerate(("first measure", "then cut", "then measure again")):
        before = page.copy()
        cv2.putText(page, line, (80, 50 + 34 * k), FONT, 0.6, (30,), 1, cv2.LINE_AA)
    assert _apart(_clip([before], (0.2, 0.15, 0.5, 0.4)), _clip([page], (0.2, 0.15, 0.65, 0.55)))
    assert not _apart(_clip([page], (0.2, 0.15, 0.65, 0.55)), _clip([page]))


def _named(photo: str, name: str) -> Luma:
    """A photograph with a name on a strip in its lower part, in letters of a fifteenth of the height."""
    page = np.asarray(
        cv2.resize(cv2.cvtColor(photographs()[photo], cv2.COLOR_RGB2GRAY), (320, 180), interpolation=cv2.INTER_AREA)
    )
    cv2.rectangle(page, (16, 136), (150, 164), (230,), -1)
    cv2.putText(page, name, (24, 156), FONT, 0.6, (20,), 1, cv2.LINE_AA)
    return page


@pytest.mark.parametrize("photo", ["china", "flower"])
def test_names_on_one_picture_are_told_apart_in_copies_too(photo: str) -> None:
    """A few letters of some cells: two names have most of their windows in common if each may be moved by a cell."""
    copies: dict[str, Callable[[Luma], Course]] = {
        "as it is": lambda c: _clip([c]),
        "coded": lambda c: _clip([cv2.imdecode(cv2.imencode(".jpg", c, [cv2.IMWRITE_JPEG_QUALITY, 25])[1], 0)]),
        "noise": lambda c: _clip([_noisy(c, 1)]),
        "half scale": lambda c: _clip([cv2.resize(cv2.resize(c, (160, 90), interpolation=cv2.INTER_AREA), (320, 180))]),
        "crop": lambda c: _clip([cv2.resize(c[9:171, 16:304], (320, 180), interpolation=cv2.INTER_AREA)]),
    }
    names = "Ines Roca", "Paul Weiss", "Eva Novak"
    first = _clip([_named(photo, names[0])])
    for kind, copy in copies.items():
        assert not _apart(first, copy(_named(photo, names[0])))
        others = names[2:] if kind == "crop" else names[1:]
        assert all(_apart(first, copy(_named(photo, name))) for name in others), kind


@pytest.mark.parametrize("photo", ["china", "flower"])
def test_a_crop_of_a_still_that_is_not_centred_lacks_what_it_was_cut_by(photo: str) -> None:
    """Beyond the frame of the crop nothing is known; beyond its border, within the frame, it would be flat."""
    original = _clip([_named(photo, "Anna Berg")])

    def crop(name: str) -> Course:
        return _clip([cv2.resize(_named(photo, name)[4:176, 12:316], (320, 180), interpolation=cv2.INTER_AREA)])

    for pair in ((original, crop("Anna Berg")), (crop("Anna Berg"), original)):
        assert not _apart(*pair)
    assert _apart(original, crop("Paul Weiss"))


def _textured(word: str, *, coarse: bool) -> Luma:
    """A card over soft clouds with faint texture, most of which coarse coding takes away."""
    rng = np.random.default_rng(5)
    texture = cv2.resize(rng.normal(0, 14, (36, 64)), (320, 180), interpolation=cv2.INTER_LINEAR)
    clouds = cv2.resize(rng.normal(0, 30, (4, 6)), (320, 180), interpolation=cv2.INTER_CUBIC)
    left = 0.6 * cv2.GaussianBlur(texture, (0, 0), 5) if coarse else texture
    card = np.asarray((110 + clouds + left).clip(0, 255), np.uint8)
    cv2.putText(card, f"Chapter {word}", (70, 100), FONT, 1.0, (235,), 2, cv2.LINE_AA)
    return card


def test_faint_texture_that_coarse_coding_took_away_is_no_difference_and_hides_none() -> None:
    fine, coarse = _clip([_textured("One", coarse=False)]), _clip([_textured("One", coarse=True)])
    assert not _apart(fine, coarse)
    assert not _apart(coarse, fine)
    assert _apart(fine, _clip([_textured("Two", coarse=True)]))


def test_what_is_stripped_at_two_sides_has_a_tone_at_each() -> None:
    """A white and a black strip, which noise keeps from being stripped in the copy."""
    card = _card("One")
    card[:, :16], card[:, 304:] = 235, 20
    original = _clip([card], (0.05, 0.0, 0.9, 1.0))
    assert not _apart(original, _clip([_noisy(card, 2)]))
    written = card.copy()
    cv2.putText(written, "II", (1, 90), FONT, 0.7, (10,), 2, cv2.LINE_AA)
    assert _apart(original, _clip([written]))


def test_a_fade_hides_no_other_title() -> None:
    """Where clips share a part of their time only what is steady counts, and a title is steady although its clip fades in."""
    card = _card("One")
    fading = [np.asarray(16 + (card.astype(float) - 16) * min(1.0, (k + 1) / 5), np.uint8) for k in range(16)]
    faded = _clip(fading)
    for word in ("One", "Two", "Six"):
        other = _clip([_card(word)])
        found = agreement(faded, other, 1.0, 640)
        assert found is not None
        assert found.times[0] < 0.9
        assert stands_apart(faded, other, found) == (word != "One")


def test_what_changes_alike_outweighs_what_is_written_on_it() -> None:
    rng = np.random.default_rng(5)
    moving = [cv2.resize(rng.uniform(0, 120, (7, 11)).astype(np.float32), (320, 180)) for _ in range(16)]

    def over(word: str) -> Course:
        pictures = [np.asarray(m, np.uint8).copy() for m in moving]
        for p in pictures:
            cv2.putText(p, word, (120, 168), FONT, 0.7, (240,), 1, cv2.LINE_AA)
        return _clip(pictures)

    assert not _apart(over("hello"), over("bonjour"))


def test_an_excerpt_is_judged_by_what_stands_through_the_longer_clip() -> None:
    """The longer clip shows two cards one after the other: its still is one of them, and says nothing of the other."""
    both = _clip([_card("One")] * 5 + [_card("Two")] * 3)
    part = replace(_clip([_card("Two")]), duration_ms=1500)
    found = agreement(part, both, 1.0, 2500)
    assert found is not None
    assert not stands_apart(part, both, found)


def test_a_still_is_of_the_time_without_a_fade_and_null_without_pictures() -> None:
    card = cv2.resize(_card("One"), (still.SIDE, still.SIDE), interpolation=cv2.INTER_AREA)
    faded = [np.asarray(16 + (card.astype(float) - 16).clip(0) * gain, np.uint8) for gain in (0.1, 0.4, 0.7)]
    stored = still.still(np.array([*faded, *[card] * 5]))
    assert stored is not None
    assert len(stored) < 4096
    assert np.abs(still.picture(stored).astype(int) - card).mean() < 2
    assert still.still(np.empty((0, still.SIDE, still.SIDE), np.uint8)) is None
