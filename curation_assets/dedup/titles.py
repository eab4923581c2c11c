"""Another title before one moving picture: what two clips show otherwise all the time, in one line of letters, while all else changes alike.

The still of a moving picture is a median, in which strokes as thin as those of a title are weak. But letters stand: where two titles lie before one moving
picture, the cells of the two courses differ by the same levels at every moment, tens of times more than elsewhere. What turns or drifts otherwise in a copy
differs by other levels at each moment, and what is laid a little otherwise differs as a shift or a stretch of the whole picture makes it differ: a horizon as a line.

What belongs here: whether what differs all the time is one line of letters. What does not: laying courses over each other (`evidence`, `laying`), what a
slight shift explains (`slight_shifts`), stills of which little moves (`standing`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.courses import Course, Values
from curation_assets.dedup.evidence import Agreement
from curation_assets.dedup.laying import in_time, laid_over
from curation_assets.dedup.levels import levelled
from curation_assets.dedup.slight_shifts import unexplained
from curation_assets.dedup.small_windows import lettered

EXACTLY_MS: Final = (0.0, 100.0, 50.0, 25.0)
"""Steps by which courses are moved in time until they differ least."""

LEAST: Final = 3.0
ABOVE_ALL: Final = 6.0
"""Levels by which a cell differs all the time if it counts, and so many times the median cell's: a crop or a shift makes all cells differ."""

VARIES: Final = 0.5
"""A difference is one that stands if it deviates over time by less than this share of its mean."""

LEAST_SPANS: Final = 4
LEAST_CELLS: Final = 4
ROWS: Final = 3
IN_LINE: Final = 0.9
"""So many cells at least differ, of what they differ by this share lies in so many rows: a line of letters of up to an eighth of the height, which may lie on the
edge of a row. Chosen on the first half of the material of `benchmarks.truth`, area duplicates: of 690 copies none has more than three such cells, of 240 pairs of titles before
moving pictures 232 have four and more."""

SHORT: Final = 2.0
SHORT_CELLS: Final = 2
"""The same of a short word in small letters, such as "One" and "Two": if the stills have other strokes there, too (`small_windows.other_strokes`). Of the copies of the first
half none has two such cells in one line and another stroke there; 10 pairs of titles that were left have two to four, and 10 to 22 windows of other strokes."""

LOWER: Final = 0.7
"""Where much moves, letters below this share of the frame's height are taken for subtitles."""

CORNER: Final = 0.28
"""What differs in so much of both sides, at a corner of the frame, is taken for a logo."""

STROKES: Final = 14.0
LEAST_WINDOWS: Final = 4
"""Levels by which windows of letters deviate from their mean in both stills, and how many of them at least lie there."""


@dataclass(frozen=True)
class DifferingLine:
    """Cells that differ in one line.

    Attributes:
        cells: how many.
        down, across: the first and the last row and column of them.
        shape: rows and columns of all.
    """

    cells: int
    down: tuple[int, int]
    across: tuple[int, int]
    shape: tuple[int, ...]

    def within(self, windows: NDArray[np.bool_], beside: int = 0) -> int:
        """How many of the windows that are marked lie there, or so many cells beside it at most."""
        parts = []
        for (low, high), cells, side in zip((self.down, self.across), self.shape, windows.shape, strict=True):
            parts.append(slice(int(max(0, low - beside) * side / cells), math.ceil((high + 1 + beside) * side / cells)))
        return int(windows[tuple(parts)].sum())


def exactly_in_time(a: Course, b: Course, found: Agreement) -> tuple[Values, Values] | None:
    """The courses of two clips laid over each other as they agree, of one level, (spans, rows, columns) each; None if they have too little in common.

    They are laid at the time nearby at which they differ least: of what moves nothing may be left that seems to stand.
    """
    assert found.overlay is not None
    path, best, offset = [found.overlay], math.inf, float(found.offset_ms)
    laid: tuple[Values, Values] | None = None
    for step in EXACTLY_MS:
        around = offset
        for at in (around - step, around + step) if step else (around,):
            aligned = in_time(a, b, found.scale, at)
            shown = None if aligned is None else laid_over(*aligned, path)
            if shown is None:
                continue
            differs = float(np.median((shown[0] - shown[1]).std(axis=0)))
            if differs < best:
                best, offset, laid = differs, at, shown
    return None if laid is None else levelled(*laid)


def apart(x: Values, y: Values, noise: float, slopes: Values | None = None) -> Values:
    """Levels by which the cells of two courses differ all the time.

    Args:
        x, y: of one level, (spans, rows, columns) each.
        noise: levels by which the median cell differs at most, if what differs more can be told from how the courses are laid.
        slopes: of the pictures, if a shift or a stretch of them is to be taken out.

    Returns:
        (rows, columns), 0 where the difference varies or is not much more than everywhere.
    """
    difference = x - y
    mean = difference.mean(axis=0)
    mean = mean - np.median(mean)
    usual = float(np.median(np.abs(mean)))
    if slopes is not None:
        mean = unexplained(mean, slopes)
    stands = (np.abs(mean) > ABOVE_ALL * usual) & (difference.std(axis=0) < VARIES * np.abs(mean))
    return np.asarray(np.where(stands & (len(x) >= LEAST_SPANS) & (usual < noise), mean, 0.0), np.float64)


def line_of(differs: Values, columns: Values, rows: Values, least: float) -> DifferingLine | None:
    """The line of letters that what stands otherwise is; None if it is none, or lies in more than one.

    Args:
        differs: levels (rows, columns), as `apart` gives them.
        columns, rows: the middles of its cells, as shares of the frame's sides.
        least: levels by which a cell differs if it counts.
    """
    levels = np.abs(differs)
    levels[levels < least] = 0
    inner = np.zeros_like(levels)
    inner[1:-1, 1:-1] = levels[1:-1, 1:-1]
    inner[rows > LOWER] = 0
    corner = (np.minimum(rows, 1 - rows) < CORNER)[:, None] & (np.minimum(columns, 1 - columns) < CORNER)
    inner[corner] = 0
    across = np.append(0.0, inner.sum(axis=1).cumsum())
    of_lines = across[ROWS:] - across[:-ROWS]
    if not len(of_lines) or not across[-1] or of_lines.max() < IN_LINE * across[-1]:
        return None
    first = int(of_lines.argmax())
    cells = inner[first : first + ROWS] > 0
    down, right = np.flatnonzero(cells.any(axis=1)) + first, np.flatnonzero(cells.any(axis=0))
    return DifferingLine(int(cells.sum()), (int(down[0]), int(down[-1])), (int(right[0]), int(right[-1])), inner.shape)


def another(differs: Values, columns: Values, rows: Values, x: Values, y: Values) -> bool:
    """Whether what stands otherwise is one line of letters that both clips have.

    Args:
        differs: levels (rows, columns), as `apart` gives them.
        columns, rows: the middles of its cells, as shares of the frame's sides.
        x, y: both stills where the cells lie, of one size, nan where one of them shows nothing.
    """
    line = line_of(differs, columns, rows, LEAST)
    return line is not None and line.cells >= LEAST_CELLS and line.within(lettered(x, y, STROKES)) >= LEAST_WINDOWS
