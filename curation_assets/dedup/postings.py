"""Which clips show which hash, and pairs of those that show two hashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.dedup.align import Ints, ranges
from curation_assets.dedup.search import Hashes

COMMON: Final = 256
"""A hash that more distinct clips share (a title card, a logo on black) proposes only pairs with the best so many of them; how often that
happened is reported."""


def flat(column: pa.ChunkedArray, dtype: Any) -> tuple[NDArray[Any], Ints]:
    """The values of a list column one after the other, and where each row's begin, (rows + 1,); null rows are empty."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy().astype(np.int64)
    flattened = pc.list_flatten(column)
    values = flattened.to_numpy(zero_copy_only=False) if hasattr(flattened, "to_numpy") else np.asarray(flattened)
    return values.astype(dtype, copy=False), np.append(0, np.cumsum(lengths))


@dataclass(frozen=True)
class Posting:
    """Which clips show which hash: `clips[start[i] : start[i + 1]]` show `hashes[i]`."""

    hashes: Hashes
    start: Ints
    clips: Ints

    @staticmethod
    def build(hashes: Hashes, clips: Ints) -> Posting:
        order = np.lexsort((clips, hashes))
        hashes, clips = hashes[order], clips[order]
        fresh = np.ones(len(hashes), np.bool_)
        fresh[1:] = (hashes[1:] != hashes[:-1]) | (clips[1:] != clips[:-1])
        hashes, clips = hashes[fresh], clips[fresh]
        first = np.ones(len(hashes), np.bool_)
        first[1:] = hashes[1:] != hashes[:-1]
        start = np.append(np.flatnonzero(first), len(hashes))
        return Posting(hashes[first], start, clips)

    def count(self, index: Ints) -> Ints:
        return self.start[index + 1] - self.start[index]

    def find(self, hashes: Hashes) -> tuple[Ints, NDArray[np.bool_]]:
        """Where each hash lies, and whether it is there at all."""
        index = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return index, self.hashes[index] == hashes

    def counts_of(self, hashes: Hashes) -> Ints:
        """How many clips show each hash."""
        index, there = self.find(hashes)
        return np.where(there, self.count(index), 0)


def product(left: Posting, i: Ints, right: Posting, j: Ints, stats: dict[str, Any]) -> tuple[Ints, Ints]:
    """All pairs of a clip that shows hash i on the left and one that shows hash j on the right; of common hashes, the first `COMMON`
    clips on one side (clips are numbered best first) with all of the other."""
    n, m = left.count(i), right.count(j)
    few_n, few_m = np.minimum(n, COMMON), np.minimum(m, COMMON)
    crowded = (n > COMMON) | (m > COMMON)
    stats["common_pairs_left_out"] += int(((n - few_n) * (m - few_m)).sum())
    a, b = _cells(left, i, n, right, j, few_m)
    if not crowded.any():
        return a, b
    c, d = _cells(left, i[crowded], few_n[crowded], right, j[crowded], m[crowded])
    return np.concatenate([a, c]), np.concatenate([b, d])


def _cells(left: Posting, i: Ints, n: Ints, right: Posting, j: Ints, m: Ints) -> tuple[Ints, Ints]:
    one, pair = ranges(left.start[i], n)
    other, cell = ranges(right.start[j][pair], m[pair])
    return left.clips[one[cell]], right.clips[other]
