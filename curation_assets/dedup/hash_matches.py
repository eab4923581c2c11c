"""Pairs of clips that their hashes propose and accept.

What belongs here: which kinds of hashes are searched for candidates, and their comparison. What does not: the search (`search`), what else decides
(`second_look`, `crops`), and what is stored (`index`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup import altered, common, search
from curation_assets.dedup.align import Altered, Comparer, Matches, Samples
from curation_assets.dedup.buckets import Side
from curation_assets.dedup.common import Hashes, SharedHashes, hashes_of, stretches
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.library import Library
from curation_assets.dedup.search import Means, Pairs, Plan, Search, halves
from curation_assets.dedup.segments import Kind
from curation_resources.progress import told

SURE: Final = 0.9
"""Similarity of whole frames from which the central parts are not asked: bars move what lies in the centre of the frame, but change the
hash of the picture inside them little; pictures that only a logo makes alike were at most 0.87 similar."""

BATCH: Final = 500_000
"""Pairs whose hashes are in memory at a time, about 0.7 kB of each clip."""

_CLIP_BYTES: Final = 21
_HASH_BYTES: Final = 8
_GROUPED_BYTES: Final = 20
_UNSORTED: Final = 1.6
"""What may be held is so many times what else is left beside it for sorting."""

_WHOLE: Final = 0.5
_BLOCK: Final = 0.3
LEAST_CLIPS: Final = 256
"""Of what a search may hold, the share of all hashes that are held at once, and of each of two blocks where they would be more; a block has so many clips at least."""


def side_bytes(side: Side) -> int:
    """Memory that the hashes of a side take."""
    return side.hashes.nbytes + _CLIP_BYTES * len(side.indexed)


def blocks(library: Library, kinds: Sequence[Kind], means: Means, *, few: bool = False) -> list[tuple[int, int]]:
    """Stretches of distinct clips of which two (of one kind), or one of each of two kinds, fit into memory.

    Args:
        few: whether few clips are new: then hashes are held once more, in groups, and nothing is sorted.
    """
    each, memory = (_GROUPED_BYTES, means.memory_bytes * _UNSORTED) if few else (_HASH_BYTES, means.memory_bytes)
    needed = sum(each * library.hashes(kind) + _CLIP_BYTES * library.distinct for kind in kinds)
    room = memory * _WHOLE
    if needed > room:
        room = memory * _BLOCK * len(kinds)
    most = max(1, library.distinct // LEAST_CLIPS)
    return stretches(library.distinct, min(most, max(1, int(-(-needed // max(1, room))))))


def batches(pairs: Pairs) -> tuple[int, Iterator[Pairs]]:
    """Pairs, at most `BATCH` at a time, and into how many parts they come, such that the clips of one lie in few shards.

    Of n parts each has the first clips of one stretch of about the square root of n, and the second ones of another such stretch: 2 / sqrt(n) of all shards
    are read for it. In order of first clips alone it would be nearly all of them, since the second ones lie anywhere.

    Args:
        pairs: sorted.
    """
    divided = stretches(len(pairs), max(1, math.isqrt(-(-len(pairs) // BATCH))))

    def each() -> Iterator[Pairs]:
        for low, high in divided:
            part = pairs[low:high]
            if len(divided) > 1:
                part = part[np.argsort(part & np.uint64(0xFFFFFFFF), kind="stable")]
            yield from (part[begin : begin + BATCH] for begin in range(0, high - low, BATCH))

    return sum(-(-(high - low) // BATCH) for low, high in divided), each()


@dataclass(frozen=True)
class Comparison:
    """What is compared, and how.

    Attributes:
        library: the clips.
        params: when two are the same.
        fresh: bool (distinct clips,); pairs of others are known.
        means: what a search may use.
        known: hashes that many clips show, by method and kind.
        stats: figures, which are added to.
    """

    library: Library
    params: Dedup
    fresh: NDArray[np.bool_]
    means: Means
    known: Mapping[tuple[str, Kind], SharedHashes]
    stats: dict[str, Any]

    def hashes(self, kind: Kind, method: int, change: int = 0) -> Hashes:
        known = self.known.get((self.library.methods[method], kind), common.NOTHING)
        return hashes_of(self.library, kind, method, change, known, self._blocks([kind]))

    @property
    def _few(self) -> bool:
        """Whether few clips are new: then blocks are such that there is room for hashes in groups."""
        return int(self.fresh.sum()) <= search.FEW * len(self.fresh)

    def _blocks(self, kinds: Sequence[Kind]) -> list[tuple[int, int]]:
        return blocks(self.library, kinds, self.means, few=self._few)

    def candidates(self, left: Hashes, right: Hashes | None, method: int, fewer: int = 1) -> Pairs:
        """Pairs of distinct clips worth a comparison, of which at least one is fresh.

        Where the hashes do not fit into memory, blocks of clips are searched against each other: a pair is found or not by its own hashes, whatever the blocks.
        """
        plan = Plan.of(self.library.key_bits, self.library.methods[method], self.params, fewer)
        worth = search.worth(self.params, self.library.key_bits, common.COMMON)
        kinds = [left.kind] if right is None else [left.kind, right.kind]
        divided = self._blocks(kinds)
        new = [bool(self.fresh[low:high].any()) for low, high in divided]
        found = []
        for j, theirs in enumerate(divided):
            other: Side | None = None
            for i, ours in enumerate(divided):
                if (i > j and right is None) or not (new[i] or new[j]):
                    continue
                if other is None:
                    other = (right or left).side(*theirs)
                one, two = (other, None) if right is None and i == j else (left.side(*ours), other)
                held = [one] if two is None else [one, two]
                sorted_ = sum(int(side.indexed.sum()) for side in held)
                room = self.means.memory_bytes - sum(side_bytes(side) for side in held)
                rounds = search.rounds(sorted_, self.means.threads, max(room, self.means.memory_bytes // 4))
                piece = Search(one, two, self.fresh, plan, worth, rounds, self._few)
                found.append(search.candidates(piece, self.means))
                del one, two, held, piece
        return search.unique(found)

    def matches(self, method: int) -> list[Matches]:
        """Matches among the clips hashed by one method of which at least one is fresh, with signatures for clips."""
        whole = self.hashes("frames", method)
        self.stats["hashes"] += whole.looked_up
        self.stats["comparable_clips"] = max(self.stats["comparable_clips"], whole.shown)
        self.stats["common_hashes"] += whole.crowded
        self.stats["common_pairs_left_out"] += whole.left_out
        pairs = self.candidates(whole, None, method)
        out = [self._compared(pairs, method)]
        if self.params.reversed:
            out.append(self._compared(pairs, method, Altered.REVERSED))
        if self.params.flipped:
            out.append(self._of_variant(self.hashes("flipped_frames", method), whole, method, Altered.MIRRORED))
        if self.params.negative:
            inverted = altered.INVERTED[self.library.methods[method]]
            out.append(self._of_variant(self.hashes("frames", method, inverted), whole, method, Altered.NEGATIVE))
        del whole
        if self.params.center:
            middle = self.hashes("center_frames", method)
            self.stats["hashes"] += middle.looked_up
            self.stats["common_hashes"] += middle.crowded
            out.append(self._compared(self.candidates(middle, None, method), method, center=True))
        return out

    def _of_variant(self, shown: Hashes, whole: Hashes, method: int, kind: Altered) -> Matches:
        a, b = halves(self.candidates(shown, whole, method))
        low, high = np.minimum(a, b).astype(np.uint64), np.maximum(a, b).astype(np.uint64)
        return self._compared(np.unique(low << np.uint64(32) | high), method, kind)

    def _compared(self, pairs: Pairs, method: int, kind: Altered = Altered.NOT, *, center: bool = False) -> Matches:
        self.stats["pairs_compared"] += len(pairs)
        found = [Matches.of([])]
        count, parts = batches(pairs)
        for batch in told(parts, count, "batches of pairs compared"):
            a, b = halves(batch)
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
