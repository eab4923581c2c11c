"""The candidates of a collection by concept: how many each has, how many of them the rules keep, and the clips nearest to its centre."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CONCEPT, DISTANCE = "concept", "concept_distance"
"""The columns of a clip's concept and of how far it is from its centre."""
NEAREST = 4
"""Clips that stand for a concept."""
MOST = 300
"""Concepts of an answer, those with the most clips."""


def by_concept(
    concepts: NDArray[np.float64], distances: NDArray[np.float64], kept: NDArray[np.bool_], which: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    """Concepts of the candidates that are shown, those with the most first.

    Args:
        concepts: (n,) the number of each candidate's concept; nan without one.
        distances: (n,) from its centre; nan where unknown.
        kept: (n,) what the rules let by.
        which: (n,) what is shown.

    Returns:
        For each its number, how many candidates it has and how many of them are kept, and the rows of those nearest to its centre.
    """
    rows = np.flatnonzero(which & np.isfinite(concepts))
    far = np.where(np.isfinite(distances[rows]), distances[rows], np.inf)
    rows = rows[np.lexsort((far, concepts[rows]))]
    numbers, starts, counts = np.unique(concepts[rows], return_index=True, return_counts=True)
    found = []
    for at in np.argsort(-counts, kind="stable")[:MOST].tolist():
        own = rows[starts[at] : starts[at] + counts[at]]
        found.append(
            {"concept": int(numbers[at]), "rows": len(own), "kept": int(kept[own].sum()), "nearest": own[:NEAREST]}
        )
    return found
