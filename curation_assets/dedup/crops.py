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
from curation_assets.dedup.align import WINDOW_MS, Altered, Ints, Matches, Samples, ranges
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.evidence import Agreement, Course, Overlay, agreement, unlike
from curation_assets.dedup.postings import Posting, flat, product
from curation_assets.dedup.search import Hashes, near_pairs, tables
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

Proposal = tuple[int, int, int, int, int, float]
"""Original, crop, window, time in the crop less that in the original (ms), windows that match, their mean distance."""


@dataclass(frozen=True)
class _Entries:
    """Hashes with the clip that shows each, its window (-1: the whole picture) and the time from the clip's start."""

    hashes: Hashes
    clip: Ints
    window: Ints
    time_ms: Ints

    def take(self, index: Ints) -> _Entries:
        return _Entries(self.hashes[index], self.clip[index], self.window[index], self.time_ms[index])


def cropped(
    clips: pa.Table,
    rows: Ints,
    whole: Samples,
    fresh: NDArray[np.bool_],
    courses: Courses,
    known: Matches,
    params: Dedup,
    threads: int,
    stats: dict[str, Any],
) -> Matches:
    """The pairs of a crop (`short`) and the clip that it shows a part of (`long`), of which at least one clip is new.

    Args:
        clips: rows of the index.
        rows: the row of each of the clips in `whole`.
        whole: the clips' hashes of whole pictures.
        fresh: which of them are new.
        known: matches of whole pictures; pairs that are accepted there are not looked at.
    """
    done = {frozenset(p) for p in zip(*(s[known.accepted].tolist() for s in (known.short, known.long)), strict=True)}
    seen = _windows_of(clips, rows, whole)
    anchors = np.flatnonzero(whole.anchors())
    plain = _Entries(whole.hashes[anchors], whole.owner[anchors], np.full(len(anchors), -1), whole.time_ms[anchors])
    seen, plain = (_best_first(e, whole) for e in (seen, plain))
    left, right = _near(seen, plain, fresh, params.distance, threads, stats)
    proposals = _proposals(seen, plain, left, right, params.matches)
    aspects = clips["picture_aspect"].take(rows).to_pylist()
    found: dict[tuple[int, int], tuple[float, dict[str, Any]]] = {}
    for original, crop, window, offset, matched, apart in told(
        proposals, len(proposals), "pairs of a window and a picture"
    ):
        if frozenset((int(whole.tie[original]), int(whole.tie[crop]))) in done:
            continue
        sides = courses.of(whole.tie[[original, crop]])
        if sides[0] is None or sides[1] is None or not aspects[original]:
            continue
        result = _look(sides[0], sides[1], window, aspects[original], offset)
        stats["pairs_windows"] += 1
        if result is None:
            continue
        match = _match(whole, original, crop, result, matched, apart, params)
        if match is not None and result.likeness > found.get((original, crop), (-1.0, {}))[0]:
            found[original, crop] = result.likeness, match
    return Matches.of([m for _, m in found.values()])


def _windows_of(clips: pa.Table, rows: Ints, whole: Samples) -> _Entries:
    values, start = flat(clips["window_hashes"], np.uint64)
    times, time_start = flat(clips["window_ms"], np.int64)
    frames = np.diff(time_start)[rows]
    index, clip = ranges(time_start[rows], frames)
    hashes = values[ranges(start[rows], frames * windows.COUNT)[0]]
    frame_time = times[index]
    entries = _Entries(
        hashes,
        np.repeat(clip, windows.COUNT),
        np.tile(np.arange(windows.COUNT), len(frame_time)),
        np.repeat(frame_time, windows.COUNT),
    )
    return entries.take(np.flatnonzero(entries.hashes != 0))


def _best_first(entries: _Entries, whole: Samples) -> _Entries:
    """In the order in which the clips of a common hash are taken: longest first."""
    clip = entries.clip
    return entries.take(np.lexsort((entries.window, entries.time_ms, whole.tie[clip], -whole.duration_ms[clip])))


def _near(
    seen: _Entries,
    plain: _Entries,
    fresh: NDArray[np.bool_],
    distance: int,
    threads: int,
    stats: dict[str, Any],
) -> tuple[Ints, Ints]:
    """Entries of windows and of whole pictures with near hashes, of different clips of which at least one is new."""
    empty = np.empty(0, np.int64)
    if not len(seen.hashes) or not len(plain.hashes):
        return empty, empty
    ours, theirs = (Posting.build(e.hashes, np.arange(len(e.hashes))) for e in (seen, plain))
    every = np.union1d(ours.hashes, theirs.hashes)
    asked = np.zeros(len(every), np.bool_)
    for entries in (seen,) if fresh.all() else (seen, plain):
        asked[np.searchsorted(every, entries.hashes[fresh[entries.clip]])] = True
    i, j = near_pairs(every, distance, asked, threads, -(-tables(distance) // FEWER))
    equal = np.flatnonzero(asked)
    found = []
    for one, other in ((i, j), (j, i), (equal, equal)):
        (k, has_k), (m, has_m) = ours.find(every[one]), theirs.find(every[other])
        both = has_k & has_m
        found.append(product(ours, k[both], theirs, m[both], stats))
    left, right = (np.concatenate([f[side] for f in found]) for side in (0, 1))
    wanted = (seen.clip[left] != plain.clip[right]) & (fresh[seen.clip[left]] | fresh[plain.clip[right]])
    return left[wanted], right[wanted]


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
