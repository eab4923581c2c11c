"""Functions on arrays of numbers, compiled by numba when they are first called. Modules that use it are imported where the work is done."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba


@functools.cache
def _state(folder: Path) -> str:
    """What changes when a module of the folder does."""
    facts = [(p.name, (s := p.stat()).st_mtime_ns, s.st_size) for p in sorted(folder.glob("*.py"))]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, compiled; other threads go on while it runs. What was compiled is kept beside its module, else in the user's cache; where neither may be written, for this
    process alone.

    What it uses of other modules must lie in its own folder: numba (0.68) asks the function's file alone whether what was kept still holds, so
    the place where it is kept says how all modules of the folder stand.
    """
    folder = Path(function.__code__.co_filename).parent
    given = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(Path(given or folder / "__pycache__") / f"numba-{_state(folder)}")
    try:
        made: Callable[..., Any] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba finds no folder to keep it in
        made = numba.njit(nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = given
    return made
