"""Functions on arrays of numbers, compiled by numba when they are first called. Modules that use it are imported where the work is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled; other threads go on while it runs. What was compiled is kept beside its module, else in the user's cache; where neither may be written, for this
    process alone."""
    try:
        made: Callable[..., Any] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba finds no folder to keep it in
        made = numba.njit(nogil=True)(function)
    return made
