"""What the compiled loops of the search have in common.

What belongs here: words of 64 bits, for which numpy has no function. What does not: hashes and clips (`buckets`, `join`, `worth`).
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features, get_host_cpu_name
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from curation_resources.compiled import compiled

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
Ints = NDArray[np.int64]


def _bits_set(typing_context: Any, value: Any) -> Any:
    """Number of bits that are set (uint64)."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), code


popcount: Any = intrinsic(_bits_set)


def _quick() -> bool:
    """Whether this processor gathers bits by one quick instruction; AMD's before Zen 3 have a slow one."""
    try:
        return bool(get_host_cpu_features().get("bmi2")) and get_host_cpu_name() not in ("znver1", "znver2")
    except RuntimeError:  # LLVM knows nothing of it
        return False


GATHERS: Final = _quick()


def _gathered(typing_context: Any, value: Any, mask: Any) -> Any:
    """The bits of a value at the places of a mask, one beside the other; only where `GATHERS`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.bmi.pext.64"), args)

    return types.uint64(types.uint64, types.uint64), code


gathered: Any = intrinsic(_gathered)


@numba.njit(nogil=True, inline="always")
def bits_at(value: np.uint64, mask: np.uint64) -> Any:
    """The bits of a value at the places of a mask, one beside the other, the lowest first; one after the other where they are not `GATHERS`."""
    if GATHERS:
        return gathered(value, mask)
    return picked(value, mask)


@numba.njit(nogil=True)
def picked(value: np.uint64, mask: np.uint64) -> Any:
    """What `gathered` gives, on any processor."""
    out, place, left = np.uint64(0), np.uint64(0), mask
    while left:
        lowest = left & (~left + np.uint64(1))
        if value & lowest:
            out |= np.uint64(1) << place
        place += np.uint64(1)
        left ^= lowest
    return out


@numba.njit(nogil=True, inline="always")
def both(x: np.uint32, y: np.uint32) -> np.uint64:
    return (np.uint64(x) << np.uint64(32)) | np.uint64(y)


@compiled
def grown(values: U64, count: int, least: int) -> U64:
    larger = np.empty(max(2 * len(values), least), np.uint64)
    larger[:count] = values[:count]
    return larger
