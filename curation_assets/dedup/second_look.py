"""Pairs that hashes accept are looked at again by the courses of the clips; those in which other things change are no duplicates.

What belongs here: fetching the courses of the pairs in question, and no others, from the index's parts. What does not: comparing two (`evidence`).
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.dedup.align import Altered, Matches
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.courses import Course
from curation_assets.dedup.evidence import GOOD, agreement, happens_otherwise, unlike
from curation_assets.dedup.library import Library
from curation_assets.dedup.parts import BLOCKS
from curation_assets.dedup.standing import as_wholes, stands_apart
from curation_resources.progress import told

_BATCH = 4096


class Courses:
    """The courses of stored clips, read as they are asked for."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def in_order(self, asked: Ints, matches: Matches) -> Ints:
        """Some of the matches in the order in which pictures lie, so that those of one block are read once."""
        rows = self._library.rows(self._library.numbers(matches.short[asked]))
        return asked[np.argsort(rows, kind="stable")]

    def of(self, signatures: NDArray[np.uint64]) -> list[Course | None]:
        """One for each signature; None for clips without a course."""
        wanted, where = np.unique(signatures, return_inverse=True)
        rows = self._library.rows(self._library.numbers(wanted))
        known = self.of_rows(rows, self._library.of_rows("duration_ms", rows))
        return [known[i] for i in where]

    def of_rows(self, rows: Ints, duration_ms: Ints) -> list[Course | None]:
        """One for each row of the library, with what is known of its duration."""
        table = self._library.take("pictures", rows, BLOCKS["pictures"].names)
        return [
            Course.of(r["course"], r["duration_ms"], tuple(r["content_box"][name] for name in "xywh"), r["still"])
            if r["course"] and r["content_box"]
            else None
            for r in table.append_column("duration_ms", pa.array(duration_ms)).to_pylist()
        ]


class Verdict(Enum):
    """What a second look says of a pair: the same; other things change; all that changes is alike in the whole of both pictures, and what stands is other."""

    SAME = "same"
    OTHER = "other"
    OTHER_STANDS = "other stands"


def without_unlike(matches: Matches, courses: Courses) -> tuple[Matches, NDArray[np.bool_]]:
    """The matches, not accepted where what changes in the two clips differs, or what stands if little changes.

    Returns:
        The matches, and of which of them all that changes is alike in the whole of both pictures, and something else stands in them.
    """
    asked = courses.in_order(np.flatnonzero(matches.accepted), matches)
    accepted, other_stands = matches.accepted.copy(), np.zeros(len(matches.accepted), np.bool_)
    for start in told(range(0, len(asked), _BATCH), -(-len(asked) // _BATCH), "batches of pairs looked at again"):
        batch = asked[start : start + _BATCH]
        sides = courses.of(matches.short[batch]), courses.of(matches.long[batch])
        for k, short, long in zip(batch.tolist(), *sides, strict=True):
            if short is None or long is None:
                continue
            at = float(matches.scale[k]), int(matches.offset_ms[k])
            said = verdict(short, long, Altered(matches.altered[k]), *at)
            accepted[k] = said is Verdict.SAME
            other_stands[k] = said is Verdict.OTHER_STANDS
    return replace(matches, accepted=accepted), other_stands


def verdict(short: Course, long: Course, altered: Altered, scale: float, offset_ms: int) -> Verdict:
    """Whether two clips show the same once one of them is altered back, or nothing speaks against it.

    Args:
        scale, offset_ms: time in the longer clip = scale x time in the shorter one + offset; of a reversed clip, its time from its end.

    Where nothing moves a clip run backwards is the clip itself: two that are alike backwards must be so forwards, too. And where they are, what
    stands in them must be the same, which is seen best where they lie on each other in time.

    How two lie on each other is looked for step by step, and found better from one of them or from the other. So the better of both counts where they do not agree at
    once, and else always the same one of a pair is laid on the other, whichever is asked for as the shorter.
    """
    backwards = altered is Altered.REVERSED
    if _rank(long) < _rank(short):
        back = short.duration_ms - (long.duration_ms - offset_ms) / scale if backwards else -offset_ms / scale
        short, long, scale, offset_ms = long, short, 1 / scale, round(back)
    one, other = short.altered_back(altered), long
    found = agreement(one, other, scale, offset_ms)
    if found is not None and found.likeness < GOOD:
        turned = agreement(other, one, 1 / scale, round(-offset_ms / scale))
        if turned is not None and turned.likeness > found.likeness:
            one, other, found = other, one, turned
    if found is None:
        return Verdict.SAME
    if unlike(found, backwards) or happens_otherwise(found):
        return Verdict.OTHER
    if stands_apart(one, other, found):
        wholes = altered is Altered.NOT and as_wholes(one, other, found)
        return Verdict.OTHER_STANDS if wholes else Verdict.OTHER
    forwards = agreement(short, long, scale, offset_ms) if backwards else None
    if forwards is None:
        return Verdict.SAME
    same = found.moving > 0 if unlike(forwards) else not stands_apart(short, long, forwards)
    return Verdict.SAME if same else Verdict.OTHER


def _rank(course: Course) -> tuple[int, float, bytes, bytes]:
    """By which of two clips the one to be laid on the other is chosen: the shorter, then the one of the smaller picture."""
    still = b"" if course.still is None else course.still.tobytes()
    return course.duration_ms, course.box[2] * course.box[3], course.cells.tobytes(), still
