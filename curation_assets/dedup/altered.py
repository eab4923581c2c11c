"""Copies that were mirrored, reversed or made negative: what their clips would show if that were undone.

What belongs here: the hashes and times of a clip that is altered back. What does not: comparing them (`align`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.dedup.align import Altered, Samples
from curation_assets.dedup.parts import flat

INVERTED: Final = {"phash": (1 << 63) - 1, "dhash": (1 << 64) - 1, "ahash": (1 << 64) - 1, "whash": (1 << 64) - 1}
"""Bits of each method's hash that the negative of a picture inverts, but for those of equal values: all but the highest of phash, which is of the mean."""


def back(samples: Samples, stored: pa.Table, kind: Altered, method: str) -> tuple[Samples, NDArray[np.bool_]]:
    """What some clips would show if they were altered back, and of which of them that is known.

    Args:
        stored: the rows of the same clips in the index's block of samples.
        method: how they are hashed.
    """
    everything = np.ones(samples.clips, np.bool_)
    if kind is Altered.REVERSED:
        return _reversed(samples), everything
    if kind is Altered.NEGATIVE:
        return replace(samples, hashes=samples.hashes ^ np.uint64(INVERTED[method])), everything
    flipped, start = flat(stored["flipped_hashes"], np.uint64)
    known = np.diff(start) > 0
    hashes, counts = np.zeros(len(samples.hashes), np.uint64), np.diff(samples.start)
    hashes[np.repeat(known, counts)] = flipped
    return replace(samples, hashes=hashes), known


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
