"""How many candidates of a subset each cluster of near-duplicates has: counted shard by shard, asked for when the candidates are written.

Clusters are told apart by 64 bits of a hash of their id, so that one of a hundred million costs eight bytes for each of its clips. Of ten million clusters, two have the same with a
chance of three in a million.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.places_of_ids import PlacesOfIds
from curation_resources.growing_array import GrowingArray


class ClusterSizes:
    """Counts candidates by the id of their cluster."""

    def __init__(self) -> None:
        self._places = PlacesOfIds(0)
        self._seen = GrowingArray(np.uint64)

    def add(self, ids: pa.ChunkedArray) -> None:
        """Counts candidates; those without a cluster are null."""
        self._seen.add(self._places.of(ids.drop_null()))

    @cached_property
    def _counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The clusters, sorted, and how many candidates each has."""
        seen = self._seen.whole()
        seen.sort()  # in place
        starts = np.flatnonzero(np.r_[True, seen[1:] != seen[:-1]]) if len(seen) else np.empty(0, np.int64)
        return seen[starts], np.diff(np.r_[starts, len(seen)])

    def of(self, ids: pa.ChunkedArray) -> pa.Array:
        """int32 (n,): how many candidates the cluster of each has, 1 for those without one. No more are counted after that."""
        names, counts = self._counted
        sizes = np.ones(len(ids), np.int32)
        known = pc.is_valid(ids).to_numpy(zero_copy_only=False)
        sizes[known] = counts[np.searchsorted(names, self._places.of(ids.drop_null()))]
        return pa.array(sizes)
