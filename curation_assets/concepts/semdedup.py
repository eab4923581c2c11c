"""SemDeDup's rule within one concept (Abbas, Tirumala, Simig, Ganguli, Morcos: SemDeDup: Data-efficient learning at web-scale through semantic deduplication, 2023).

The clips of a concept stand in an order; each is dropped whose cosine with any clip before it, dropped or not, is above the threshold. So a group keeps
at least one, a clip that comes last drops nobody, and a clip that comes needs to be compared but once with all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 2048
"""Clips that are compared with all others at once."""
DECIMALS = 5
"""To which cosines are rounded, so that sums in another order come to the same."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass
class Nearest:
    """For each clip, in their order, the most similar of those before it.

    Attributes:
        cosine: float32 (n,), -1 where none was compared.
        of: int64 (n,), its place, -1 where none was.
    """

    cosine: Floats
    of: Ints

    @staticmethod
    def unknown(count: int) -> Nearest:
        return Nearest(np.full(count, -1, np.float32), np.full(count, -1, np.int64))

    def improve(self, places: Ints, cosine: Floats, of: Ints) -> None:
        """Takes for some clips another one that is more similar, or as similar and before the one that is known."""
        known, before = self.cosine[places], self.of[places]
        better = (cosine > known) | ((cosine == known) & (of < before))
        self.cosine[places[better]], self.of[places[better]] = cosine[better], of[better]


def compare(vectors: np.ndarray, fresh: NDArray[np.bool_], known: Nearest) -> Nearest:
    """Compares clips with all before them; pairs of clips that are not fresh were compared before.

    Args:
        vectors: (n, d) of length 1, in order.
        fresh: bool (n,), which are to be compared with all.
        known: what is known of the others; it is changed.
    """
    vectors = vectors.astype(np.float32)
    rows = np.flatnonzero(fresh)
    others = np.flatnonzero(~fresh)
    for begin in range(0, len(rows), BLOCK):
        block = rows[begin : begin + BLOCK]
        last = int(block[-1])
        before = _cosines(vectors[block], vectors[: last + 1])
        before[np.arange(last + 1) >= block[:, None]] = -1
        of = before.argmax(axis=1)
        cosine = before[np.arange(len(block)), of]
        seen = block > 0
        known.improve(block[seen], cosine[seen], of[seen])
        after = others[others > block[0]]
        for start in range(0, len(after), BLOCK):
            own = after[start : start + BLOCK]
            cosines = _cosines(vectors[block], vectors[own])
            cosines[block[:, None] >= own] = -1
            first = cosines.argmax(axis=0)
            best = cosines[first, np.arange(len(own))]
            some = best > -1
            known.improve(own[some], best[some], block[first[some]])
    return known


def _cosines(a: np.ndarray, b: np.ndarray) -> Floats:
    return np.clip(np.round(a @ b.T, DECIMALS), -1, 1).astype(np.float32)


def survivors(nearest: Nearest, threshold: float) -> tuple[NDArray[np.bool_], Ints]:
    """Which clips are dropped, bool (n,); and for each the place of the one that is kept at the end of its chain, its own if it is kept."""
    dropped = nearest.cosine > np.float32(threshold)
    kept = np.arange(len(dropped))
    for place in np.flatnonzero(dropped).tolist():  # the clip that it is like comes before, so its own is known
        kept[place] = kept[nearest.of[place]]
    return dropped, kept
