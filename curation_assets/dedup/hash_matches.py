"""Pairs of clips that their hashes propose and accept.

What belongs here: samples of stored clips, candidates from near hashes, their comparison. What does not: what else decides (`second_look`,
`crops`), and what is stored (`index`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.dedup import postings
from curation_assets.dedup.align import Altered, Comparer, Ints, Matches, Samples, ranges
from curation_assets.dedup.altered import Variant
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.postings import Posting, flat, product
from curation_assets.dedup.search import near_pairs

SURE: Final = 0.9
"""Similarity of whole frames from which the central parts are not asked: bars move what lies in the centre of the frame, but change the
hash of the picture inside them little; pictures that only a logo makes alike were at most 0.87 similar."""


def gather(clips: pa.Table, rows: Ints, signatures: NDArray[np.uint64], *, center: bool = False) -> Samples:
    """The samples of some clips.

    Args:
        rows: the clips, as rows of the index.
        signatures: theirs.
        center: take the hashes of the central part, without the clips that lack them.
    """
    values, start = flat(clips["center_hashes" if center else "hashes"], np.uint64)
    blank = flat(clips["center_blank" if center else "blank"], np.bool_)[0]
    times, time_start = flat(clips["time_ms"], np.int64)
    counts = np.diff(start)[rows]
    rows, signatures, counts = rows[counts > 0], signatures[counts > 0], counts[counts > 0]
    index = ranges(start[rows], counts)[0]
    return Samples(
        start=np.append(0, np.cumsum(counts)),
        hashes=values[index],
        time_ms=times[ranges(time_start[rows], counts)[0]],
        blank=blank[index],
        duration_ms=pc.fill_null(clips["duration_ms"], 0).to_numpy()[rows],
        tie=signatures,
        center=center,
    )


def compare(
    samples: Samples,
    variants: Sequence[Variant],
    new: NDArray[np.bool_],
    params: Dedup,
    threads: int,
    stats: dict[str, Any],
) -> list[Matches]:
    """Matches among clips hashed by one method of which at least one is new (by signature), with signatures for clips.

    Args:
        variants: what else clips may show.
    """
    best = np.lexsort((samples.tie, -samples.duration_ms))
    place = np.empty_like(best)
    place[best] = np.arange(len(best))
    anchors = np.flatnonzero(samples.anchors())
    owner = place[samples.owner[anchors]]
    plain = Posting.build(samples.hashes[anchors], owner)
    fresh = new[best]
    stats["comparable_clips"] = max(stats["comparable_clips"], len(np.unique(owner)))
    stats["hashes"] += len(plain.hashes)
    stats["common_hashes"] += int((np.diff(plain.start) > postings.COMMON).sum())
    if not len(plain.hashes):
        return []
    shown = [_posting(v, plain, anchors, owner, v.known[best]) for v in variants]
    every = np.unique(np.concatenate([plain.hashes, *(p.hashes for p in shown if p is not plain)]))
    is_new = np.zeros(len(every), np.bool_)
    for posting in (plain, *shown):
        touched = np.repeat(posting.hashes, np.diff(posting.start))[fresh[posting.clips]]
        is_new[np.searchsorted(every, touched)] = True
    i, j = near_pairs(every, params.distance, None if is_new.all() else is_new, threads)

    def matches(comparer: Comparer, a: Ints, b: Ints, wanted: NDArray[np.bool_]) -> Matches:
        wanted = wanted & (a != b) & (fresh[a] | fresh[b])
        low, high = np.minimum(a, b)[wanted], np.maximum(a, b)[wanted]
        keys = np.unique(low * np.int64(len(best)) + high)
        stats["pairs_compared"] += len(keys)
        found = comparer.compare(best[keys // len(best)], best[keys % len(best)])
        found = found.take(found.accepted | (found.matched >= params.matches))
        return replace(found, short=samples.tie[found.short], long=samples.tie[found.long])

    def pairs(left: Posting, right: Posting) -> tuple[Ints, Ints]:
        equal = np.flatnonzero(is_new & (left.counts_of(every) > (1 if left is right else 0)))
        sides = [(i, j), (equal, equal)] if left is right else [(i, j), (j, i), (equal, equal)]
        found = []
        for one, other in sides:
            (k, has_k), (m, has_m) = left.find(every[one]), right.find(every[other])
            both = has_k & has_m
            found.append(product(left, k[both], right, m[both], stats))
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])

    a, b = pairs(plain, plain)
    out = [matches(Comparer(samples, params), a, b, np.ones(len(a), np.bool_))]
    for variant, posting in zip(variants, shown, strict=True):
        known = variant.known[best]
        a, b = pairs(posting, plain)
        out.append(matches(Comparer(samples, params, variant.samples, variant.altered), a, b, known[a] & known[b]))
    return out


def _posting(variant: Variant, plain: Posting, anchors: Ints, owner: Ints, known: NDArray[np.bool_]) -> Posting:
    """Which clips, numbered best first, show which hash when they are altered back."""
    if variant.altered is Altered.REVERSED:
        return plain
    has = known[owner]
    return Posting.build(variant.samples.hashes[anchors][has], owner[has])


def uncontradicted(matches: Matches, central: Samples, params: Dedup) -> Matches:
    """Whole frames' matches, not accepted where the central parts show different things: a large logo or frame on dark pictures
    makes them alike."""
    if not central.clips:
        return matches
    short, long = (
        np.minimum(np.searchsorted(central.tie, s), central.clips - 1) for s in (matches.short, matches.long)
    )
    known = (central.tie[short] == matches.short) & (central.tie[long] == matches.long)
    judged = np.flatnonzero(matches.accepted & (matches.similarity < SURE) & (matches.altered == Altered.NOT) & known)
    comparer = Comparer(central, params)
    scale, offset = matches.scale[judged].astype(np.float64), matches.offset_ms[judged].astype(np.float64)
    refused = judged[comparer.contradicts(short[judged], long[judged], scale, offset)]
    accepted = matches.accepted.copy()
    accepted[refused] = False
    return replace(matches, accepted=accepted)
