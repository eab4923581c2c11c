"""Pairs of clips that their hashes propose and accept.

What belongs here: which kinds of hashes are searched for candidates, and their comparison. What does not: the search (`search`), what else decides
(`second_look`, `crops`), and what is stored (`index`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup import altered, search
from curation_assets.dedup.align import Altered, Comparer, Matches, Samples
from curation_assets.dedup.buckets import Side
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.library import Kind, Library
from curation_assets.dedup.search import Means, Pairs, Plan, Search, halves
from curation_resources.progress import told

SURE: Final = 0.9
"""Similarity of whole frames from which the central parts are not asked: bars move what lies in the centre of the frame, but change the
hash of the picture inside them little; pictures that only a logo makes alike were at most 0.87 similar."""

BATCH: Final = 500_000
"""Pairs whose hashes are in memory at a time, about 0.7 kB of each clip. The blocks of all shards are read for each batch, since pairs lie anywhere."""


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how.

    Attributes:
        library: the clips.
        params: when two are the same.
        fresh: bool (distinct clips,); pairs of others are known.
        means: what a search may use.
        stats: figures, which are added to.
    """

    library: Library
    params: Dedup
    fresh: NDArray[np.bool_]
    means: Means
    stats: dict[str, Any]

    def side(self, kind: Kind, method: int, change: int = 0) -> Side:
        side = self.library.side(kind, method, change)
        return search.with_common(side, self.library.best_first, search.COMMON)

    def candidates(self, left: Side, right: Side | None, method: int, fewer: int = 1) -> Pairs:
        """Pairs of distinct clips worth a comparison, of which at least one is fresh."""
        hashes = int(left.indexed.sum()) + (0 if right is None else int(right.indexed.sum()))
        plan = Plan.of(self.library.key_bits, self.library.methods[method], self.params, fewer)
        rounds = search.rounds(hashes, self.means)
        return search.candidates(
            Search(left, right, self.fresh, plan, search.worth(self.params, self.library.key_bits), rounds), self.means
        )

    def matches(self, method: int) -> list[Matches]:
        """Matches among the clips hashed by one method of which at least one is fresh, with signatures for clips."""
        whole = self.side("frames", method)
        self.stats["hashes"] += int(whole.indexed.sum()) + len(whole.common)
        self.stats["comparable_clips"] = max(self.stats["comparable_clips"], int((np.diff(whole.start) > 0).sum()))
        self.stats["common_hashes"] += search.crowded(whole, search.COMMON)
        self.stats["common_pairs_left_out"] += search.left_out(whole, search.COMMON)
        pairs = self.candidates(whole, None, method)
        out = [self._compared(pairs, method)]
        if self.params.reversed:
            out.append(self._compared(pairs, method, Altered.REVERSED))
        if self.params.flipped:
            out.append(self._of_variant(self.side("flipped_frames", method), whole, method, Altered.MIRRORED))
        if self.params.negative:
            inverted = altered.INVERTED[self.library.methods[method]]
            out.append(self._of_variant(self.side("frames", method, inverted), whole, method, Altered.NEGATIVE))
        del whole
        if self.params.center:
            middle = self.side("center_frames", method)
            self.stats["hashes"] += int(middle.indexed.sum()) + len(middle.common)
            self.stats["common_hashes"] += search.crowded(middle, search.COMMON)
            out.append(self._compared(self.candidates(middle, None, method), method, center=True))
        return out

    def _of_variant(self, shown: Side, whole: Side, method: int, kind: Altered) -> Matches:
        a, b = halves(self.candidates(shown, whole, method))
        low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
        return self._compared(np.unique(low << np.uint64(32) | high), method, kind)

    def _compared(self, pairs: Pairs, method: int, kind: Altered = Altered.NOT, *, center: bool = False) -> Matches:
        self.stats["pairs_compared"] += len(pairs)
        found = [Matches.of([])]
        batches = range(0, len(pairs), BATCH)
        for begin in told(batches, len(batches), "batches of pairs compared"):
            a, b = halves(pairs[begin : begin + BATCH])
            numbers = np.unique(np.concatenate([a, b]))
            read = self.library.samples(numbers)
            samples = read.of(center=center)
            a, b = np.searchsorted(numbers, a), np.searchsorted(numbers, b)
            unaltered = None
            if kind is not Altered.NOT:
                unaltered, known = altered.back(samples, read.stored, kind, self.library.methods[method])
                a, b = a[known[a] & known[b]], b[known[a] & known[b]]
            matches = Comparer(samples, self.params, unaltered, kind).compare(a, b)
            matches = matches.take(matches.accepted | (matches.matched >= self.params.matches))
            if self.params.center and not center and kind is Altered.NOT:
                matches = uncontradicted(matches, read.of(center=True), self.params)
            found.append(replace(matches, short=samples.tie[matches.short], long=samples.tie[matches.long]))
        return Matches.join(found)


def uncontradicted(matches: Matches, central: Samples, params: Dedup) -> Matches:
    """Whole frames' matches, not accepted where the central parts show different things: a large logo or frame on dark pictures
    makes them alike.

    Args:
        matches: with numbers of clips within the samples.
        central: of the same clips; those without central hashes have none.
    """
    held = np.diff(central.start) > 0
    judged = np.flatnonzero(matches.accepted & (matches.similarity < SURE) & held[matches.short] & held[matches.long])
    if not len(judged):
        return matches
    comparer = Comparer(central, params)
    scale, offset = matches.scale[judged].astype(np.float64), matches.offset_ms[judged].astype(np.float64)
    refused = judged[comparer.contradicts(matches.short[judged], matches.long[judged], scale, offset)]
    accepted = matches.accepted.copy()
    accepted[refused] = False
    return replace(matches, accepted=accepted)
