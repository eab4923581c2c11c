"""Hashes that many clips show (a title card, a logo on black): found, kept with the index, and set apart from those that are looked up.

Such a hash is looked up once for all of its clips, and one of very many clips proposes pairs with the best of them alone. To find them all hashes are
sorted, once; from then on an update counts those of its own clips. A hash that is not known here is shown `unknown` times at most, so that it cannot be one of very
many before that bound says so, and then all are counted again.

What belongs here: which hashes are common, and the clips that show them. What does not: sorting (`buckets`), the search (`search`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup import buckets
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.buckets import Side
from curation_assets.dedup.library import Library
from curation_assets.dedup.search import key_bits, masked
from curation_assets.dedup.segments import Kind, among

COMMON: Final = 256
"""A hash that more distinct clips share proposes only pairs with the best so many of them; how often that happened is reported."""

SHARED: Final = 8
"""A hash that more clips show is known, and looked up once for all of them, since equal hashes meet in every table."""

_STRETCHES: Final = 64
_ALONE_BITS: Final = 6
"""With so many more bits of a key most hashes are alone in their bucket."""

_ITEM_BYTES: Final = 14


@dataclass(frozen=True)
class SharedHashes:
    """The hashes of one kind that many clips show.

    Attributes:
        hashes: uint64, sorted.
        counts: uint64, how often each is shown.
        unknown: how often any other is shown at most.
    """

    hashes: NDArray[np.uint64]
    counts: NDArray[np.uint64]
    unknown: int

    def with_more(self, values: NDArray[np.uint64], *, exactly: bool) -> SharedHashes | None:
        """With the hashes of new clips; None where all must be counted again.

        Args:
            exactly: whether it matters not only which are known, but which of them are shown more than `COMMON` times.
        """
        distinct, counts = np.unique(values, return_counts=True)
        mine = among(distinct, self.hashes)
        ours = self.counts.copy()
        ours[np.searchsorted(self.hashes, distinct[mine])] += counts[mine].astype(np.uint64)
        others, often = distinct[~mine], counts[~mine].astype(np.uint64)
        more = often > _shared()
        unknown = self.unknown + int(often[~more].max(initial=0))
        touched = np.concatenate([ours[np.searchsorted(self.hashes, distinct[mine])], often[more]])
        unsure = (touched <= COMMON) & (touched + np.uint64(unknown) > COMMON)
        if unknown > COMMON or (exactly and unsure.any()):
            return None
        hashes = np.concatenate([self.hashes, others[more]])
        order = np.argsort(hashes)
        return SharedHashes(hashes[order], np.concatenate([ours, often[more]])[order], unknown)


NOTHING: Final = SharedHashes(np.empty(0, np.uint64), np.empty(0, np.uint64), 0)
"""Of a kind of which there are no hashes."""


def _shared() -> int:
    return min(SHARED, COMMON)


@dataclass(frozen=True)
class Hashes:
    """The hashes of one kind of all clips that are hashed by one method, of which stretches are read with the common ones apart.

    Attributes:
        library, kind, method, change: as `Library.side` has them.
        common: uint64, sorted.
        group: int64, of each member the common hash that it shows, ascending.
        members, ranks: as `Side` has them.
        looked_up: how many hashes are looked up, common ones included.
        shown: clips that have any.
    """

    library: Library
    kind: Kind
    method: int
    change: int
    common: NDArray[np.uint64]
    group: Ints
    members: NDArray[np.uint32]
    ranks: NDArray[np.uint32]
    looked_up: int
    shown: int
    _last: dict[tuple[int, int], Side]

    def side(self, low: int, high: int) -> Side:
        """Those of a stretch of distinct clips."""
        held = self._last.pop((low, high), None)
        side = held or _plain(self.library, self.kind, self.method, self.change, low, high)
        if held is None and self.kind != "window_hashes":
            buckets.set_apart(side.hashes, side.start, side.indexed, self.common, True)
        mine = slice(0, len(self.members))
        chosen: Any = mine if high - low == self.library.distinct else (self.members >= low) & (self.members < high)
        begins = np.searchsorted(self.group[chosen], np.arange(len(self.common) + 1))
        return side._replace(
            common=self.common,
            group_start=begins,
            members=self.members[chosen],
            ranks=self.ranks[chosen],
            tie=self.library.ties(low, high),
        )

    @property
    def crowded(self) -> int:
        """Common hashes that more than `COMMON` clips show."""
        return int((self._sizes > COMMON).sum())

    @property
    def left_out(self) -> int:
        """Pairs of clips that show one common hash and that are not proposed by it."""
        return int((np.maximum(0, self._sizes - COMMON) ** 2).sum())

    @property
    def _sizes(self) -> Ints:
        return np.bincount(self.group, minlength=len(self.common))


def _plain(library: Library, kind: Kind, method: int, change: int, low: int, high: int) -> Side:
    return library.side(kind, method, low, high, change)


def hashes_of(
    library: Library, kind: Kind, method: int, change: int, known: SharedHashes, blocks: list[tuple[int, int]]
) -> Hashes:
    """
    Args:
        known: hashes of this kind that many clips show, before they are changed.
        blocks: stretches of distinct clips that are read at a time.
    """
    common = np.sort(known.hashes ^ np.uint64(change))
    if kind == "window_hashes":
        common = common[(known.counts > COMMON)[np.argsort(known.hashes ^ np.uint64(change))]]
    groups, members, looked_up, shown = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0, 0
    last: dict[tuple[int, int], Side] = {}
    for low, high in blocks:
        side = _plain(library, kind, method, change, low, high)
        looked_up += int(side.indexed.sum())
        shown += int((np.diff(side.start) > 0).sum())
        of, clips = buckets.set_apart(side.hashes, side.start, side.indexed, common, kind != "window_hashes")
        both = np.unique(of << 32 | (clips + low))
        groups.append(both >> 32)
        members.append(both & 0xFFFFFFFF)
        last = {(low, high): side} if len(blocks) == 1 else {}
    group, member = np.concatenate(groups), np.concatenate(members)
    place = member.copy()
    many = np.flatnonzero((np.bincount(group, minlength=len(common)) > COMMON)[group])
    place[many[library.best_first(member[many])]] = np.arange(len(many))
    order = np.lexsort((place, group))
    group, best = group[order], member[order].astype(np.uint32)
    first = np.searchsorted(group, np.arange(len(common)))
    ranks = (np.arange(len(group)) - first[group]).astype(np.uint32)
    return Hashes(library, kind, method, change, common, group, best, ranks, looked_up, shown, last)


def count_all(
    library: Library, kind: Kind, method: int, blocks: list[tuple[int, int]], memory_bytes: int
) -> SharedHashes:
    """The hashes of one kind that more than `SHARED` clips show; all of them are sorted, some first bits at a time."""
    hashes = library.hashes(kind)
    key = masked((1 << 64) - 1, key_bits(hashes) + _ALONE_BITS)
    ranges = 1 if not len(blocks) else 1 << key.coarse
    step = max(1, min(_STRETCHES, int(ranges * memory_bytes / max(1, hashes * _ITEM_BYTES))))
    found, counts = [np.empty(0, np.uint64)], [np.empty(0, np.uint64)]
    sides = _again(library, kind, method, blocks)
    tallies = [buckets.coarse_counts(side, key) for side in sides()]
    for low in range(0, ranges, step):
        high = min(ranges, low + step)
        parts = [buckets.spread(side, key, tally, low, high) for side, tally in zip(sides(), tallies, strict=True)]
        for k in range(high - low):
            stretch = [(h[b[k] : b[k + 1]], c[b[k] : b[k + 1]]) for h, c, b in parts]
            values, often = buckets.common_hashes(
                np.concatenate([h for h, _ in stretch]), np.concatenate([c for _, c in stretch]), key, _shared()
            )
            found.append(values)
            counts.append(often)
    hashes_, often = np.concatenate(found), np.concatenate(counts)
    order = np.argsort(hashes_)
    return SharedHashes(hashes_[order], often[order], _shared())


def looked_up(library: Library, kind: Kind, method: int, low: int, high: int) -> NDArray[np.uint64]:
    """The hashes of a stretch of distinct clips that are looked up."""
    side, key = _plain(library, kind, method, 0, low, high), masked(0, 0)
    return buckets.spread(side, key, buckets.coarse_counts(side, key), 0, 1)[0]


def _again(library: Library, kind: Kind, method: int, blocks: list[tuple[int, int]]) -> Any:
    """The sides of blocks, each time from the first; a single one is read once."""
    if len(blocks) == 1:
        only = _plain(library, kind, method, 0, *blocks[0])
        return lambda: iter([only])
    return lambda: (_plain(library, kind, method, 0, low, high) for low, high in blocks)


def stretches(count: int, parts: int) -> list[tuple[int, int]]:
    """So many clips divided evenly."""
    edges = [count * k // parts for k in range(parts + 1)]
    return [(low, high) for low, high in pairwise(edges) if high > low]
