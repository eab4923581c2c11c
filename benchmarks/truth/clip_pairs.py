"""Clips of which it is known which are copies of each other: what the stage and its peer merge of them, all of a half in one index.

What belongs here: the clips, their footage, and the rows that come of them. What does not: which copies and look-alikes are made (`duplicates`, `reuploads`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import copies
from benchmarks.copies import Footage, accepted_pairs, fingerprint, write_footage
from benchmarks.truth import lookalikes
from benchmarks.truth.options import Options
from benchmarks.truth.rows import Row
from benchmarks.truth.single_shots import half_of
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import ShardInput, update_index
from curation_assets.demo.drawing import pan, photographs
from curation_assets.schemas import schema
from curation_resources.storage import Storage
from curation_resources.torchvision_ops import ensure_torchvision

SECONDS = 4.0
FEW_VIDEOS = 3
PEER_DISTANCE = 10
LOOK_ALIKE = "look-alike"

Pair = tuple[str, str]


@dataclass
class Material:
    """The clips of a half, in a folder as <number>.mp4.

    Attributes:
        folder: where they are written.
        copies: of each kind the pairs of an original and its copy.
        alike: of each kind of look-alikes the pairs.
        source: of each clip the video that it comes from, or that it is a look-alike.
    """

    folder: Path
    copies: dict[str, list[Pair]] = field(default_factory=lambda: defaultdict(list))
    alike: dict[str, list[Pair]] = field(default_factory=lambda: defaultdict(list))
    source: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, footage: Footage, source: str) -> None:
        write_footage(footage, self.folder / f"{len(self.source)}.mp4")
        self.source[name] = source


def rows_of(area: str, half: str, material: Material) -> Iterator[Row]:
    """A row per kind of copy, per kind of look-alikes, and one for pairs of different videos."""
    source = material.source
    found = {"stage": _stage(material.folder, source), "imagededup": _imagededup(material.folder, source)}
    for kind, pairs in material.copies.items():
        yield _row(area, kind, half, f"{len(pairs)} copies", pairs, found)
    for kind, pairs in material.alike.items():
        yield _row(area, kind, half, f"none of {len(pairs)} pairs", pairs, found)
    real = sorted(clip for clip, of in source.items() if of != LOOK_ALIKE)
    others = [p for p in combinations(real, 2) if source[p[0]] != source[p[1]]]
    yield _row(area, "different videos", half, f"none of {len(others)} pairs", others, found)


def _row(
    area: str, kind: str, half: str, truth: str, pairs: Collection[Pair], found: dict[str, set[frozenset[str]]]
) -> Row:
    counts = {name: sum(frozenset(p) in merged for p in pairs) for name, merged in found.items()}
    figures = {name: {"merged": float(n), "of": float(len(pairs))} for name, n in counts.items()}
    return Row(area, kind, half, truth, {name: str(n) for name, n in counts.items()}, figures)


def footage_of(options: Options, half: str) -> Iterator[tuple[str, Footage]]:
    """The first seconds of each source of the half, by name."""
    if options.folder is None:
        for name, photo in photographs().items():
            if half_of(name) == half:
                shot = pan(photo, (0.3, 0.4, 1.0), (0.7, 0.6, 1.4))
                times = np.arange(int(SECONDS * lookalikes.FPS)) / lookalikes.FPS
                pictures = [np.asarray(shot(t / SECONDS)[..., 1], np.uint8) for t in times]
                yield name, Footage(pictures, times * 1000)
        return
    files = [*sorted((options.folder / "videos").glob("*")), *sorted((options.folder / "panda").glob("*"))]
    files = [f for f in files if f.suffix in copies.SUFFIXES and half_of(f.name) == half]
    for file in files[: FEW_VIDEOS if options.small else None]:
        yield file.name, copies.read_footage(file, SECONDS)


def _stage(folder: Path, clips: Collection[str]) -> set[frozenset[str]]:
    """The pairs that the index accepts, with mirrored, reversed and negative copies asked for."""
    params = Dedup(flipped=True, reversed=True, negative=True)
    rows = [row for k, name in enumerate(clips) for row in fingerprint(folder / f"{k}.mp4", name, params)]
    table = pa.Table.from_pylist(rows, schema("clip_fingerprints").arrow)
    index = update_index(Storage(str(folder)), "index", [ShardInput("clips", "1", lambda: table)], params)
    return {frozenset(pair) for pair in accepted_pairs(index)}


def _imagededup(folder: Path, clips: Collection[str]) -> set[frozenset[str]]:
    ensure_torchvision()
    from imagededup.methods import PHash

    encoder = PHash(verbose=False)
    hashes = {}
    for k, name in enumerate(clips):
        footage = copies.read_footage(folder / f"{k}.mp4", SECONDS + 1)
        seconds = np.searchsorted(footage.times, np.arange(0, footage.times[-1], 1000))
        frames = [np.stack([footage.pictures[i]] * 3, axis=-1) for i in seconds]
        hashes[name] = np.array([int(encoder.encode_image(image_array=f), 16) for f in frames], np.uint64)
    merged = set()
    for a, b in combinations(clips, 2):
        near = np.bitwise_count(hashes[a][:, None] ^ hashes[b][None]) <= PEER_DISTANCE
        if 2 * near.any(axis=int(near.shape[0] <= near.shape[1])).sum() >= min(near.shape):
            merged.add(frozenset((a, b)))
    return merged
