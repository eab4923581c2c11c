"""The survivor of each clip is the one that going through the clips, best first, would give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from curation_assets.dedup.survivors import NONE, survivors


def one_by_one(edges: list[tuple[int, int, int, float]], place: list[int]) -> dict[int, tuple[int, int]]:
    """Dropped node -> (kept node, match). An edge is (node, other, match, similarity)."""
    chosen: dict[int, tuple[int, int]] = {}
    for n in sorted(range(len(place)), key=lambda n: place[n]):
        able = [
            (-similarity, place[other], match, other)
            for node, other, match, similarity in edges
            if node == n and place[other] < place[n] and other not in chosen
        ]
        if able:
            *_, match, other = min(able)
            chosen[n] = (other, match)
    return chosen


@pytest.mark.parametrize("seed", range(30))
def test_survivors(seed: int) -> None:
    chance: Any = np.random.default_rng(seed)
    nodes, count = int(chance.integers(1, 25)), int(chance.integers(0, 80))
    place = chance.permutation(nodes)
    edges = [
        (int(a), int(b), -1 if chance.random() < 0.2 else match, float(chance.choice([0.7, 0.9, 1.0])))
        for match, (a, b) in enumerate(chance.integers(0, nodes, (count, 2)))
        if a != b
    ]
    edges.sort(key=lambda e: e[0])
    node, other, match, similarity = (np.array([e[k] for e in edges], float if k == 3 else np.int64) for k in range(4))
    start = np.searchsorted(node, np.arange(nodes + 1))
    connected = np.flatnonzero(np.diff(start))
    found = survivors(start, other, match, similarity, place, connected[np.argsort(place[connected])])
    told = {n: (int(other[e]), int(match[e])) for n, e in enumerate(found.tolist()) if e != NONE}
    assert told == one_by_one(edges, place.tolist())
