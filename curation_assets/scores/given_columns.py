"""What a score's function gave of one clip, held against the table that it is for.

What belongs here: whether columns and types are those that are declared. What does not: bounds and keys, of which a table is asked as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

LONGEST = 60
"""Characters of a value that are repeated."""


def misfit(given: Mapping[str, Any], contract: pa.Schema) -> str:
    """What of it the table cannot hold, as a phrase that follows the function's name; empty if it holds all."""
    unknown = sorted(str(name) for name in given.keys() - set(contract.names))
    if unknown:
        return f"gave {', '.join(unknown)}, which its table does not declare"
    for name, value in given.items():
        try:
            pa.array([value], contract.field(name).type)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            return f"gave {repr(value)[:LONGEST]} for {name}, which is no {contract.field(name).type}"
    return ""
