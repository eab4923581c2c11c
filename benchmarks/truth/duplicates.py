"""Near-duplicates: copies of many kinds, and clips that look alike and are none (`lookalikes`), all of a half in one index.

Beside the stage, imagededup's pHash of one frame a second: two clips are one if half of the shorter one's frames lie within its default
distance. The folder may have `videos/` and `panda/`; without it cameras move over photographs. The halves are by source video.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks import copies
from benchmarks.copies import Footage
from benchmarks.truth import lookalikes, written_over
from benchmarks.truth.clip_pairs import LOOK_ALIKE, Material, footage_of, rows_of
from benchmarks.truth.options import Options
from benchmarks.truth.rows import Row

GROUPS, FEW_GROUPS = 4, 1
"""Groups of each kind of look-alikes."""
WIDE = 1.5
"""Square and upright crops are made of pictures that are at least so many times as wide as high."""

STILL_COPIES = (
    "re-encoded, crf 40",
    "half scale",
    "letterbox",
    "logo, 1/8 x 1/8",
    "fade-in from black, 1 s",
    "10 % crop",
)
"""Kinds of copies that are also made of a clip in which nothing moves."""


def measure(options: Options) -> Iterator[Row]:
    """A row per kind of copy, per kind of look-alikes, and one for pairs of different videos."""
    for half in options.halves:
        sources = dict(footage_of(options, half))
        with tempfile.TemporaryDirectory() as folder:
            yield from rows_of("duplicates", half, _made(Path(folder), sources, options))


def _made(folder: Path, sources: dict[str, Footage], options: Options) -> Material:
    """Writes every clip into the folder as <name>.mp4."""
    material = Material(folder)
    write = material.write
    for name, footage in sources.items():
        write(name, Footage(footage.pictures, footage.times, 20), name)
        height, width = footage.pictures[0].shape
        for kind, change in copies.ALL.items():
            long_enough = footage.times[-1] >= 2000 or "trimmed" not in kind
            wide_enough = width >= WIDE * height or kind not in ("square crop", "9:16 crop")
            if options.kinds in kind and long_enough and wide_enough:
                write(f"{name}|{kind}", change(footage), name)
                material.copies[kind].append((name, f"{name}|{kind}"))
        for kind, write_both in written_over.KINDS.items():
            if options.kinds in kind:
                pair = (f"{name}|{kind}|0", f"{name}|{kind}|1")
                for clip, copy in zip(pair, write_both(footage), strict=True):
                    write(clip, copy, name)
                material.copies[kind].append(pair)
    moving = [name for name, footage in sources.items() if footage.times[-1] > 2000]
    rng = np.random.default_rng(options.seed)
    for kind, make in lookalikes.KINDS.items():
        for group in range(FEW_GROUPS if options.small else GROUPS) if options.kinds in kind else ():
            chosen = rng.permutation(len(moving))[: lookalikes.GROUP + 1]
            clips = [f"{kind}|{group}|{k}" for k in range(lookalikes.GROUP)]
            made = make([sources[moving[k]] for k in chosen])
            for clip, footage in zip(clips, made, strict=False):
                write(clip, footage, LOOK_ALIKE)
            material.alike[kind] += list(combinations(clips[: len(made)], 2))
            if kind in lookalikes.STILL:
                clip, card = clips[0], made[0]
                for name in STILL_COPIES:
                    write(f"{clip}|{name}", copies.COPIES[name](card), LOOK_ALIKE)
                    material.copies[f"card or slide, {name}"].append((clip, f"{clip}|{name}"))
                    material.alike[kind] += [(other, f"{clip}|{name}") for other in clips[1 : len(made)]]
    return material
