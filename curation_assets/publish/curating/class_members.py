"""The candidates of each class in order, class after class: those of some classes are sorted at once, so that memory does not grow with how many candidates there are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from curation_assets.publish.curating.radix_selection import PART

SORTED = 1 << 22
"""Candidates that are sorted at once, but for those of one class that has more."""


def _class_runs(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first class, end) of classes one after the other with `SORTED` candidates at most, or of one class that has more."""
    start = held = 0
    for number, size in enumerate(sizes):
        if held and held + size > SORTED:
            yield start, number
            start, held = number, 0
        held += size
    if len(sizes):
        yield start, len(sizes)


def _members(classes: np.ndarray, usable: np.ndarray, start: int, end: int) -> np.ndarray:
    """int32 (m,): the usable candidates of some classes, in their order."""
    found = [np.empty(0, np.int32)]
    for at in range(0, len(classes), PART):
        part = classes[at : at + PART]
        chosen = usable[at : at + PART] & (part >= start) & (part < end)
        found.append((at + np.flatnonzero(chosen)).astype(np.int32))
    return np.concatenate(found)


def by_class(
    classes: np.ndarray, usable: np.ndarray, sizes: Sequence[int], keys: Sequence[Callable[[np.ndarray], np.ndarray]]
) -> Iterator[tuple[int, np.ndarray]]:
    """(class, its usable candidates in the order of `keys`) of each class."""
    for start, end in _class_runs(sizes):
        index = _members(classes, usable, start, end)
        if end - start == 1:
            index = index[np.lexsort([key(index) for key in keys[::-1]])]
            yield start, index
            continue
        index = index[np.lexsort([*(key(index) for key in keys[::-1]), classes[index]])]
        ends = np.r_[0, np.cumsum(sizes[start:end])].tolist()
        for number, (a, b) in enumerate(pairwise(ends)):
            yield start + number, index[a:b]
