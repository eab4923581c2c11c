"""Copies that were mirrored, reversed or made negative: what their clips would show if that were undone.

What belongs here: the hashes and times of a clip that is altered back. What does not: comparing them (`align`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.dedup.align import Altered, Ints, Samples, ranges
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.postings import flat

INVERTED: Final = {"phash": (1 << 63) - 1, "dhash": (1 << 64) - 1, "ahash": (1 << 64) - 1, "whash": (1 << 64) - 1}
"""Bits of each method's hash that the negative of a picture inverts, but for those of equal values: all but the highest of phash, which is of the mean."""


@dataclass(frozen=True)
class Variant:
    """Clips altered back.

    Attributes:
        samples: of all clips, numbered as they are.
        known: bool (clips,), of which clips it is known what they would show.
    """

    altered: Altered
    samples: Samples
    known: NDArray[np.bool_]


def variants(clips: pa.Table, rows: Ints, whole: Samples, method: str, params: Dedup) -> list[Variant]:
    """Those that the parameters ask for.

    Args:
        clips: rows of the index.
        rows: the clips that were gathered; those without hashes are not in `whole`.
    """
    everything = np.ones(whole.clips, np.bool_)
    out = []
    if params.flipped:
        mirrored = _mirrored(clips, rows, whole)
        out += [] if mirrored is None else [mirrored]
    if params.reversed:
        out.append(Variant(Altered.REVERSED, _reversed(whole), everything))
    if params.negative:
        hashes = whole.hashes ^ np.uint64(INVERTED[method])
        out.append(Variant(Altered.NEGATIVE, replace(whole, hashes=hashes), everything))
    return out


def _mirrored(clips: pa.Table, rows: Ints, whole: Samples) -> Variant | None:
    """From the stored hashes of mirrored frames; None if no clip has any."""
    stored, start = flat(clips["flipped_hashes"], np.uint64)
    rows = rows[np.diff(flat(clips["hashes"], np.uint64)[1])[rows] > 0]
    known = np.diff(start)[rows] > 0
    if not known.any():
        return None
    hashes, counts = np.zeros(len(whole.hashes), np.uint64), np.diff(whole.start)
    hashes[np.repeat(known, counts)] = stored[ranges(start[rows], counts * known)[0]]
    return Variant(Altered.MIRRORED, replace(whole, hashes=hashes), known)


def _reversed(whole: Samples) -> Samples:
    """Run backwards: a hash that held from its own time until that of the next one begins where it ended."""
    counts = np.diff(whole.start)
    owner = whole.owner
    until = np.append(whole.time_ms[1:], 0)
    ends = whole.start[1:][counts > 0] - 1
    until[ends] = np.maximum(whole.duration_ms[owner[ends]], whole.time_ms[ends])
    begin = np.maximum(0, whole.duration_ms[owner] - until)
    backwards = whole.start[1:][owner] - 1 - (np.arange(len(owner)) - whole.start[:-1][owner])
    return replace(whole, hashes=whole.hashes[backwards], time_ms=begin[backwards], blank=whole.blank[backwards])
