"""Boosted trees kept as arrays: the probability that a boundary lies before a frame, from its `evidence`.

`benchmarks/training/cuts.py` makes the file `boundary_trees.npz` with scikit-learn from generated shots; numpy reads it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from curation_resources.compiled import compiled

FILE = Path(__file__).with_name("boundary_trees.npz")
FIRST, LEAST_SUM = 25, -3.5
"""After so many trees a frame whose sum is below this is given up: its probability is 0."""


class Trees:
    """A sum of trees. Node k asks whether feature[k] is above threshold[k]; the answer leads to child[k], or to the one behind it. Leaves lead to themselves.

    Args:
        arrays: `root` (trees,) indices of nodes; `feature`, `threshold`, `child`, `value` (nodes,); `start` (), the sum before the first tree.
    """

    def __init__(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        self._root = arrays["root"].astype(np.int64)
        self._feature = arrays["feature"].astype(np.int64)
        self._threshold = arrays["threshold"].astype(np.float32)
        self._child = arrays["child"].astype(np.int64)
        self._value = arrays["value"].astype(np.float64)
        self._start = float(arrays["start"].astype(np.float64))

    def probabilities(self, evidence: NDArray[np.float32]) -> NDArray[np.float64]:
        """Of each row of `evidence` (n, features): (n,), whatever the other rows are."""
        result = np.zeros(len(evidence))
        nodes = (self._feature, self._threshold, self._child, self._value)
        sums = self._start + _sums(evidence, self._root[:FIRST], *nodes)
        left = np.flatnonzero(sums >= LEAST_SUM)
        sums = sums[left] + _sums(evidence[left], self._root[FIRST:], *nodes)
        result[left] = 1 / (1 + np.exp(-sums))
        return result


@compiled
def _sums(
    evidence: NDArray[np.float32],
    roots: NDArray[np.int64],
    feature: NDArray[np.int64],
    threshold: NDArray[np.float32],
    child: NDArray[np.int64],
    value: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Of each row the sum over the trees, in their order: (n,)."""
    sums = np.zeros(len(evidence))
    for row in range(len(evidence)):
        for root in roots:
            node = root
            while child[node] != node:
                node = child[node] + (evidence[row, feature[node]] > threshold[node])
            sums[row] += value[node]
    return sums


@cache
def boundary_trees() -> Trees:
    """The trees of this package."""
    with np.load(FILE) as arrays:
        return Trees(dict(arrays))
