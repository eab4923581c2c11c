"""The candidates of a collection by concept: how many each has, how many of them the rules keep, and the clips nearest to its centre."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.look import row_bits
from curation_assets.look.blocks import BLOCK_ROWS, blocks_of, side_by_side
from curation_assets.look.row_bits import Bits
from curation_assets.look.scales import ValuesOf

CONCEPT, DISTANCE = "concept", "concept_distance"
"""The columns of a clip's concept and of how far it is from its centre."""
NEAREST = 4
"""Clips that stand for a concept."""
MOST = 300
"""Concepts of an answer, those with the most clips."""
Part = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]
"""Concepts, distances and rows of some candidates."""


def by_concept(concepts: ValuesOf, distances: ValuesOf, kept: Bits, which: Bits, rows: int) -> list[dict[str, Any]]:
    """Concepts of the candidates that are shown, those with the most first.

    Args:
        concepts: the number of each candidate's concept, block by block; nan without one.
        distances: from its centre, likewise; nan where unknown.
        kept: what the rules let by.
        which: what is shown.
        rows: how many candidates there are.

    Returns:
        For each its number, how many candidates it has and how many of them are kept, and the rows of those nearest to its centre.
    """
    blocks = range(blocks_of(rows))

    def own(block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = concepts(block)
        at = np.flatnonzero(row_bits.mask_of(which, block, rows) & np.isfinite(found))
        return at, found[at].astype(np.int64)

    def count(block: int) -> tuple[Any, Any, Any]:
        at, found = own(block)
        numbers, places = np.unique(found, return_inverse=True)
        alive = row_bits.mask_of(kept, block, rows)[at]
        return numbers, np.bincount(places, minlength=len(numbers)), np.bincount(places, alive, len(numbers))

    counted: dict[int, list[int]] = {}
    for part in side_by_side(count, blocks):
        for number, all_, alive in zip(*(p.tolist() for p in part), strict=True):
            of = counted.setdefault(number, [0, 0])
            of[0] += all_
            of[1] += int(alive)
    shown = sorted(counted, key=lambda n: (-counted[n][0], n))[:MOST]
    wanted = np.array(sorted(shown), np.int64)

    def near(block: int) -> Part:
        at, found = own(block)
        chosen = np.isin(found, wanted)
        far = distances(block)[at[chosen]]
        return _nearest((found[chosen], np.where(np.isfinite(far), far, np.inf), at[chosen] + block * BLOCK_ROWS))

    held: Part = (np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64))
    for start in range(0, len(blocks), 64):
        parts = [held, *side_by_side(near, blocks[start : start + 64])]
        held = _nearest(
            (
                np.concatenate([p[0] for p in parts]),
                np.concatenate([p[1] for p in parts]),
                np.concatenate([p[2] for p in parts]),
            )
        )
    return [
        {"concept": n, "rows": counted[n][0], "kept": counted[n][1], "nearest": held[2][held[0] == n]} for n in shown
    ]


def _nearest(part: Part) -> Part:
    """Of each concept those that are nearest to its centre; of the same distance the first."""
    concepts, distances, rows = part
    order = np.lexsort((rows, distances, concepts))
    concepts = concepts[order]
    begins = np.flatnonzero(np.r_[True, concepts[1:] != concepts[:-1]]) if len(concepts) else np.empty(0, np.int64)
    place = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    chosen = order[place < NEAREST]
    return part[0][chosen], distances[chosen], rows[chosen]
