"""Convolutions of 8-bit pictures in whole numbers: their results are the same on every machine.

A sum of products of 8-bit numbers is exact in 32 bits, whatever the order of its terms. What is made of it, multiplied by a power of two and moved by a constant, is rounded once, halves to even,
so an instruction set changes nothing, and neither do the pictures of the same batch. `oneDNN <https://oneapi-src.github.io/oneDNN/>`_ has kernels for this (AVX2, AVX-512, and twice as fast with VNNI);
where they are not there or do not give the exact sums, floating point does that holds them exactly.

Without VNNI two neighbouring products are added in 16 bits that saturate. `to_whole` therefore scales weights so that no two can exceed that.

What belongs here: convolutions and their rounding. What does not: the network that they are in (`transnet_whole`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

LARGEST = 127
"""Of a weight."""
LARGEST_PAIR = 128
"""Sum of two weights of one sign at neighbouring channels: 255 times that fits 16 bits with a sign."""
EXACT = 2**24
"""Whole numbers below this are exact in float32."""

Weights = NDArray[np.float64]


class WholeConvolution:
    """A convolution of uint8 (n, in, h, w), channels last, in whole numbers.

    Args:
        weights: int8 (out, in, kh, kw).
        factors: float64 (out,), powers of two by which the sums are multiplied.
        shifts: float64 (out,), added after that; kept as float32.
        padding, dilation: in rows and columns. Beyond the borders lies 0.
        rounded: results are uint8, of what lies within 0 to 255; otherwise float32.
    """

    def __init__(
        self,
        weights: NDArray[np.int8],
        factors: Weights,
        shifts: Weights,
        *,
        padding: tuple[int, int] = (0, 0),
        dilation: tuple[int, int] = (1, 1),
        rounded: bool = True,
    ) -> None:
        self._weights = torch.from_numpy(weights)
        self._factors, self._shifts = (torch.from_numpy(a.astype(np.float32)) for a in (factors, shifts))
        self._padding, self._dilation = list(padding), list(dilation)
        self._dtype = torch.uint8 if rounded else torch.float32
        largest_sum = 255 * max((int(np.abs(own, dtype=np.int16).sum()) for own in weights), default=0)
        self._float = torch.float32 if largest_sum < EXACT else torch.float64
        self._packed = self._pack()
        if self._packed is not None and not self._is_exact(self._by_bytes):
            self._packed = None
        if self._packed is None and not self._is_exact(self._by_floats):
            self._float = torch.float64

    def __call__(self, pictures: Tensor) -> Tensor:
        """The result (n, out, h', w'), channels last."""
        return self._by_floats(pictures) if self._packed is None else self._by_bytes(pictures)

    def _by_bytes(self, pictures: Tensor) -> Tensor:
        result: Tensor = torch.ops.onednn.qconv2d_pointwise(
            pictures,
            1.0,
            0,
            self._packed,
            self._factors,
            self._zeros,
            self._shifts,
            [1, 1],
            self._padding,
            self._dilation,
            1,
            1.0,
            0,
            self._dtype,
            "none",
            [],
            "",
        )
        return result

    def _pack(self) -> Tensor | None:
        """The weights as oneDNN's kernel wants them; None where it has none."""
        if not torch.backends.mkldnn.is_available():
            return None
        self._zeros = torch.zeros(len(self._factors), dtype=torch.int64)
        try:
            packed: Tensor = torch.ops.onednn.qconv_prepack(
                self._weights, self._factors, 1.0, 0, [1, 1], self._padding, self._dilation, 1, None
            )
        except (RuntimeError, AttributeError):
            return None
        return packed

    def _by_floats(self, pictures: Tensor) -> Tensor:
        return self._floating(pictures, self._float)

    def _floating(self, pictures: Tensor, kind: torch.dtype, outputs: slice = slice(None)) -> Tensor:
        padding, dilation = tuple(self._padding), tuple(self._dilation)
        sums = F.conv2d(pictures.to(kind), self._weights[outputs].to(kind), padding=padding, dilation=dilation).float()
        result = sums * self._factors[outputs, None, None] + self._shifts[outputs, None, None]
        if self._dtype == torch.uint8:
            result = result.round_().clamp_(0, 255).to(torch.uint8)
        return result.contiguous(memory_format=torch.channels_last)

    def _is_exact(self, way: Callable[[Tensor], Tensor]) -> bool:
        """Whether a way of computing it gives what float64 does of the darkest and brightest samples, with which sums grow largest."""
        _, channels, rows, columns = self._weights.shape
        size = ((rows - 1) * self._dilation[0] + 2, (columns - 1) * self._dilation[1] + 5)
        drawn = np.random.default_rng(0).integers(0, 2, (3, *size, channels), dtype=np.uint8) * np.uint8(255)
        pictures = torch.from_numpy(drawn).permute(0, 3, 1, 2)
        try:
            found = way(pictures)
            parts = [slice(first, first + 64) for first in range(0, found.shape[1], 64)]  # weights in float64 are large
            return all(torch.equal(found[:, p], self._floating(pictures, torch.float64, p)) for p in parts)
        except RuntimeError:
            return False


def to_whole(weights: NDArray[np.floating], units: Weights) -> tuple[NDArray[np.int8], Weights]:
    """Weights (out, in, kh, kw) as int8 and what one of each output's units is (out,), so that no two neighbouring products saturate.

    Args:
        units: what one unit of each channel is that they are applied to (in,).
    """
    outputs, channels = weights.shape[:2]
    whole, steps = np.empty(weights.shape, np.int8), np.ones(outputs)
    for output, floats in enumerate(weights):  # one after the other: all at once leave the processor's caches
        own = floats * units[:, None, None]
        largest = float(max(own.max(), -own.min()))
        if channels % 2:
            step = 2 * largest / LARGEST_PAIR
        else:
            up, down = np.maximum(own, 0), np.maximum(-own, 0)
            alike = max(float((side[::2] + side[1::2]).max()) for side in (up, down))
            step = max(largest / LARGEST, alike / (LARGEST_PAIR - 1))
        if step > 0:
            steps[output] = step
        whole[output] = np.rint(own / steps[output])
    return whole, steps


def power_of_two(least: Weights) -> Weights:
    """The least powers of two that are as large."""
    mantissa, exponent = np.frexp(least)
    return np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent))
