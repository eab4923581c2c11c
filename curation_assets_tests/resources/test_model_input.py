"""Pictures fitted for models, and kept: against Pillow's own resizing, of any sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curation_resources.model_input import Fit, ModelInput, decoded
from curation_resources.part_resizing import resized_part

FITS = (
    Fit(224, (224, 224), 3),
    Fit(None, (48, 64), 2),
    Fit(None, (61, 33), 3),
    Fit(96, (96, 96), 2),
    Fit(120, (64, 80), 3),
)


def hard(wide: int, high: int) -> np.ndarray:
    """Black and white beside each other, which filters overshoot, and noise."""
    rng = np.random.default_rng(wide + 1000 * high)
    pixels = rng.integers(0, 256, (high, wide, 3), dtype=np.uint8)
    pixels[: high // 2] = 255 * (pixels[: high // 2] > 127)
    return pixels


@settings(max_examples=60)
@given(st.integers(40, 900), st.integers(40, 900), st.sampled_from(FITS))
def test_a_part_is_resized_as_pillow_resizes_the_whole(wide: int, high: int, fit: Fit) -> None:
    pixels = hard(wide, high)
    height, width = fit.size
    if fit.shorter is None:
        expected = Image.fromarray(pixels).resize((width, height), Image.Resampling(fit.resample))
    else:
        least = min(wide, high)
        to = [fit.shorter if s == least else int(fit.shorter * s / least) for s in (wide, high)]
        whole = Image.fromarray(pixels).resize((to[0], to[1]), Image.Resampling(fit.resample))
        left, top = round((to[0] - width) / 2), round((to[1] - height) / 2)
        expected = whole.crop((left, top, left + width, top + height))
    np.testing.assert_array_equal(fit.of(pixels), np.asarray(expected))
    np.testing.assert_array_equal(fit(Image.fromarray(pixels)), np.asarray(expected))


@settings(max_examples=30)
@given(st.integers(20, 300), st.integers(20, 300), st.integers(1, 200), st.integers(1, 200), st.data())
def test_any_part_of_any_size(wide: int, high: int, to_wide: int, to_high: int, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, to_wide - 1)), data.draw(st.integers(0, to_high - 1))
    size = data.draw(st.integers(1, to_high - top)), data.draw(st.integers(1, to_wide - left))
    resample = data.draw(st.sampled_from((2, 3)))
    pixels = hard(wide, high)
    whole = np.asarray(Image.fromarray(pixels).resize((to_wide, to_high), Image.Resampling(resample)))
    made = resized_part(pixels, (to_wide, to_high), (left, top), size, resample)
    np.testing.assert_array_equal(made, whole[top : top + size[0], left : left + size[1]])


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90), st.booleans())
def test_a_packed_picture_is_the_same(wide: int, high: int, even: bool) -> None:
    pixels = np.full((high, wide, 3), (200, 3, 77), np.uint8) if even else hard(wide, high)
    kept = ModelInput(Fit(None, (high, wide), 3), "zstd").made(pixels)
    np.testing.assert_array_equal(decoded(kept, "zstd", (high, wide)), pixels)
    assert len(kept) < 300 or not even


@pytest.mark.parametrize("form", ["zstd", "jpeg", "webp", "raw"])
def test_what_is_no_picture_of_that_size_is_said(form: str) -> None:
    kept = ModelInput(Fit(None, (30, 40), 3), form).made(hard(40, 30))  # type: ignore[arg-type]
    assert decoded(kept, form, (30, 40)).shape == (30, 40, 3)
    for data in (b"", kept[:-7], b"no picture" * 30):
        if form in ("jpeg", "webp") and data == kept[:-7]:
            continue  # what is missing at the end is made up by the decoder; hashes tell
        with pytest.raises(ValueError, match=f"is no {form} of 40x30"):
            decoded(data, form, (30, 40))
    with pytest.raises(ValueError, match=f"is no {form} of 40x31"):
        decoded(kept, form, (31, 40))
    with pytest.raises(ValueError, match="this version does not read"):
        decoded(kept, "avif", (30, 40))


def test_a_centre_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="has no centre of 224x224"):
        Fit(200, (224, 224), 3)
