"""Which clip survives among those that match, compiled: clips are taken best first, and one is dropped exactly if it matches one that is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.bits import Ints
from curation_resources.compiled import compiled

NONE = -1


@compiled
def survivors(start: Ints, kept: Ints, match: Ints, similarity: NDArray[np.float64], place: Ints, order: Ints) -> Ints:
    """For each node the edge to the node that is kept for it: of those that lie before it and are kept the most similar, then the best, then the
    least match; `NONE` for nodes that are kept themselves, int64 (nodes,).

    Args:
        start: int64 (nodes + 1,), where the edges of each node begin.
        kept: int64 (edges,), the other node of each.
        match: int64 (edges,).
        similarity: float64 (edges,).
        place: int64 (nodes,), in the order in which survivors are chosen; no two have the same.
        order: the nodes that have edges, by their places.
    """
    chosen = np.full(len(place), NONE, np.int64)
    for n in order:
        best = NONE
        for e in range(start[n], start[n + 1]):
            other = kept[e]
            if place[other] >= place[n] or chosen[other] != NONE:
                continue
            if best == NONE or similarity[e] > similarity[best]:
                best = e
            elif similarity[e] == similarity[best]:
                rival = kept[best]
                if place[other] < place[rival] or (other == rival and match[e] < match[best]):
                    best = e
        chosen[n] = best
    return chosen
