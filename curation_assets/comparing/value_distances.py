"""How far the values of two columns are from each other, row by row: numbers and lists of numbers by how much, all else by whether they are the same.

What belongs here: two columns of equal length. What does not: which rows belong together (`row_differences.py`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
AT_A_TIME = 4096
"""Values that are held as Python objects, of columns that are neither numbers nor texts."""


def distances(a: pa.ChunkedArray, b: pa.ChunkedArray) -> tuple[Floats | None, Floats]:
    """float64 (n,) twice: how far apart, and that as a share of the larger one's size.

    Of lists of numbers, at any depth, it is the largest difference of two numbers at one place, and its share of the largest number of either. What only one
    knows, lists of other lengths, and values of other kinds that are not the same are infinitely far in size, and not a number apart.

    Returns:
        None and the sizes for columns that hold no numbers.
    """
    left, right = _one(a), _one(b)
    if _is_number(left.type) and _is_number(right.type):
        return _of_numbers(left, right)
    if _leaf(left.type) and _leaf(right.type) and _is_list(left.type) and _is_list(right.type):
        return _of_lists(left, right)
    return None, np.where(_same(left, right), 0.0, np.inf)


def directions(a: pa.ChunkedArray, b: pa.ChunkedArray) -> tuple[int, int]:
    """How many numbers are greater in the second, and how many less; of truths, how many came to hold and how many hold no more. None of other kinds."""
    kinds = [pa.types.is_boolean(c.type) or _is_number(c.type) for c in (a, b)]
    if not all(kinds):
        return 0, 0
    left, right = (_floats(_one(c)) for c in (a, b))
    return int((right > left).sum()), int((right < left).sum())


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _leaf(kind: pa.DataType) -> bool:
    """Whether what lies in lists, at whatever depth, is a number."""
    while _is_list(kind):
        kind = kind.value_type
    return _is_number(kind)


def _floats(values: pa.Array) -> Floats:
    found: Floats = pc.fill_null(values.cast(pa.float64(), safe=False), np.nan).to_numpy(zero_copy_only=False)
    return found


def _of_numbers(a: pa.Array, b: pa.Array) -> tuple[Floats, Floats]:
    left, right = _floats(a), _floats(b)
    with np.errstate(invalid="ignore"):
        away = np.where(left == right, 0.0, np.abs(left - right))  # two infinities are the same
    scale = np.maximum(np.abs(left), np.abs(right))
    sizes = np.nan_to_num(np.divide(away, scale, out=np.zeros_like(away), where=scale > 0), nan=0.0, posinf=np.inf)
    one = np.isnan(left) != np.isnan(right)
    return np.where(one, np.nan, away), np.where(one, np.inf, sizes)


def _of_lists(a: pa.Array, b: pa.Array) -> tuple[Floats, Floats]:
    count = len(a)
    rows = np.arange(count)
    other = np.zeros(count, bool)
    while _is_list(a.type) and _is_list(b.type):
        lengths = [pc.fill_null(pc.list_value_length(v), -1).to_numpy(zero_copy_only=False) for v in (a, b)]
        same = lengths[0] == lengths[1]
        other[rows[~same]] = True
        kept = pa.array(same)
        a, b, rows = a.filter(kept), b.filter(kept), rows[same]
        rows = np.repeat(rows, np.maximum(lengths[0][same], 0))
        a, b = pc.list_flatten(a), pc.list_flatten(b)
    if _is_list(a.type) or _is_list(b.type):
        return np.full(count, np.nan), np.full(count, np.inf)
    away, sizes = np.zeros(count), np.zeros(count)
    if len(rows):
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        each, share = _of_numbers(a, b)
        scale = np.nan_to_num(np.fmax(np.abs(_floats(a)), np.abs(_floats(b))))
        largest = np.fmax.reduceat(each, starts)  # what neither side knows is no distance
        most = np.maximum.reduceat(scale, starts)
        of_row = np.divide(largest, most, out=np.zeros_like(largest), where=most > 0)
        unknown = np.maximum.reduceat(np.where(np.isinf(share), np.inf, 0.0), starts)
        away[rows[starts]], sizes[rows[starts]] = np.nan_to_num(largest), np.maximum(np.nan_to_num(of_row), unknown)
    away[other | np.isinf(sizes)], sizes[other] = np.nan, np.inf
    return away, sizes


def _same(a: pa.Array, b: pa.Array) -> NDArray[np.bool_]:
    if a.type == b.type and not pa.types.is_nested(a.type) and not pa.types.is_null(a.type):
        equal = pc.fill_null(pc.equal(a, b), False)
        both = pc.and_(pc.is_null(a), pc.is_null(b))
        found: NDArray[np.bool_] = pc.or_(equal, both).to_numpy(zero_copy_only=False)
        return found
    parts = []
    for start in range(0, len(a), AT_A_TIME):
        left, right = (v.slice(start, AT_A_TIME) for v in (a, b))
        if left.equals(right):
            parts.append(np.ones(len(left), bool))
        else:
            pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
            parts.append(np.array([x == y for x, y in pairs], bool))
    return np.concatenate(parts) if parts else np.zeros(0, bool)
