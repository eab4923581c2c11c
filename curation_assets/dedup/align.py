"""Whether two clips show the same: their hashes compared along a common time line.

A hash holds from its own time until that of the next one. A hypothesis maps the shorter clip's time onto the longer one's (an
offset, or a linear stretch of the whole for changed speed); under it each comparable frame of the shorter clip is compared with what the
longer clip shows at that time, give or take `WINDOW_MS`. The hypothesis under which most frames agree decides.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.alignments import HashedFrames, Limits, aligned_distances, best_alignments
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.duplicate_clusters import Dedup

WINDOW_MS: Final = 150
"""Slack of the alignment: sampling grids differ by up to a grid step, and presentation times are rounded."""

MAX_STRETCH: Final = 1.3
"""Durations that differ by more than this factor are not taken for a change of speed."""

SAME_LENGTH: Final = 0.9
"""Overlap, as a share of both clips, from which they are copies and neither contains the other."""

MAX_ANCHORS: Final = 16
"""HashedFrames of a clip that are indexed and that propose offsets: those that hold longest."""

UNLIKE: Final = 22
"""Mean Hamming distance of aligned frames above which they show different things; of unrelated frames it is about 30."""


class Altered(IntEnum):
    """How the whole of a copy was changed, if it was."""

    NOT = 0
    MIRRORED = 1
    REVERSED = 2
    NEGATIVE = 3


@dataclass(frozen=True)
class Samples:
    """The hashed frames of many clips, one after the other.

    Attributes:
        start: index of each clip's first sample, (clips + 1,).
        hashes: uint64 (samples,).
        time_ms: int64 (samples,), from the clip's start.
        blank: bool (samples,).
        center: whether the hashes are of the central part of the frames.
        duration_ms: int64 (clips,).
        tie: uint64 (clips,), decides which of two clips of one duration counts as the shorter; a function of the clip.
    """

    start: Ints
    hashes: NDArray[np.uint64]
    time_ms: Ints
    blank: NDArray[np.bool_]
    duration_ms: Ints
    tie: NDArray[np.uint64]
    center: bool = False

    @property
    def clips(self) -> int:
        return len(self.duration_ms)

    @property
    def owner(self) -> Ints:
        """The clip of each sample."""
        return np.repeat(np.arange(self.clips), np.diff(self.start))

    def anchors(self, most: int = MAX_ANCHORS) -> NDArray[np.bool_]:
        """Marks the at most `most` frames of each clip that are not blank and hold longest (ties: the earlier)."""
        owner = self.owner
        until = np.append(self.time_ms[1:], 0)
        ends = self.start[1:][np.diff(self.start) > 0] - 1
        until[ends] = np.maximum(self.duration_ms[owner[ends]], self.time_ms[ends])
        hold = until - self.time_ms
        many = np.diff(self.start) > most
        marked = ~self.blank
        crowded = np.flatnonzero(many[owner] & ~self.blank)
        order = crowded[np.lexsort((crowded, -hold[crowded], owner[crowded]))]
        marked[order[_rank_in_group(owner[order]) >= most]] = False
        return marked


@dataclass(frozen=True)
class Matches:
    """Verified or doubtful pairs of clips, as parallel arrays.

    Attributes:
        short, long: the clips, as numbers within the samples or as signatures; `short` is the one whose frames were looked for
            (of two of about one length it may be the longer).
        similarity: 1 - mean Hamming distance / 64 over the frames that agree.
        matched: number of the shorter clip's frames that match.
        coverage: share of its comparable frames that agree.
        overlap: share of the longer clip's duration that the shorter one overlaps.
        scale, offset_ms: time in the longer clip = scale x time in the shorter one + offset; of a reversed clip, its time from its end.
        altered: uint8, what the shorter clip is of the longer one, as `Altered`.
        center: whether only the central part of the frames was compared.
        cropped: whether the shorter clip shows a part of the longer one's picture; `overlap` is then also of the picture.
        accepted: whether the pair counts as duplicates.
    """

    short: NDArray[Any]
    long: NDArray[Any]
    similarity: NDArray[np.float32]
    matched: Ints
    coverage: NDArray[np.float32]
    overlap: NDArray[np.float32]
    scale: NDArray[np.float32]
    offset_ms: Ints
    altered: NDArray[np.uint8]
    center: NDArray[np.bool_]
    cropped: NDArray[np.bool_]
    accepted: NDArray[np.bool_]

    def take(self, index: NDArray[np.bool_] | Ints) -> Matches:
        return Matches(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @staticmethod
    def of(rows: list[dict[str, Any]]) -> Matches:
        """From a value of every attribute for each pair."""
        columns: dict[str, Any] = {f.name: [row[f.name] for row in rows] for f in fields(Matches)}
        types: dict[str, Any] = {"short": np.uint64, "long": np.uint64, "matched": np.int64, "offset_ms": np.int64}
        types["altered"] = np.uint8
        types |= dict.fromkeys(("similarity", "coverage", "overlap", "scale"), np.float32)
        return Matches(**{name: np.array(values, types.get(name, np.bool_)) for name, values in columns.items()})

    @staticmethod
    def join(parts: list[Matches]) -> Matches:
        return Matches(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Matches)})


def _rank_in_group(group: Ints) -> Ints:
    """Position of each element within its run of equal values."""
    if not len(group):
        return np.empty(0, np.int64)
    first = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    return np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group))))


def ranges(start: Ints, count: Ints) -> tuple[Ints, Ints]:
    """All indexes of the ranges [start, start + count) one after the other, and the range that each belongs to."""
    which = np.repeat(np.arange(len(start)), count)
    within = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    return start[which] + within, which


def _frames(samples: Samples) -> HashedFrames:
    marked, comparable = samples.anchors(), ~samples.blank
    before, able = (np.append(0, np.cumsum(of)) for of in (marked, comparable))
    return HashedFrames(
        samples.start.astype(np.int64),
        samples.hashes,
        samples.time_ms,
        samples.blank,
        samples.duration_ms,
        np.flatnonzero(marked),
        before[samples.start],
        np.diff(able[samples.start]),
    )


@dataclass(frozen=True)
class Comparer:
    """Compares clips of one set of samples.

    Attributes:
        samples: the clips.
        params: largest distance at which two frames match (`distance`) and at which aligned ones agree (`agree`), frames that must match
            (`matches`; a shorter clip with fewer comparable ones needs all of them, and a longer clip of its length), and the least share of the
            shorter clip's comparable frames that must agree (`coverage`).
        unaltered: what the clips would show if they were altered back, clip for clip; None if they are not altered.
        altered: how they are altered.
    """

    samples: Samples
    params: Dedup
    unaltered: Samples | None = None
    altered: Altered = Altered.NOT

    @cached_property
    def _frames(self) -> HashedFrames:
        return _frames(self.samples)

    @cached_property
    def _shown(self) -> HashedFrames:
        """What the shorter clip of each pair is taken to show."""
        return self._frames if self.unaltered is None else _frames(self.unaltered)

    @property
    def _limits(self) -> Limits:
        agree = max(self.params.agree, self.params.distance)
        return Limits(self.params.distance, agree, self.params.matches, WINDOW_MS, MAX_STRETCH)

    def compare(self, a: Ints, b: Ints) -> Matches:
        """Compares pairs of clips.

        Args:
            a, b: the pairs, (n,); which of two is which does not matter.

        Returns:
            A row for each pair of which a frame matches under the best hypothesis. Clips of about one length are compared both ways,
            since the frames of a still clip that begins with a fade are mostly those of the fade: up to two rows.
        """
        duration, tie = self.samples.duration_ms, self.samples.tie
        swap = (duration[a] > duration[b]) | ((duration[a] == duration[b]) & (tie[a] > tie[b]))
        short, long = np.where(swap, b, a), np.where(swap, a, b)
        alike = duration[long] <= MAX_STRETCH * duration[short]
        return self._compare(np.concatenate([short, long[alike]]), np.concatenate([long, short[alike]]))

    def contradicts(
        self, short: Ints, long: Ints, scale: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether the clips, aligned so, look unlike each other: `matches` frames or more can be compared, and their mean distance
        exceeds `UNLIKE`."""
        count, total = aligned_distances(self._shown, self._frames, short, long, scale, offset, WINDOW_MS)
        unlike: NDArray[np.bool_] = (count >= self.params.matches) & (total > UNLIKE * count)
        return unlike

    def _compare(self, short: Ints, long: Ints) -> Matches:
        best = best_alignments(self._shown, self._frames, short, long, self._limits)
        matched = np.flatnonzero(best.matched)
        match, agree, total, scale, offset = (values[matched] for values in best)
        short, long = short[matched], long[matched]

        of = self._frames.comparable[short]
        covered = agree / of
        long_ms = self.samples.duration_ms[long]
        overlap_ms = np.minimum(long_ms, scale * self.samples.duration_ms[short] + offset) - np.maximum(0, offset)
        overlap = np.clip(overlap_ms / np.maximum(1, long_ms), 0, 1)
        enough = (match >= self.params.matches) | ((match == of) & (overlap >= SAME_LENGTH))
        return Matches(
            short=short,
            long=long,
            similarity=(1 - total / agree / 64).astype(np.float32),
            matched=match,
            coverage=covered.astype(np.float32),
            overlap=overlap.astype(np.float32),
            scale=scale.astype(np.float32),
            offset_ms=np.round(offset).astype(np.int64),
            altered=np.full(len(short), self.altered, np.uint8),
            center=np.full(len(short), self.samples.center),
            cropped=np.zeros(len(short), np.bool_),
            accepted=enough & (covered >= self.params.coverage),
        )
