"""Makes the ranges of the shot network in whole numbers: `python -m benchmarks.training.network_ranges [--output FILE]`.

Of each channel the least and the most that the network in float32 gives for generated episodes (`cut_material`), as they are and stretched as windows are. No footage goes into it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.training.cut_material import episode
from curation_assets.decode.shots.evidence import WHOLE
from curation_assets.decode.shots.history import Tiny
from curation_assets.decode.shots.network_view import stretched
from curation_assets.decode.shots.transnet import BLOCKS, LAYERS, TransNet, load_weights
from curation_assets.decode.shots.transnet_whole import FILE, Ranges

SEEDS = range(0, 240, 20)
WINDOW = 100
"""Pictures of an episode, the first."""


def windows(seeds: Iterable[int]) -> Iterable[Tiny]:
    """Of each episode its pictures, and the same as the cascade would show them to the network."""
    for seed in seeds:
        pictures = episode(seed).frames[:WINDOW]
        frames = np.stack([cv2.resize(p, (48, 27), interpolation=cv2.INTER_AREA)[..., ::-1] for p in pictures])
        yield frames
        yield stretched(frames, WHOLE)


def ranges(seen: Iterable[Tiny]) -> Ranges:
    """The least and the most of each channel in all of these pictures."""
    net, found = TransNet(load_weights()), Ranges()

    def widen(name: str, values: Tensor, least: bool) -> None:
        channels = (values.amin((0, 2, 3)) if least else values.amax((0, 2, 3))).numpy()
        wider = np.minimum if least else np.maximum
        found[name] = wider(found.get(name, channels), channels)

    for frames in seen:
        with torch.inference_mode():
            x = torch.from_numpy(frames).permute(0, 3, 1, 2).float().div_(255)
            x = x.contiguous(memory_format=torch.channels_last)
            for block in range(BLOCKS):
                first, pooled = net.block(block, x)
                for number, given in zip(range(LAYERS), (x, first), strict=True):
                    spatial = torch.cat(net.layer(block, number).over_space(given), 1)
                    widen(f"least_{block}{number}", spatial, True)
                    widen(f"most_{block}{number}", spatial, False)
                widen(f"first_{block}", first, False)
                widen(f"pooled_{block}", pooled, False)
                x = pooled
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=FILE)
    np.savez_compressed(parser.parse_args().output, **ranges(windows(SEEDS)))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
