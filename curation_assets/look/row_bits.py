"""Sets of rows, a bit for each: what rules let by, of a hundred million candidates 12.5 MB.

A set is a uint8 array of whole 64-bit words in which row r is bit r % 8 of byte r // 8; bits beyond the last row are zero. Sets are joined with `&` and `|`, and taken from
`everything` to be turned round. What belongs here: sets of rows. What does not: which rows they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curation_assets.look.blocks import BLOCK_ROWS, blocks_of, length_of

Bits = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Rows = NDArray[np.int64]
BLOCK_BYTES = BLOCK_ROWS // 8


def nothing(rows: int) -> Bits:
    """The empty set of so many rows."""
    return np.zeros(-(-rows // 64) * 8, np.uint8)


def everything(rows: int) -> Bits:
    """The set of all rows."""
    found = nothing(rows)
    found[: rows // 8] = 255
    if rows % 8:
        found[rows // 8] = (1 << rows % 8) - 1
    return found


def without(bits: Bits, others: Bits) -> Bits:
    """The rows of a set that another does not have."""
    return bits & ~others


def of_rows(chosen: Rows, rows: int) -> Bits:
    """The set of some of so many rows."""
    found = nothing(rows)
    np.bitwise_or.at(found, chosen >> 3, np.left_shift(1, chosen & 7).astype(np.uint8))
    return found


def of_masks(masks: Sequence[Mask], rows: int) -> Bits:
    """The set that is told block by block: bool, one mask for each block."""
    found = nothing(rows)
    for block, mask in enumerate(masks):
        put(found, block, mask)
    return found


def put(bits: Bits, block: int, mask: Mask) -> None:
    """Says which rows of a block a set has."""
    packed = np.packbits(mask, bitorder="little")
    bits[block * BLOCK_BYTES : block * BLOCK_BYTES + len(packed)] = packed


def mask_of(bits: Bits, block: int, rows: int) -> Mask:
    """bool: which rows of a block a set has."""
    own = bits[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
    return np.unpackbits(own, count=length_of(block, rows), bitorder="little").view(bool)


def number_of(bits: Bits) -> int:
    """How many rows a set has."""
    return int(np.bitwise_count(bits.view(np.uint64)).sum(dtype=np.int64))


def numbers_of(bits: Bits, rows: int) -> NDArray[np.int64]:
    """int64 (blocks,): how many rows of each block a set has."""
    words = np.bitwise_count(bits.view(np.uint64))
    edges = np.arange(blocks_of(rows)) * (BLOCK_ROWS // 64)
    found: NDArray[np.int64] = np.add.reduceat(words, edges, dtype=np.int64) if len(edges) else np.zeros(0, np.int64)
    return found


def has(bits: Bits, row: int) -> bool:
    """Whether a set has a row."""
    return bool(bits[row >> 3] >> (row & 7) & 1)


def at(bits: Bits, rows: Rows) -> Mask:
    """bool (m,): which of some rows a set has."""
    return (bits[rows >> 3] >> (rows & 7).astype(np.uint8) & 1).astype(bool)


def rows_of(bits: Bits, rows: int, offset: int = 0, limit: int | None = None) -> Rows:
    """int64: the rows of a set in order, from the `offset`-th on, up to `limit` of them."""
    counts = numbers_of(bits, rows)
    ends = np.cumsum(counts)
    found: list[Rows] = []
    left = int(ends[-1]) - offset if len(ends) else 0
    left = left if limit is None else min(left, limit)
    block = int(np.searchsorted(ends, offset, side="right"))
    skip = offset - int(ends[block] - counts[block]) if left > 0 else 0
    while left > 0:
        own = np.flatnonzero(mask_of(bits, block, rows))[skip : skip + left] + block * BLOCK_ROWS
        found.append(own)
        left, skip, block = left - len(own), 0, block + 1
    return np.concatenate(found) if found else np.empty(0, np.int64)
