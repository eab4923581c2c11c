"""The places of ids that come part after part: as `criteria.hash_order` gives them, compiled from where there are many."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa

from curation_assets.publish.curating.criteria import hash_order

COMPILED_FROM = 1_000_000
"""Ids from which loading the compiled function costs less than doing without."""
_COMPILED = "curation_assets.publish.curating.hash_places"


class PlacesOfIds:
    """Gives each id its place; the same with and without the compiled function.

    Args:
        seed: of the order.
        expected: how many ids will come, as far as is known.
    """

    def __init__(self, seed: int, expected: int = 0) -> None:
        self._seed, self._seen = seed, expected

    def of(self, ids: pa.Array | pa.ChunkedArray, before: str = "") -> np.ndarray:
        """uint64 (n,): as `hash_order`."""
        self._seen += len(ids)
        if self._seen < COMPILED_FROM and _COMPILED not in sys.modules:
            return hash_order(ids.to_pylist(), self._seed, before)
        from curation_assets.publish.curating.hash_places import places

        return places(ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids, self._seed, before)
