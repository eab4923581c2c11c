"""Convolutions in whole numbers are exact, however they are computed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from curation_assets.decode.shots.whole_numbers import WholeConvolution, power_of_two, to_whole


def sums(pictures: np.ndarray, weights: np.ndarray, dilation: tuple[int, int]) -> np.ndarray:
    """What the convolution adds up, in Python's order: (n, out, h', w') of pictures (n, h, w, in)."""
    _, _, rows, columns = weights.shape
    height = pictures.shape[1] - (rows - 1) * dilation[0]
    width = pictures.shape[2] - (columns - 1) * dilation[1]
    result = np.zeros((len(pictures), len(weights), height, width), np.int64)
    for y in range(rows):
        for x in range(columns):
            top, left = y * dilation[0], x * dilation[1]
            part = pictures[:, top : top + height, left : left + width].astype(np.int64)
            result += np.einsum("nhwi,oi->nohw", part, weights[:, :, y, x].astype(np.int64))
    return result


def laid_out(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("channels", "shape", "dilation"), [(3, (3, 3), (1, 1)), (64, (3, 3), (1, 1)), (32, (3, 1), (4, 1))]
)
@pytest.mark.parametrize("kernels", ["bytes", "floats"])
def test_results_are_exact_also_where_sums_are_largest(
    channels: int, shape: tuple[int, int], dilation: tuple[int, int], kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels == "floats":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    rng = np.random.default_rng(3)
    weights, _ = to_whole(rng.standard_normal((16, channels, *shape)) ** 3, np.ones(channels))
    factors, shifts = 2.0 ** rng.integers(-12, -6, 16), rng.integers(0, 200, 16).astype(np.float64)
    pictures = rng.integers(0, 256, (3, 14, 11, channels), dtype=np.uint8)
    pictures[0], pictures[1, :, :6] = 255, 0
    expected = sums(pictures, weights, dilation) * factors[:, None, None] + shifts[:, None, None]
    for rounded in (True, False):
        convolution = WholeConvolution(weights, factors, shifts, dilation=dilation, rounded=rounded)
        found = convolution(laid_out(pictures))
        assert found.is_contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(found, np.clip(np.rint(expected), 0, 255) if rounded else expected)
        alone = convolution(laid_out(pictures[2:]))
        assert torch.equal(alone, found[2:]), "whatever the other pictures are"


@pytest.mark.parametrize("channels", [3, 8])
def test_two_products_never_exceed_what_16_bits_hold(channels: int) -> None:
    rng = np.random.default_rng(4)
    weights = rng.standard_normal((200, channels, 3, 3)) ** 3
    weights[0] = 0
    units = rng.uniform(0.5, 2, channels)
    whole, steps = to_whole(weights, units)
    weights *= units[:, None, None]
    wide = whole.astype(np.int64)
    if channels % 2:  # neighbours of other places in the kernel may come together
        assert 2 * np.abs(wide).max() * 255 < 2**15
    else:
        pairs = wide.reshape(200, channels // 2, 2, -1)
        assert np.maximum(pairs, 0).sum(axis=2).max() * 255 < 2**15
        assert np.maximum(-pairs, 0).sum(axis=2).max() * 255 <= 2**15
    assert (np.abs(whole * steps[:, None, None, None] - weights) <= steps[:, None, None, None] / 2 + 1e-12).all()
    assert np.abs(wide[1:]).reshape(199, -1).max(axis=1).min() >= 60, "the bits are used"


def test_a_kernel_that_saturates_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, ones = np.full((4, 8, 3, 3), 127, np.int8), np.ones(4)
    pictures = np.full((1, 6, 6, 8), 255, np.uint8)
    real = WholeConvolution._by_bytes
    monkeypatch.setattr(WholeConvolution, "_by_bytes", lambda self, p: real(self, p).clamp(max=2**15 - 1))
    found = WholeConvolution(weights, ones, 0 * ones, rounded=False)(laid_out(pictures))
    np.testing.assert_array_equal(found, sums(pictures, weights, (1, 1)))


def test_powers_of_two() -> None:
    np.testing.assert_array_equal(
        power_of_two(np.array([1.0, 1.01, 2.0, 3.0, 0.25, 0.3, 1e-9])), [1, 2, 2, 4, 0.25, 0.5, 2.0**-29]
    )
