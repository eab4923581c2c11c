"""Rows of candidates, a block at a time: what is counted or looked for in all of them is worked out block by block, side by side, so that nothing is as long as they are many."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

BLOCK_ROWS = 1 << 17
"""Rows of a block; the last one of a collection may have fewer. A multiple of 64, so that no word of `row_bits` is of two blocks."""
MOST_THREADS = 8
Found = TypeVar("Found")


def blocks_of(rows: int) -> int:
    """How many blocks so many rows have."""
    return -(-rows // BLOCK_ROWS)


def length_of(block: int, rows: int) -> int:
    """How many rows a block has, of so many in all."""
    return min(BLOCK_ROWS, rows - block * BLOCK_ROWS)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), "look-blocks")


def side_by_side(work: Callable[[int], Found], blocks: Sequence[int]) -> list[Found]:
    """What `work` gives for each block, in their order. It must not ask for this itself: the threads are as many as they are."""
    if len(blocks) < 2:
        return [work(b) for b in blocks]
    return list(_threads().map(work, blocks))


def in_runs(work: Callable[[Sequence[int]], Found], blocks: int) -> list[Found]:
    """What `work` gives for runs of blocks that follow each other, one for each thread, in their order."""
    runs = min(MOST_THREADS, os.cpu_count() or 1, blocks)
    if runs < 2:
        return [work(range(blocks))]
    edges = [blocks * n // runs for n in range(runs + 1)]
    return list(_threads().map(work, [range(a, b) for a, b in pairwise(edges)]))
