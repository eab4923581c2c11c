"""Object tracks: generated scenes and MOT15 sequences, tracked by the stage and by trackers of the `trackers` package as they come.

The folder may have `tracking/` with sequences as `mot.load` reads them. Generated scenes (`crowds.KINDS`) with even seeds are the first half,
on which the stage's constants were chosen; those with odd ones are the second. Lower is better for switches of identity, higher for MOTA and
IDF1. Of each system it is also counted in how many scenes it has fewer and in how many more switches than the package's ByteTrack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from trackers import BoTSORTTracker, ByteTrackTracker, OCSORTTracker

from benchmarks.truth import mot
from benchmarks.truth.crowds import KINDS
from benchmarks.truth.options import Options
from benchmarks.truth.rows import Row
from curation_assets.tracks.tracks import Tracks

SEEDS, FEW_SEEDS = 20, 4
"""Scenes of each kind and half."""
PEER = "ByteTrack"
SYSTEMS: dict[str, Callable[[mot.Sequence], list[mot.TrackedBox]]] = {
    "stage": lambda sequence: mot.ours(sequence, Tracks()),
    "stage, gaps of 0.5 s filled": lambda sequence: mot.ours(sequence, Tracks(fill_gaps_s=0.5)),
    "stage, tracker bytetrack": lambda sequence: mot.ours(sequence, Tracks(tracker="bytetrack")),
    "stage, tracker ocsort": lambda sequence: mot.ours(sequence, Tracks(tracker="ocsort")),
    PEER: lambda sequence: mot.direct(sequence, ByteTrackTracker(frame_rate=sequence.fps)),
    "OC-SORT": lambda sequence: mot.direct(sequence, OCSORTTracker(frame_rate=sequence.fps)),
    "BoT-SORT": lambda sequence: mot.direct(sequence, BoTSORTTracker(frame_rate=sequence.fps, enable_cmc=False)),
}


def measure(options: Options) -> Iterator[Row]:
    """A row for each kind of scenes and half, and one for each MOT15 sequence of the folder."""
    seeds = range(2 * (FEW_SEEDS if options.small else SEEDS))
    for kind in KINDS:
        for place, half in enumerate(("first", "second")):
            if half in options.halves and options.kinds in kind:
                chosen = [2 * options.seed + s for s in seeds if s % 2 == place]
                yield _row(kind, half, [mot.generated(seed, kind) for seed in chosen])
    for sequence in _sequences(options.folder):
        if options.kinds in sequence.name:
            yield _row(sequence.name, "all", [sequence])


def _sequences(folder: Path | None) -> Iterator[mot.Sequence]:
    for info in sorted((folder / "tracking").glob("*_seqinfo.ini")) if folder else ():
        yield mot.load(info.parent, info.name.removesuffix("_seqinfo.ini"))


def _row(kind: str, half: str, sequences: Sequence[mot.Sequence]) -> Row:
    measured = {name: [mot.evaluate(s.truth, run(s)) for s in sequences] for name, run in SYSTEMS.items()}
    figures = {name: _summary(own, measured[PEER]) for name, own in measured.items()}
    found = {
        name: f"MOTA {f['mota']:.3f}, IDF1 {f['idf1']:.3f}, {f['switches']:.0f} switches ({f['fewer']:.0f} below, {f['more']:.0f} above)"
        for name, f in figures.items()
    }
    objects = sum(len({row.split(",")[1] for row in s.truth}) for s in sequences)
    return Row("tracking", kind, half, f"{objects} objects", found, figures)


def _summary(own: Sequence[mot.Figures], peer: Sequence[mot.Figures]) -> dict[str, float]:
    return {
        "mota": float(np.mean([f.mota for f in own])),
        "idf1": float(np.mean([f.idf1 for f in own])),
        "switches": float(sum(f.switches for f in own)),
        "fewer": float(sum(f.switches < g.switches for f, g in zip(own, peer, strict=True))),
        "more": float(sum(f.switches > g.switches for f, g in zip(own, peer, strict=True))),
    }
