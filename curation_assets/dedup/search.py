"""Pairs of near-equal 64-bit hashes among many, by bit sampling.

Two hashes are compared when they agree on all bits of one of `tables(distance)` fixed random samples of `KEY_BITS` bits (locality-sensitive
hashing by bit sampling, Indyk and Motwani 1998; on sorted permutations as Manku et al. 2007). Each table is one sort of
the permuted hashes, in which candidates are neighbours and are compared without random access. There is no bucket cap, so whether a
pair is found depends on the pair alone, never on what else is stored: results do not depend on the order of arrival.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curation_resources.progress import told

Hashes = NDArray[np.uint64]
Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]

KEY_BITS: Final = 20
"""Bits of a key: about a million buckets, 30 hashes in each at 30 million hashes."""

RECALL: Final = 0.995
"""Chance to find a pair of clips of which two frames lie at exactly the largest distance; nearer ones are found more surely."""

MAX_TABLES: Final = 1024
_BLOCK: Final = 8192
_WORDS: Final = 4
_KEY_SHIFT: Final = np.uint64(64 - KEY_BITS)


def agreement(distance: int) -> float:
    """Chance that `KEY_BITS` random bits of two 64-bit hashes at the given distance agree."""
    return math.comb(64 - distance, KEY_BITS) / math.comb(64, KEY_BITS)


def tables(distance: int) -> int:
    """Number of tables at which two frames at this distance give a pair with chance `RECALL` (capped at `MAX_TABLES`)."""
    if distance == 0:
        return 1
    return min(MAX_TABLES, math.ceil(math.log(1 - RECALL) / (2 * math.log(1 - agreement(distance)))))


def expected_recall(distance: int, frames: int = 2) -> float:
    """Chance to find a pair of which so many frames lie at exactly this distance."""
    return 1.0 - (1.0 - agreement(distance)) ** (frames * tables(distance))


@cache
def _lookup(table: int) -> tuple[Hashes, Hashes]:
    """Two arrays (4, 65536): where the bits of each 16-bit word go in the table's permutation, and its inverse."""
    order = random.Random(table).sample(range(64), 64)
    forward, back = np.zeros((_WORDS, 1 << 16), np.uint64), np.zeros((_WORDS, 1 << 16), np.uint64)
    words = np.arange(1 << 16, dtype=np.uint64)
    for target, source in enumerate(order):
        for lut, a, b in ((forward, source, target), (back, target, source)):
            bit = (words >> np.uint64(a % 16)) & np.uint64(1)
            lut[a // 16] |= bit << np.uint64(b)
    return forward, back


def _permute(hashes: Hashes, lut: Hashes) -> Hashes:
    """The hashes (n,) with their bits moved by a table of `_lookup`."""
    out = np.empty_like(hashes)
    words = hashes.view(np.uint16).reshape(-1, _WORDS)
    part = np.empty(1 << 16, np.uint64)
    for i in range(0, len(hashes), len(part)):
        block, target = words[i : i + len(part)], out[i : i + len(part)]
        np.take(lut[0], block[:, 0], out=target, mode="clip")
        for word in range(1, _WORDS):
            target |= np.take(lut[word], block[:, word], out=part[: len(target)], mode="clip")
    return out


def _neighbours(ordered: Hashes, distance: int) -> Iterator[tuple[Hashes, Hashes]]:
    """Pairs of sorted permuted hashes with a common key and at most this distance."""
    apart = np.empty(_BLOCK, np.uint64)
    bits = np.empty(_BLOCK, np.uint8)
    same_key = np.uint64(1) << _KEY_SHIFT
    for start in range(0, len(ordered), _BLOCK):
        for step in range(1, len(ordered) - start):
            right = ordered[start + step : start + step + _BLOCK]
            x, count = apart[: len(right)], bits[: len(right)]
            np.bitwise_xor(ordered[start : start + len(right)], right, out=x)
            if x.min() >= same_key:
                break
            np.bitwise_count(x, out=count)
            if count.min() <= distance:
                hit = np.flatnonzero((count <= distance) & (x < same_key))
                yield ordered[start + hit], right[hit]


def _search_table(table: int, hashes: Hashes, new: NDArray[np.bool_] | None, distance: int) -> NDArray[np.uint64]:
    """Hash pairs (n, 2) that one table finds."""
    forward, back = _lookup(table)
    permuted = _permute(hashes, forward)
    if new is not None:
        wanted = np.zeros(1 << KEY_BITS, np.bool_)
        wanted[permuted[new] >> _KEY_SHIFT] = True
        permuted = permuted[wanted[permuted >> _KEY_SHIFT]]
    permuted.sort()
    found = list(_neighbours(permuted, distance))
    if not found:
        return np.empty((0, 2), np.uint64)
    left, right = (_permute(np.concatenate(side), back) for side in zip(*found, strict=True))
    return np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1)


def near_pairs(
    hashes: Hashes, distance: int, new: NDArray[np.bool_] | None = None, threads: int = 2, count: int | None = None
) -> Pairs:
    """Pairs of indexes i < j with hashes at Hamming distance 1 to `distance`, each once, sorted.

    Every pair at distance d is found with chance ``1 - (1 - agreement(d)) ** count``, always the same pairs.

    Args:
        hashes: sorted and without repeats, uint64 (n,).
        distance: the largest Hamming distance, 0 to 16.
        new: only pairs with at least one hash marked here are wanted; None wants all.
        threads: tables that are searched at the same time; each holds one copy of `hashes`.
        count: tables that are searched; by default `tables(distance)`.
    """
    empty = np.empty(0, np.int64)
    if distance == 0 or len(hashes) < 2 or (new is not None and not new.any()):
        return empty, empty
    count = tables(distance) if count is None else count
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        jobs = pool.map(lambda t: _search_table(t, hashes, new, distance), range(count))
        first = [np.empty((0, 2), np.uint64)]
        for found in told(jobs, count, "tables of hashes"):
            first.append(found)
            if sum(map(len, first)) > 50_000_000:
                first = [_unique_pairs(np.concatenate(first))]
    pairs = _unique_pairs(np.concatenate(first))
    i, j = np.searchsorted(hashes, pairs[:, 0]), np.searchsorted(hashes, pairs[:, 1])
    if new is not None:
        wanted = new[i] | new[j]
        i, j = i[wanted], j[wanted]
    return i, j


def _unique_pairs(pairs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs = pairs[order]
    fresh = np.ones(len(pairs), np.bool_)
    fresh[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[fresh]
