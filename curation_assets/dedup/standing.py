"""Whether what stands in two clips is the same: title cards and slides of one template, a person who hardly moves before a known place.

Where little changes, two courses agree although a word or a face differs. Here the stills of the clips (`stages.still`) are laid over each other as
the courses lie, moved until they fit best, and compared in small windows. That they differ counts only as far as nothing else speaks
for a copy: footage that changes alike is the same footage, whatever is written on it.

What belongs here: comparing two stills. What does not: which pairs are compared (`second_look`, `crops`), comparing courses (`evidence`).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.measures.still import SIDE
from curation_assets.dedup.courses import Box, Course, Overlay, Values
from curation_assets.dedup.evidence import Agreement, likeness_laid
from curation_assets.dedup.levels import NOISE, both_lit, even
from curation_assets.dedup.resampled import middles, placed, sampled
from curation_assets.dedup.slight_shifts import slopes
from curation_assets.dedup.small_windows import (
    ABOVE_USUAL,
    FLOOR,
    LETTER,
    WINDOW,
    LetterLine,
    different_windows,
    filled,
    ground,
    lines_of,
    other_letters,
    other_strokes,
)
from curation_assets.dedup.titles import (
    CORNER,
    LOWER,
    SHORT,
    SHORT_CELLS,
    another,
    apart,
    exactly_in_time,
    line_of,
)

FINEST: Final = 96
"""No more cells than this along a side of the frame: borders are found to a 320th, and what is finer differs between copies."""

FINER: Final = 144
"""The same where letters are compared, which copies have alike."""

LEAST_CELLS: Final = 12
"""Windows that differ: so many of them at least are a difference."""

LEAST_LETTERS: Final = 14
"""The same of windows that have other letters. Chosen on names, titles and cards made of videos of the first half: of their copies none has such a window,
but where a logo lies on a picture of much detail, which has up to 12; other names and words have 14 and more, most of them 40."""

STILL: Final = 0.1
LEAST_LETTERS_MOVING: Final = 40
LINE: Final = 0.17
STRAY: Final = 3
"""The same where more of the picture changes alike, and only if the windows lie in one line of letters, no higher than this share of what is compared, but for so
many at most: two medians over moving footage differ by themselves, mostly in several places or in one that is higher. Chosen on the first half: of 60 titles of a
ninth of the height 57 differ so, of 2,186 pairs of copies 4."""

LEAST_STROKES: Final = 8
"""Windows with other strokes that make another clip, compared to the cell where little changes. Chosen on the first half of the material of `benchmarks.truth`: of 243 pairs of
its copies of which little changes none has more than 3, of 59 pairs of names and small titles that were left 55 have 10 and more."""

SPECK: Final = 6
"""Fewer of them side by side are none."""

EDGE: Final = 4
LONG: Final = 0.2
"""Differences within so many cells of an edge of the picture are taken for remnants of its border: where both frames lie alike, those that run
along so much of it."""

WEIGHT: Final = 0.2
"""What stands otherwise must be more than this share of what changes alike."""

MOST: Final = 0.5
"""Where so much of the picture changes alike, nothing that stands speaks against a copy."""

WHOLE_PICTURE: Final = (0.0, 0.0, 1.0, 1.0)

WHOLE: Final = 0.9
"""From this overlap a clip's still stands for what the other shows."""

LEAST_GAIN: Final = 0.002
"""By so much at least the courses are more alike where a fit of the stills explains letters before a picture that changes. Of titles before panned pictures of the first half of the
material of `benchmarks.truth` that a fit brought onto each other they are less alike, by up to 0.16; of its copies before such pictures none needs a fit."""

STEADY: Final = 6.0
"""Levels between the darkest and the brightest span of a cell of a course, up to which it stands still over the clip."""

STEPS: Final = (0.03, 0.015, 0.0075, 0.004)
MOST_STEPS: Final = 8
"""How stills are moved and stretched over each other: shares of the side, and how often by each."""


def stands_apart(a: Course, b: Course, found: Agreement) -> bool:
    """Whether what stands in two clips differs: by more than what changes alike in them explains, or by other letters in one place.

    Args:
        found: what their courses have in common.

    Returns:
        False also where it cannot be seen: without stills, or where one clip drifts over the other.

    Sliding one still over the other brings some letters of any two titles onto each other. So a fit excuses letters only if it leaves
    hardly any, and where more of the picture changes only if the courses become more alike by it, too: of titles before panned pictures of the first half most
    have 15 to 40 windows left, where 40 would have been needed, and copies none.
    Where clips are laid as a crop on its original they do not lie exactly enough to tell what stands in a few cells (`titles`).
    """
    if a.still is None or b.still is None or found.overlay is None:
        return False
    said = _said(a, b, found)
    if said is _Said.FITS:
        said = _said(b, a, found.turned())
    return said is _Said.APART


class _Said(Enum):
    """What stills say: other things stand; nothing does, as they lie; nothing does once they are moved and stretched to fit."""

    APART = "apart"
    ALIKE = "alike"
    FITS = "fits"


def _said(a: Course, b: Course, found: Agreement) -> _Said:
    """The same with one still laid on the other: where a fit excuses what differs, it must do so whichever is moved."""
    assert found.overlay is not None
    stills, moves = _Stills(a, b, found), found.moving > STILL
    courses = exactly_in_time(a, b, found) if moves and as_wholes(a, b, found) else None
    if courses is not None and stills.titled(*courses, found.overlay):
        return _Said.APART
    unlike = stills.unlike(stills.overlay)
    if not unlike and (moves or not stills.otherwise(stills.overlay, above_usual=0)):
        return _Said.ALIKE
    fitted = stills.fitted()
    if unlike and stills.unlike(fitted):
        return _Said.APART
    excused = stills.explained(fitted) and not (moves and _less_alike(a, b, found, stills.overlay, fitted))
    if unlike and stills.lettered(stills.overlay) and not excused:
        return _Said.APART
    return _Said.APART if not moves and stills.otherwise(fitted) else _Said.FITS


def _less_alike(a: Course, b: Course, found: Agreement, laid: Overlay, fitted: Overlay) -> bool:
    """Whether the courses are not more alike as the stills fit than as they themselves were laid, or the stills at first."""
    before = max(likeness_laid(a, b, found, overlay) for overlay in (laid, found.overlay or laid))
    return likeness_laid(a, b, found, fitted) <= before + LEAST_GAIN


def as_wholes(a: Course, b: Course, found: Agreement) -> bool:
    """Whether the clips lie on each other frame on frame or picture on picture: neither is a crop of the other."""
    whole = Overlay(), Overlay.between(a.box, b.box)
    return found.overlay is not None and any(_near(found.overlay, overlay) for overlay in whole)


class _Stills:
    """Two stills that can be laid over each other.

    Attributes:
        overlay: how the first lies on the second: as the courses do, frame on frame or picture on picture, whichever fits best.
    """

    def __init__(self, a: Course, b: Course, found: Agreement) -> None:
        assert a.still is not None
        assert b.still is not None
        self._a, self._b = a.still.astype(np.float64), b.still.astype(np.float64)
        self._boxes = a.box, b.box
        self._moving = found.moving
        frames = Overlay.between(a.box, b.box)
        self._framed = False
        self.overlay = max((found.overlay or frames, frames, Overlay()), key=self._fit)
        self._framed = _near(self.overlay, frames)
        self._steady = [
            None if share >= WHOLE else _steady(course) for course, share in zip((a, b), found.times, strict=True)
        ]

    def unlike(self, overlay: Overlay) -> bool:
        """Whether what they show, laid so, is not the same."""
        allowed = WEIGHT * self._moving
        return (self._moving <= MOST and self._apart(overlay) > allowed) or self.lettered(overlay)

    def lettered(self, overlay: Overlay) -> bool:
        """Whether they have other letters; where more moves, in a line that differs alone."""
        lines, rows = self._lines(overlay)
        windows = [line.windows for line in lines]
        if self._moving <= STILL or not lines:
            return sum(windows) >= self._least_letters
        most = max(lines, key=lambda line: line.windows)
        low = most.down[1] - most.down[0] < LINE * rows
        return low and most.windows >= self._least_letters and sum(windows) - most.windows <= STRAY

    def titled(self, a: Values, b: Values, overlay: Overlay) -> bool:
        """Whether what differs all the time, and is not explained by a slight shift of the whole picture, is another title.

        Args:
            a, b: the courses, laid so, of one level, (spans, rows, columns) each.
        """
        if not apart(a, b, NOISE).any():
            return False
        region = overlay.common()
        x, y = self._laid(region, overlay.back(region), FINER)
        picture = (filled(x) + filled(y)) / 2
        differs = apart(a, b, NOISE, slopes(picture, a.shape[1:]))
        columns, rows = self._places(region, differs.shape)
        if another(differs, columns, rows, x, y):
            return True
        short = line_of(differs, columns, rows, SHORT)
        if short is None or short.cells < SHORT_CELLS:
            return False
        return short.within(other_strokes(x, y, np.zeros(x.shape, np.bool_)), beside=1) >= LEAST_STROKES

    def otherwise(self, overlay: Overlay, above_usual: float = ABOVE_USUAL) -> bool:
        """Whether they have other strokes in one place, but not within a corner, where logos are."""
        region, own = self._regions(overlay)
        x, y = self._laid(region, own, FINER)
        columns, rows = self._places(region, x.shape)
        different = self._standing(other_strokes(x, y, _corners(columns, rows), above_usual), region, own)
        if different.sum() < LEAST_STROKES:
            return False
        beside = [(side - 1) // 2 for side in LETTER]
        return any(
            line.windows >= LEAST_STROKES
            and not (
                _in_corner(*_ends(columns, line.across, beside[0])) and _in_corner(*_ends(rows, line.down, beside[1]))
            )
            for line in lines_of(different, LETTER)
        )

    def explained(self, overlay: Overlay) -> bool:
        """Whether hardly any letters are left that differ if they are laid so."""
        return sum(line.windows for line in self._lines(overlay)[0]) < LEAST_LETTERS

    @property
    def _least_letters(self) -> int:
        return LEAST_LETTERS if self._moving <= STILL else LEAST_LETTERS_MOVING

    def _lines(self, overlay: Overlay) -> tuple[list[LetterLine], int]:
        """Lines of windows that have other letters, and the rows of what is compared; where more moves, no subtitles and logos."""
        region, own = self._regions(overlay)
        x, y = self._laid(region, own, FINER)
        columns, rows = self._places(region, x.shape)
        different = self._standing(other_letters(x, y, _corners(columns, rows)), region, own)
        if self._moving <= STILL:
            return lines_of(different), len(rows)
        lines = lines_of(different & (rows < LOWER)[:, None])
        return [
            line
            for line in lines
            if not (_in_corner(*columns[list(line.across)]) and _in_corner(*rows[list(line.down)]))
        ], len(rows)

    def _apart(self, overlay: Overlay) -> float:
        """Share of the frame of the second clip in which the stills show other things, without logos; 0 if that is little."""
        region, own = self._regions(overlay)
        different = self._standing(different_windows(*self._laid(region, own, FINEST)), region, own)
        cells = self._elsewhere(different, region)
        box = self._boxes[1]
        area = (region[2] - region[0]) * box[2] * (region[3] - region[1]) * box[3]
        return cells / different.size * area if cells >= LEAST_CELLS else 0.0

    def fitted(self) -> Overlay:
        """Moved and stretched, each way by itself, in ever smaller steps while that makes the stills fit better."""
        fit, overlay = self._fit(self.overlay), self.overlay
        for size in STEPS:
            for _ in range(MOST_STEPS):
                best, moved = max(((self._fit(o), o) for o in _moves(overlay, size)), key=lambda tried: tried[0])
                if best <= fit + 1e-4:
                    break
                fit, overlay = best, moved
        return overlay

    def _standing(self, different: NDArray[np.bool_], region: Box, own: Box) -> NDArray[np.bool_]:
        """Those of the cells where both clips stand still, if one shows more of the time than the other."""
        rows, columns = different.shape
        for steady, seen in zip(self._steady, (own, region), strict=True):
            if steady is not None:
                still, inside = sampled(steady.astype(np.float64), seen, (columns, rows))
                different = different & (still + 1 - inside > 0.5)
        return different

    def _places(self, region: Box, shape: tuple[int, ...]) -> tuple[Values, Values]:
        """The middles of the columns and rows of a region of the second picture, as shares of its frame's sides."""
        left, top, width, height = self._boxes[1]
        columns = left + width * middles(region[0], region[2], shape[1])
        return columns, top + height * middles(region[1], region[3], shape[0])

    def _regions(self, overlay: Overlay, *, beyond: bool = False) -> tuple[Box, Box]:
        """What is compared, in the second picture and in the first: where both frames lie alike what either shows within both frames, since what was
        stripped of the other is flat; else what both show. Beyond a clip's frame nothing is known of it.

        Args:
            beyond: whether what lies beyond a frame counts as well, as if it were flat.
        """
        region = overlay.common()
        if self._framed:
            left, top, right, bottom = overlay.onto(WHOLE_PICTURE)
            region = min(0.0, left), min(0.0, top), max(1.0, right), max(1.0, bottom)
            for frame in () if beyond else (overlay.onto(_frame(self._boxes[0])), _frame(self._boxes[1])):
                low, high = np.maximum(region[:2], frame[:2]), np.minimum(region[2:], frame[2:])
                region = float(low[0]), float(low[1]), float(high[0]), float(high[1])
        return region, overlay.back(region)

    def _laid(self, region: Box, own: Box, finest: int) -> tuple[Values, Values]:
        """Both stills in the same cells, none finer than a pixel of either or this part of the frame; nan where one of them shows nothing."""
        size = []
        for k in (0, 1):
            sides = zip((own, region), self._boxes, strict=True)
            most = min(min(SIDE, finest * box[2 + k]) * (seen[2 + k] - seen[k]) for seen, box in sides)
            size.append(max(2 * WINDOW, round(most)))
        x, y = (
            placed(*sampled(still, part, (size[0], size[1]))) for still, part in ((self._a, own), (self._b, region))
        )
        return x, y

    def _fit(self, overlay: Overlay) -> float:
        """Correlation of the detail."""
        region, own = self._regions(overlay, beyond=True)
        if min(region[2] - region[0], region[3] - region[1]) <= 0:
            return -1.0
        x, y = self._laid(region, own, FINEST)
        both = ~(np.isnan(x) | np.isnan(y))
        x, y = (np.where(both, v - cv2.blur(np.nan_to_num(v, nan=ground(v)), (9, 9)), 0.0) for v in (x, y))
        return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum() + FLOOR))

    def _elsewhere(self, different: NDArray[np.bool_], region: Box) -> int:
        """Cells that differ, without small patches and those that lie in a corner of the second clip's frame or at an edge of the picture."""
        rows, columns = different.shape
        x, y, width, height = self._boxes[1]
        _, _, patches, _ = cv2.connectedComponentsWithStats(different.astype(np.uint8), connectivity=8)
        cells = 0
        for left, top, wide, high, count in patches[1:].tolist():
            across = [x + width * (region[0] + (region[2] - region[0]) * at / columns) for at in (left, left + wide)]
            down = [y + height * (region[1] + (region[3] - region[1]) * at / rows) for at in (top, top + high)]
            logo = _in_corner(*across) and _in_corner(*down)
            edge = left + wide <= EDGE or top + high <= EDGE or left >= columns - EDGE or top >= rows - EDGE
            long = not self._framed or max(wide / columns, high / rows) > LONG
            cells += 0 if logo or (edge and long) or count < SPECK else count
        return cells


def _in_corner(low: float, high: float) -> bool:
    return high < CORNER or low > 1 - CORNER


def _corners(columns: Values, rows: Values) -> NDArray[np.bool_]:
    """Which cells lie in a corner of the frame."""
    near = [np.minimum(at, 1 - at) < CORNER for at in (columns, rows)]
    return np.asarray(near[0][None] & near[1][:, None], np.bool_)


def _frame(box: Box) -> Box:
    """The whole frame in shares of what lies inside the box (x, y, width, height) of it: left, top, right and lower edge."""
    x, y, width, height = box
    return -x / width, -y / height, (1 - x) / width, (1 - y) / height


def _ends(at: Values, cells: tuple[int, int], beside: int) -> tuple[float, float]:
    """Where so many cells and those beside them begin and end."""
    return float(at[max(0, cells[0] - beside)]), float(at[min(len(at) - 1, cells[1] + beside)])


def _steady(course: Course) -> NDArray[np.bool_]:
    """Cells that stand still over the clip, or would if it did not fade."""
    cells = course.cells.astype(np.float64)
    lit, _ = both_lit(cells, cells)
    return np.asarray(np.minimum(np.ptp(cells, axis=0), np.ptp(even(lit), axis=0)) <= STEADY, np.bool_)


def _near(a: Overlay, b: Overlay) -> bool:
    apart = (a.scale_x / b.scale_x - 1, a.scale_y / b.scale_y - 1, a.offset_x - b.offset_x, a.offset_y - b.offset_y)
    return max(map(abs, apart)) < 0.05


def _moves(overlay: Overlay, size: float) -> Iterator[Overlay]:
    x, a, y, b = overlay.scale_x, overlay.offset_x, overlay.scale_y, overlay.offset_y
    for sign in (size, -size):
        wide, high = (x * (1 + sign), a - x * sign / 2), (y * (1 + sign), b - y * sign / 2)
        yield Overlay(x, a + sign, y, b)
        yield Overlay(x, a, y, b + sign)
        yield Overlay(*wide, y, b)
        yield Overlay(x, a, *high)
        yield Overlay(*wide, *high)
