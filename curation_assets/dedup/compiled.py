"""What the compiled loops of the search have in common.

What belongs here: how functions are compiled, and what numpy has no function for. What does not: hashes and clips (`buckets`, `join`, `worth`).
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
Ints = NDArray[np.int64]


def compiled(function: Any) -> Any:
    """Compiled when it is first called; the machine code is kept beside the module or in the user's cache, where one of them can be written."""
    try:
        return numba.njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:
        return numba.njit(nogil=True, error_model="numpy")(function)


def _bits_set(typing_context: Any, value: Any) -> Any:
    """Number of bits that are set (uint64)."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), code


popcount: Any = intrinsic(_bits_set)


@numba.njit(nogil=True, inline="always")
def both(x: np.uint32, y: np.uint32) -> np.uint64:
    return (np.uint64(x) << np.uint64(32)) | np.uint64(y)


@compiled
def grown(values: U64, count: int, least: int) -> U64:
    larger = np.empty(max(2 * len(values), least), np.uint64)
    larger[:count] = values[:count]
    return larger
