"""Copies as they are uploaded again, and clips of one place at other times, all of a half in one index: what nothing was chosen on.

Beside the stage, imagededup's pHash as in `duplicates`, which has the plain kinds of copies and of look-alikes. A copy that has another clip beside or before it takes the next
video of the half.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.copies import Footage
from benchmarks.truth import lookalikes, places, reupload_kinds
from benchmarks.truth.clip_pairs import LOOK_ALIKE, Material, footage_of, rows_of
from benchmarks.truth.duplicates import FEW_GROUPS, GROUPS, WIDE
from benchmarks.truth.options import Options
from benchmarks.truth.rows import Row


def measure(options: Options) -> Iterator[Row]:
    """A row per kind of copy, per kind of look-alikes, and one for pairs of different videos."""
    for half in options.halves:
        sources = dict(footage_of(options, half))
        with tempfile.TemporaryDirectory() as folder:
            yield from rows_of("reuploads", half, _made(Path(folder), sources, options))


def _made(folder: Path, sources: dict[str, Footage], options: Options) -> Material:
    """Writes every clip into the folder as <number>.mp4."""
    material, names = Material(folder), list(sources)
    for name, after in zip(names, [*names[1:], names[0]], strict=True):
        footage = sources[name]
        material.write(name, Footage(footage.pictures, footage.times, 20), name)
        height, width = footage.pictures[0].shape
        for kind, change in reupload_kinds.KINDS.items():
            if options.kinds in kind and (width >= WIDE * height or kind not in reupload_kinds.WIDE_ONLY):
                copy = f"{name}|{kind}"
                material.write(copy, change(footage, sources[after]), name)
                material.copies[kind].append((name, copy))
    moving = [name for name, footage in sources.items() if footage.times[-1] > 2000]
    rng = np.random.default_rng(options.seed)
    for kind, make in places.KINDS.items():
        for group in range(FEW_GROUPS if options.small else GROUPS) if options.kinds in kind else ():
            chosen = rng.permutation(len(moving))[: lookalikes.GROUP + 1]
            made = make([sources[moving[k]] for k in chosen])
            clips = [f"{kind}|{group}|{k}" for k in range(len(made))]
            for clip, footage in zip(clips, made, strict=True):
                material.write(clip, footage, LOOK_ALIKE)
            material.alike[kind] += list(combinations(clips, 2))
    return material
