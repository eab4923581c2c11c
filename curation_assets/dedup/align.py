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

from curation_assets.dedup.duplicate_clusters import Dedup

Ints = NDArray[np.int64]

WINDOW_MS: Final = 150
"""Slack of the alignment: sampling grids differ by up to a grid step, and presentation times are rounded."""

MAX_STRETCH: Final = 1.12
"""Durations that differ by more than this factor are not taken for a change of speed."""

SAME_LENGTH: Final = 0.9
"""Overlap, as a share of both clips, from which they are copies and neither contains the other."""

MAX_ANCHORS: Final = 16
"""Frames of a clip that are indexed and that propose offsets: those that hold longest."""

UNLIKE: Final = 22
"""Mean Hamming distance of aligned frames above which they show different things; of unrelated frames it is about 30."""

_CHUNK: Final = 200_000
_FAR: Final = 64


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


def _anchors(samples: Samples) -> tuple[Ints, Ints]:
    marked = samples.anchors()
    before = np.append(0, np.cumsum(marked))
    return np.flatnonzero(marked), before[samples.start]


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

    @property
    def shown(self) -> Samples:
        """What the shorter clip of each pair is taken to show."""
        return self.samples if self.unaltered is None else self.unaltered

    @cached_property
    def anchors(self) -> tuple[Ints, Ints]:
        """Indexes of the anchor samples, and where those of each clip begin, (clips + 1,)."""
        return _anchors(self.samples)

    @cached_property
    def shown_anchors(self) -> tuple[Ints, Ints]:
        """The same of what is shown."""
        return self.anchors if self.shown is self.samples else _anchors(self.shown)

    @cached_property
    def comparable(self) -> Ints:
        """Number of frames of each clip that are not blank."""
        before = np.append(0, np.cumsum(~self.samples.blank))
        counts: Ints = np.diff(before[self.samples.start])
        return counts

    @cached_property
    def _span(self) -> int:
        longest = max(self.samples.time_ms.max(initial=0), self.samples.duration_ms.max(initial=0))
        return int(longest * MAX_STRETCH) + 2 * WINDOW_MS + 1

    @cached_property
    def _clock(self) -> Ints:
        """Clip and time of each sample in one increasing number."""
        return self.samples.owner * self._span + self.samples.time_ms

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
        short, long = np.concatenate([short, long[alike]]), np.concatenate([long, short[alike]])
        return Matches.join(
            [self._compare(short[i : i + _CHUNK], long[i : i + _CHUNK]) for i in range(0, max(1, len(short)), _CHUNK)]
        )

    def _proposals(self, short: Ints, long: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """Offsets that two agreeing anchors propose, as (n, 2) rows of pair and offset, each once to within half a window;
        and which pairs can have enough agreeing frames at all."""
        (anchors, start), (own, own_start) = self.anchors, self.shown_anchors
        many, own_many = np.diff(start), np.diff(own_start)
        left, pair = ranges(own_start[short], own_many[short])
        right, cell = ranges(start[long][pair], many[long][pair])
        left, pair = left[cell], pair[cell]
        one, other = own[left], anchors[right]
        near = np.bitwise_count(self.shown.hashes[one] ^ self.samples.hashes[other]) <= self.params.distance
        left, pair = left[near], pair[near]
        offset = (self.samples.time_ms[other] - self.shown.time_ms[one])[near]

        fresh = np.ones(len(left), np.bool_)
        fresh[1:] = (left[1:] != left[:-1]) | (pair[1:] != pair[:-1])
        distinct = np.bincount(pair[fresh], minlength=len(short))
        known = (many == self.comparable)[short] & (many == self.comparable)[long]
        possible = ~known | (distinct >= np.minimum(self.params.matches, self.comparable[short]))

        rows = np.stack([pair, offset, offset // (WINDOW_MS // 2)], axis=1)[possible[pair]]
        rows = rows[np.lexsort((rows[:, 1], rows[:, 2], rows[:, 0]))]
        fresh = np.ones(len(rows), np.bool_)
        fresh[1:] = (rows[1:, [0, 2]] != rows[:-1, [0, 2]]).any(axis=1)
        return rows[fresh, :2], possible

    def _hypotheses(self, short: Ints, long: Ints) -> tuple[Ints, NDArray[np.float64], NDArray[np.float64]]:
        """Pair, scale and offset of each hypothesis: those of the anchors, both clips' starts or ends together, and the whole
        clip stretched to the other's length."""
        proposed, possible = self._proposals(short, long)
        every = np.flatnonzero(possible)
        longer = (self.samples.duration_ms[long] - self.samples.duration_ms[short])[every]
        ratio = self.samples.duration_ms[long[every]] / np.maximum(1, self.samples.duration_ms[short[every]])
        other_speed = (ratio <= MAX_STRETCH) & (longer > WINDOW_MS)
        other_end = longer > 0
        ones, zeros = np.ones(len(every)), np.zeros(len(every))
        return (
            np.concatenate([proposed[:, 0], every, every[other_end], every[other_speed]]),
            np.concatenate([np.ones(len(proposed)), ones, ones[other_end], ratio[other_speed]]),
            np.concatenate([proposed[:, 1].astype(np.float64), zeros, longer[other_end], zeros[other_speed]]),
        )

    def _distances(
        self, short: Ints, long: Ints, scale: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> tuple[Ints, NDArray[np.uint8]]:
        """The hypothesis that each comparable frame of `short` belongs to, and its least distance from what `long` shows at
        that time; 64 if it shows nothing comparable."""
        own, row = ranges(self.shown.start[short], np.diff(self.shown.start)[short])
        comparable = ~self.shown.blank[own]
        own, row = own[comparable], row[comparable]
        at = np.round(scale[row] * self.shown.time_ms[own] + offset[row]).astype(np.int64)
        first, end = self.samples.start[long][row], self.samples.start[1:][long][row]
        clock = long[row] * self._span + np.clip(at, 0, self._span - 1)
        active = np.searchsorted(self._clock, clock, side="right") - 1
        hashes, best = self.shown.hashes[own], np.full(len(own), _FAR, np.uint8)
        inside = (at >= -WINDOW_MS) & (at <= self.samples.duration_ms[long][row] + WINDOW_MS)
        last = len(self.samples.hashes) - 1
        for step in (-1, 0, 1):
            index = active + step
            ok = inside & (index >= first) & (index < end)
            index = np.clip(index, 0, last)
            if step == -1:
                ok &= self.samples.time_ms[np.clip(active, 0, last)] > at - WINDOW_MS
            elif step == 1:
                ok &= self.samples.time_ms[index] <= at + WINDOW_MS
            ok &= ~self.samples.blank[index]
            apart = np.bitwise_count(hashes ^ self.samples.hashes[index])
            best = np.where(ok, np.minimum(best, apart), best)
        return row, best

    def _agreement(
        self, short: Ints, long: Ints, scale: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> tuple[Ints, Ints, Ints]:
        """How many frames of `short` match and agree with `long` under each hypothesis, and the distances of the latter, summed."""
        row, best = self._distances(short, long, scale, offset)
        agrees = best <= max(self.params.agree, self.params.distance)
        totals = np.bincount(row[agrees], weights=best[agrees], minlength=len(short))
        return (
            np.bincount(row[best <= self.params.distance], minlength=len(short)),
            np.bincount(row[agrees], minlength=len(short)),
            totals.astype(np.int64),
        )

    def contradicts(
        self, short: Ints, long: Ints, scale: NDArray[np.float64], offset: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether the clips, aligned so, look unlike each other: `matches` frames or more can be compared, and their mean distance
        exceeds `UNLIKE`."""
        row, best = self._distances(short, long, scale, offset)
        aligned = best < _FAR
        count = np.bincount(row[aligned], minlength=len(short))
        total = np.bincount(row[aligned], weights=best[aligned], minlength=len(short))
        return (count >= self.params.matches) & (total > UNLIKE * count)

    def _compare(self, short: Ints, long: Ints) -> Matches:
        pair, scale, offset = self._hypotheses(short, long)
        match, agree, total = self._agreement(short[pair], long[pair], scale, offset)
        order = np.lexsort((scale, offset, np.abs(offset), total, -match, -agree, pair))
        best = order[_rank_in_group(pair[order]) == 0]
        best = best[match[best] > 0]
        pair, match, agree, total, scale, offset = (v[best] for v in (pair, match, agree, total, scale, offset))
        short, long = short[pair], long[pair]

        of = self.comparable[short]
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
