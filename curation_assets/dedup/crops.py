"""Crops, and copies turned by a few degrees: clips whose whole picture is what another clip shows in a window.

A hash of a window of the one is near a hash of the other's whole picture; the courses of the two, laid over each other there, must then agree
in all that both show.

What belongs here: proposing and judging such pairs. What does not: the windows (`decode.measures.windows`), comparing courses (`evidence`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.decode.measures import windows
from curation_assets.dedup.align import WINDOW_MS, Altered, Matches, Samples, ranges
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.courses import Course, Overlay
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.evidence import Agreement, agreement, unlike
from curation_assets.dedup.hash_matches import Comparison
from curation_assets.dedup.parts import flat
from curation_assets.dedup.search import halves
from curation_assets.dedup.second_look import Courses
from curation_assets.dedup.standing import stands_apart
from curation_resources.progress import told

LEAST_LIKENESS: Final = 0.8
MOST_UNLIKE_STILL: Final = 0.25
LEAST_DETAIL: Final = 2.0
"""What the courses of a crop and its original must have in common: likeness, share of the detail that looks different, and detail at all, in
levels of luma. Chosen on the first half of the material of `benchmarks.truth`, area duplicates."""


FEWER: Final = 3
"""Windows are searched in so many times fewer tables than whole pictures: a crop has several frames, most of them nearer than the largest distance."""

_BATCH: Final = 5000

Proposal = tuple[int, int, int, int, int, float]
"""Original, crop, window, time in the crop less that in the original (ms), windows that match, their mean distance."""


@dataclass(frozen=True)
class _Entries:
    """Hashes with the clip that shows each, its window (-1: the whole picture) and the time from the clip's start."""

    hashes: NDArray[np.uint64]
    clip: Ints
    window: Ints
    time_ms: Ints

    def take(self, index: Ints) -> _Entries:
        return _Entries(self.hashes[index], self.clip[index], self.window[index], self.time_ms[index])

    def of(self, clips: Ints) -> tuple[Ints, Ints]:
        """Where those of some clips begin, and how many they are; entries are in the order of their clips."""
        first, end = (np.searchsorted(self.clip, clips, side=side) for side in ("left", "right"))
        return first, end - first


def cropped(
    comparison: Comparison, method: int, courses: Courses, known: Matches, decided: NDArray[np.bool_]
) -> Matches:
    """The pairs of a crop (`short`) and the clip that it shows a part of (`long`), of which at least one clip is new.

    Two titles before one picture over which a camera moves are alike in a window, too, at another time and with the letters in other places. Yet where all that
    changes is alike in the whole of both pictures, neither is a crop of the other, and what stands in them has been compared.

    Args:
        method: which clips, by how they are hashed.
        known: matches of whole pictures.
        decided: which of them are not looked at.
    """
    library = comparison.library
    seen = comparison.hashes("window_hashes", method)
    if not seen.shown:
        return Matches.of([])
    originals, crops = halves(comparison.candidates(seen, comparison.hashes("frames", method), method, FEWER))
    del seen
    done = {frozenset(p) for p in zip(*(s[decided].tolist() for s in (known.short, known.long)), strict=True)}
    sides = library.tie(originals).tolist(), library.tie(crops).tolist()
    left = np.array([frozenset(pair) not in done for pair in zip(*sides, strict=True)], np.bool_)
    originals, crops = originals[left], crops[left]
    found = []
    batches = range(0, len(originals), _BATCH)
    for begin in told(batches, len(batches), "batches of pairs of a window and a picture"):
        found += _looked_at(originals[begin : begin + _BATCH], crops[begin : begin + _BATCH], comparison, courses)
    return Matches.of(found)


def _looked_at(originals: Ints, crops: Ints, comparison: Comparison, courses: Courses) -> list[dict[str, Any]]:
    """The matches among pairs of distinct clips."""
    library, params = comparison.library, comparison.params
    numbers = np.unique(np.concatenate([originals, crops]))
    read = library.samples(numbers)
    whole, stored, rows = read.of(), read.stored, library.rows(numbers)
    originals, crops = np.searchsorted(numbers, originals), np.searchsorted(numbers, crops)
    seen = _windows_of(library.take("windows", rows, ["window_hashes"]), stored["window_ms"])
    anchors = np.flatnonzero(whole.anchors())
    plain = _Entries(whole.hashes[anchors], whole.owner[anchors], np.full(len(anchors), -1), whole.time_ms[anchors])
    (first, count), (other, others) = seen.of(originals), plain.of(crops)
    one, pair = ranges(first, count)
    right, cell = ranges(other[pair], others[pair])
    near = np.bitwise_count(seen.hashes[one[cell]] ^ plain.hashes[right]) <= params.distance
    aspects = stored["picture_aspect"].to_pylist()
    found: dict[tuple[int, int], tuple[float, dict[str, Any]]] = {}
    for original, crop, window, offset, matched, apart in _proposals(
        seen, plain, one[cell[near]], right[near], params.matches
    ):
        both = np.array([original, crop])
        sides = courses.of_rows(rows[both], whole.duration_ms[both])
        if sides[0] is None or sides[1] is None or not aspects[original]:
            continue
        result = _look(sides[0], sides[1], window, aspects[original], offset)
        comparison.stats["pairs_windows"] += 1
        if result is None:
            continue
        match = _match(whole, original, crop, result, matched, apart, params)
        if match is not None and result.likeness > found.get((original, crop), (-1.0, {}))[0]:
            found[original, crop] = result.likeness, match
    return [m for _, m in found.values()]


def _windows_of(table: pa.Table, window_ms: pa.ChunkedArray) -> _Entries:
    """Of clips, each a row: the hashes of the windows that there are."""
    hashes = flat(table["window_hashes"], np.uint64)[0]
    times, start = flat(window_ms, np.int64)
    entries = _Entries(
        hashes,
        np.repeat(np.repeat(np.arange(len(table)), np.diff(start)), windows.COUNT),
        np.tile(np.arange(windows.COUNT), len(times)),
        np.repeat(times, windows.COUNT),
    )
    return entries.take(np.flatnonzero(entries.hashes != 0))


def _proposals(seen: _Entries, plain: _Entries, left: Ints, right: Ints, matches: int) -> list[Proposal]:
    """Where enough windows match; the offset is the one that most of them propose."""
    if not len(left):
        return []
    offset = plain.time_ms[right] - seen.time_ms[left]
    keys = np.stack([seen.clip[left], plain.clip[right], seen.window[left]], axis=1)
    order = np.lexsort((left, offset // WINDOW_MS, keys[:, 2], keys[:, 1], keys[:, 0]))
    keys, left, right, offset = keys[order], left[order], right[order], offset[order]
    first = np.append(True, (np.diff(keys, axis=0) != 0).any(axis=1))
    starts = np.append(np.flatnonzero(first), len(keys))
    held = np.unique(np.stack([seen.clip, seen.window, seen.time_ms], axis=1), axis=0)
    out: list[Proposal] = []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        original, crop, window = keys[begin].tolist()
        distinct = len(np.unique(left[begin:end]))
        if distinct < matches:
            low = np.searchsorted(held[:, 0], original)
            high = np.searchsorted(held[:, 0], original, side="right")
            if distinct < int((held[low:high, 1] == window).sum()):
                continue
        bins, count = np.unique(offset[begin:end] // WINDOW_MS, return_counts=True)
        best = bins[np.lexsort((np.abs(bins), -count))[0]]
        chosen = offset[begin:end] // WINDOW_MS == best
        apart = np.bitwise_count(seen.hashes[left[begin:end]] ^ plain.hashes[right[begin:end]])
        shift = round(float(np.median(offset[begin:end][chosen])))
        out.append((original, crop, window, shift, distinct, float(apart.mean())))
    return out


def _look(original: Course, crop: Course, window: int, aspect: float, offset_ms: int) -> Agreement | None:
    """What the original's window and the crop have in common; None if they are not the same."""
    seen = windows.windows(aspect)[window]
    if seen is None:
        return None
    if seen.degrees:
        cells = windows.look_through(original.cells, seen, aspect)
        still = None if original.still is None else windows.look_through(original.still[None], seen, aspect)[0]
        original, overlay = replace(original, cells=cells, still=still), Overlay()
    else:
        left, top = seen.box[:2]
        overlay = Overlay(1 / seen.width, -left / seen.width, 1 / seen.height, -top / seen.height)
    found = agreement(original, crop, 1.0, offset_ms, [overlay])
    return found if found is not None and _same(found) and not stands_apart(original, crop, found) else None


def _same(found: Agreement) -> bool:
    return (
        found.likeness >= LEAST_LIKENESS
        and found.unlike_still <= MOST_UNLIKE_STILL
        and found.detail >= LEAST_DETAIL
        and not unlike(found)
    )


def _match(
    whole: Samples, original: int, crop: int, found: Agreement, matched: int, apart: float, params: Dedup
) -> dict[str, Any] | None:
    """The match of a crop and its original; None if they have too little time in common."""
    length, full = int(whole.duration_ms[crop]), int(whole.duration_ms[original])
    both = min(length, full + found.offset_ms) - max(0, found.offset_ms)
    coverage = both / max(1, length)
    if coverage < params.coverage:
        return None
    return {
        "short": whole.tie[crop],
        "long": whole.tie[original],
        "similarity": 1 - apart / 64,
        "matched": matched,
        "coverage": coverage,
        "overlap": both / max(1, full) * found.common[0],
        "scale": 1.0,
        "offset_ms": -found.offset_ms,
        "altered": Altered.NOT,
        "center": False,
        "cropped": True,
        "accepted": True,
    }
