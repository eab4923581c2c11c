"""Near-duplicates: copies of many kinds, and clips that look alike and are none (`lookalikes`), all of a half in one index.

Beside the stage, imagededup's pHash of one frame a second: two clips are one if half of the shorter one's frames lie within its default
distance. The folder may have `videos/` and `panda/`; without it cameras move over photographs. The halves are by source video.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import copies
from benchmarks.copies import Footage, accepted_pairs, fingerprint, write_footage
from benchmarks.truth import lookalikes, written_over
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
GROUPS, FEW_GROUPS = 4, 1
"""Groups of each kind of look-alikes."""
FEW_VIDEOS = 3
PEER_DISTANCE = 10
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

LOOK_ALIKE = "look-alike"

Pair = tuple[str, str]


@dataclass
class Material:
    """The clips of a half.

    Attributes:
        copies: of each kind the pairs of an original and its copy.
        alike: of each kind of look-alikes the pairs.
        source: of each clip the video that it comes from, or that it is a look-alike.
    """

    copies: dict[str, list[Pair]]
    alike: dict[str, list[Pair]]
    source: dict[str, str]


def measure(options: Options) -> Iterator[Row]:
    """A row per kind of copy, per kind of look-alikes, and one for pairs of different videos."""
    for half in options.halves:
        sources = dict(_footage(options, half))
        with tempfile.TemporaryDirectory() as folder:
            material = _make(Path(folder), sources, options)
            found = {
                "stage": _stage(Path(folder), material.source),
                "imagededup": _imagededup(Path(folder), material.source),
            }
        for kind, pairs in material.copies.items():
            yield _row(kind, half, f"{len(pairs)} copies", pairs, found)
        for kind, pairs in material.alike.items():
            yield _row(kind, half, f"none of {len(pairs)} pairs", pairs, found)
        real = sorted(clip for clip, source in material.source.items() if source != LOOK_ALIKE)
        others = [p for p in combinations(real, 2) if material.source[p[0]] != material.source[p[1]]]
        yield _row("different videos", half, f"none of {len(others)} pairs", others, found)


def _row(kind: str, half: str, truth: str, pairs: Collection[Pair], found: dict[str, set[frozenset[str]]]) -> Row:
    counts = {name: sum(frozenset(p) in merged for p in pairs) for name, merged in found.items()}
    figures = {name: {"merged": float(n), "of": float(len(pairs))} for name, n in counts.items()}
    return Row("duplicates", kind, half, truth, {name: str(n) for name, n in counts.items()}, figures)


def _footage(options: Options, half: str) -> Iterator[tuple[str, Footage]]:
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


def _make(folder: Path, sources: dict[str, Footage], options: Options) -> Material:
    """Writes every clip into the folder as <name>.mp4."""
    material = Material(defaultdict(list), defaultdict(list), {})

    def write(name: str, footage: Footage, source: str) -> None:
        write_footage(footage, folder / f"{len(material.source)}.mp4")
        material.source[name] = source

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
