"""The number of a rank, and the first so many of each group, among numbers that come part by part: nothing is sorted, and held is what is counted.

Radix selection: each pass counts, of the numbers that begin with the bits found so far, those that go on with each value of the next ones, which says where the rank
lies. Numbers are compared as keys of 64 bits (`keys_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

STEP, STEP_OF_GROUPS = 16, 8
"""Bits by which a key is narrowed down in a pass: of one group, of several."""
MOST_GROUPS = 1 << 14
"""Groups that are told apart: of each, 2^STEP_OF_GROUPS numbers of eight bytes are counted."""
PART = 1 << 20
"""Numbers that are looked at at a time."""
_SIGN = np.uint64(1 << 63)

Keys = Callable[[slice], np.ndarray]
"""Part of what is ordered -> its keys, uint64; the same each time it is called."""
Parts = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]
"""Gives (keys, groups) of all numbers, part by part; the same each time it is called."""


def keys_of(values: np.ndarray) -> np.ndarray:
    """uint64 (n,) in the order of `values`: floats, none of them nan, with -0.0 as 0.0, or whole numbers from 0."""
    if values.dtype.kind != "f":
        return values.astype(np.uint64, copy=False)
    bits = (values.astype(np.float64, copy=False) + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def number_of(key: int) -> float:
    """The float that a key stands for."""
    bits = np.uint64(key)
    return float(np.array([bits ^ _SIGN if bits & _SIGN else ~bits], np.uint64).view(np.float64)[0])


def at_rank(parts: Parts, ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The key that so many of its group come before.

    Args:
        parts: all keys, with the number of each one's group.
        ranks: int64 (groups,), at least 0.

    Returns:
        (uint64 (groups,), the keys; bool (groups,), whether there is none since the group has no more than so many).
    """
    count, left = len(ranks), ranks.astype(np.int64)
    step = STEP if count == 1 else STEP_OF_GROUPS
    found, none = np.zeros(count, np.uint64), np.zeros(count, bool)
    for bits in range(0, 64, step):
        counts = np.zeros(count << step, np.int64)
        for keys, groups in parts():
            if bits:
                begins = keys >> np.uint64(64 - bits) == found[groups]
                keys, groups = keys[begins], groups[begins]
            following = (keys >> np.uint64(64 - bits - step) & np.uint64((1 << step) - 1)).astype(np.int64)
            counts += np.bincount((groups.astype(np.int64) << step) + following, minlength=len(counts))
        ends = np.cumsum(counts.reshape(count, 1 << step), axis=1)
        if not bits:
            none = ends[:, -1] <= left
        value = np.minimum((ends <= left[:, None]).sum(axis=1), (1 << step) - 1)
        left -= np.where(value > 0, ends[np.arange(count), value - 1], 0)
        found = found << np.uint64(step) | value.astype(np.uint64)
    return found, none


def first_of_each(usable: np.ndarray, orders: Sequence[Keys], wanted: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Which are the first so many of their group; of those that are equal in all orders, the earlier ones.

    Args:
        usable: bool (n,), which are looked at.
        orders: the keys that they are ordered by, the most important ones first.
        wanted: int (groups,), how many of each group; at most `MOST_GROUPS` of these.
        groups: int (n,), at least 0 where one is usable.

    Returns:
        bool (n,).
    """
    chosen, open_, left = np.zeros(len(usable), bool), usable.copy(), wanted.astype(np.int64)

    def undecided() -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
        """(which of a part, their groups, the part)."""
        for start in range(0, len(open_), PART):
            part = slice(start, min(start + PART, len(open_)))
            at = np.flatnonzero(open_[part])
            if len(at):
                yield at, groups[part][at], part

    def take(at: np.ndarray, mine: np.ndarray, part: slice, taken: np.ndarray) -> None:
        nonlocal left
        chosen[part][at[taken]] = True
        left = left - np.bincount(mine[taken], minlength=len(left))

    for keys in orders:
        bounds, whole = at_rank(lambda k=keys: ((k(part)[at], mine) for at, mine, part in undecided()), left)  # type: ignore[misc]
        for at, mine, part in undecided():
            key = keys(part)[at]
            taken = (key < bounds[mine]) | whole[mine]
            open_[part][at] = ~taken & (key == bounds[mine])
            take(at, mine, part, taken)
    for at, mine, part in undecided():
        by = np.argsort(mine, kind="stable")
        place = np.arange(len(by)) - np.searchsorted(mine[by], mine[by])
        taken = np.zeros(len(at), bool)
        taken[by] = place < left[mine[by]]
        take(at, mine, part, taken)
    return chosen
