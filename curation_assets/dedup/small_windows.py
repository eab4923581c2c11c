"""Two stills that lie on each other, compared in small windows: where they show other things, and where other letters.

What belongs here: which cells of a picture differ. What does not: how stills are laid, and how much may differ (`standing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.dedup.courses import Values

WINDOW: Final = 5
"""Side of a window in cells: about a letter of a title."""

SMOOTH: Final = 0.7
"""Blur (cells, deviation) before stills are compared: strokes finer than a cell come out otherwise in every copy."""

INK: Final = 8.0
"""Levels by which a window must deviate from its mean, in one still at least, to show something."""

FAINT: Final = 16.0
"""What deviates by less is faint texture, which coarse coding takes away."""

FLOOR: Final = 16.0
"""Squared levels that are added to both: coding noise must not decide."""

APART: Final = 0.42
"""Windows of so little concordance show other things. In the first half of the material of `benchmarks.truth`, area duplicates, with stills of
64 pixels, the twelfth window of copies of title cards differs by at most 0.32, that of other cards by 0.46 at least."""

WORD: Final = (13, WINDOW)
"""Cells across and down in which letters are compared: since each window may be moved by a cell, those as small as a letter fit too often."""

STROKES: Final = 28.0
"""Levels by which such a window must deviate from its mean in both stills."""

OTHERWISE: Final = 0.2
"""Windows of both that lack so much in concordance have other letters."""

LETTER: Final = (7, WINDOW)
"""Cells across and down in which strokes are compared to the cell."""

FINE_STROKES: Final = 16.0
"""Levels by which such a window must deviate from its mean in both stills."""

OTHER: Final = 0.3
USUAL: Final = 0.75
ABOVE_USUAL: Final = 4.0
"""Windows have other strokes if they lack so much in concordance, and so many times what three quarters of all that show something lack at most: stills that
do not lie exactly on each other, or were coded much more coarsely, lack something everywhere."""

LEAST_SHOWN: Final = 20
"""What is usual is known from so many windows."""

FINE_GROUND: Final = 0.7
"""Grounds of such windows differ by less than this share of their deviation."""

ONE_GROUND: Final = 0.5
ONE_GROUND_IN_CORNERS: Final = 0.3
ONE_INK: Final = 3.0
"""Letters of one template have a ground and an ink: such windows differ in their means by less than this share of their deviation, and their deviations by
less than this factor. A logo or a caption on a picture has another ground; in corners, where logos are, grounds must be more alike."""


def different_windows(x: Values, y: Values) -> NDArray[np.bool_]:
    """Which windows show something in one still at least, and not the same in the other, moved by up to a cell.

    Where one of them shows nothing (nan), it was flat, in a tone that is not known: a window differs if it does so both with the tone of what the other mostly
    shows in all such places and with that of what it shows at this side.
    """
    x, y = _of_one_gain(x, y)
    seen = _seen(x, y, (WINDOW + 4, WINDOW + 4))
    x_sides, y_sides = _sides(x), _sides(y)
    different = _different(_toned(x, y, [np.isnan(x)]), _toned(y, x, [np.isnan(y)]), seen)
    if max(len(x_sides), len(y_sides)) > 1:
        different &= _different(_toned(x, y, x_sides), _toned(y, x, y_sides), seen)
    return different


def _different(x: Values, y: Values, seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Windows that differ, of stills that show something everywhere.

    Where faint texture of one tone lacks something in most places, it is the coding of one of them that took it away: such windows must lack far more than is
    usual among them.

    Args:
        seen: windows in which both showed something.
    """
    x, y = (cv2.GaussianBlur(v, (0, 0), SMOOTH) for v in (x, y))
    lack, shown = 1 - _concordance(x, y, (WINDOW, WINDOW)), np.maximum(_spread(x), _spread(y))
    faint = (shown > INK**2) & (shown <= FAINT**2) & _of_one_tone(x, y)
    least = np.where(faint, max(APART, ABOVE_USUAL * _usual(lack[faint & seen])), APART)
    return np.asarray((lack > least) & (shown > INK**2), np.bool_)


def _of_one_tone(x: Values, y: Values) -> NDArray[np.bool_]:
    """Windows whose tones differ by no more than faint texture does, with one gain and offset of all tones: texture that was taken away must not decide these."""
    of_x, of_y = _mean(x), _mean(y)
    alike = np.ones(x.shape, np.bool_)
    for _ in range(2):
        here, there = of_x[alike], of_y[alike]
        spread = float(there.var())
        gain = float(((here - here.mean()) * (there - there.mean())).mean()) / spread if spread > 1 else 1.0
        apart = np.abs(of_x - here.mean() - gain * (of_y - there.mean()))
        alike = apart <= max(FAINT, float(np.median(apart)))
    return np.asarray(apart < FAINT, np.bool_)


def _sides(still: Values) -> list[NDArray[np.bool_]]:
    """The places in which a still shows nothing, each by itself."""
    count, labels = cv2.connectedComponents(np.isnan(still).astype(np.uint8), connectivity=8)
    return [labels == label for label in range(1, count)]


def _toned(still: Values, other: Values, places: Sequence[NDArray[np.bool_]]) -> Values:
    """A still that has, in each place where it shows nothing, the tone of what the other mostly shows there."""
    out = np.nan_to_num(still)
    for place in places:
        shown = other[place & ~np.isnan(other)]
        out[place] = np.median(shown) if len(shown) else 0.0
    return out


def _usual(lack: Values) -> float:
    """What three quarters of some windows lack at most; 0 of few."""
    return float(np.quantile(lack, USUAL)) if len(lack) >= LEAST_SHOWN else 0.0


def other_letters(x: Values, y: Values, corner: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which windows show strokes of one ink on one ground in both stills, and not the same ones.

    Args:
        corner: which cells lie in a corner of the frame.
    """
    x, y = _of_one_gain(x, y)
    letters = lettered(x, y, STROKES, np.where(corner, ONE_GROUND_IN_CORNERS, ONE_GROUND))
    x, y = _smoothed(x), _smoothed(y)
    return letters & (1 - _concordance(x, y, WORD) > OTHERWISE)


def other_strokes(
    x: Values, y: Values, corner: NDArray[np.bool_], above_usual: float = ABOVE_USUAL
) -> NDArray[np.bool_]:
    """Which windows show strokes of one ink on one ground in both stills, and other ones, compared to the cell.

    So letters of a few cells are told: moved by a cell, many of them fit each other. The stills must lie on each other as exactly as they can.

    Args:
        corner: which cells lie in a corner of the frame.
        above_usual: so many times what is usual a window must lack; with 0 what is usual does not count.
    """
    x, y = _of_one_gain(x, y)
    seen = _seen(x, y, (LETTER[0] + 4, LETTER[1] + 4))
    x, y = _smoothed(x), _smoothed(y)
    of_x, of_y = _spread(x, LETTER), _spread(y, LETTER)
    lesser, larger = np.minimum(of_x, of_y), np.maximum(of_x, of_y)
    shown = seen & (lesser > FINE_STROKES**2)
    if shown.sum() < LEAST_SHOWN:
        return np.zeros(x.shape, np.bool_)
    lack = 1 - _concordance(x, y, LETTER, 0)
    grounds = np.where(corner, ONE_GROUND_IN_CORNERS, FINE_GROUND)
    template = shown & (larger < ONE_INK**2 * lesser)
    template &= np.abs(_mean(x, LETTER) - _mean(y, LETTER)) < grounds * np.sqrt(lesser)
    least = max(OTHER, above_usual * _usual(lack[shown]))
    return np.asarray(template & (lack > least), np.bool_)


def lettered(x: Values, y: Values, strokes: float, grounds: Values | float = ONE_GROUND) -> NDArray[np.bool_]:
    """Which windows show strokes of one ink on one ground in both stills.

    Args:
        strokes: levels by which they deviate from their mean at least.
        grounds: share of that by which their means may differ.
    """
    seen = _seen(x, y, WORD)
    x, y = _smoothed(x), _smoothed(y)
    of_x, of_y = _spread(x, WORD), _spread(y, WORD)
    lesser, larger = np.minimum(of_x, of_y), np.maximum(of_x, of_y)
    template = (lesser > strokes**2) & (larger < ONE_INK**2 * lesser)
    template &= np.abs(_mean(x, WORD) - _mean(y, WORD)) < grounds * np.sqrt(lesser)
    return np.asarray(template & seen, np.bool_)


def _seen(x: Values, y: Values, window: tuple[int, int]) -> NDArray[np.bool_]:
    """Windows in which both stills show something everywhere."""
    outside = np.isnan(x) | np.isnan(y)
    return np.asarray(cv2.dilate(outside.astype(np.uint8), np.ones(window[::-1], np.uint8)) == 0, np.bool_)


def _smoothed(still: Values) -> Values:
    """Blurred, with the tone of most of it where it shows nothing."""
    return np.asarray(cv2.GaussianBlur(filled(still), (0, 0), SMOOTH), np.float64)


@dataclass(frozen=True)
class LetterLine:
    """Windows side by side.

    Attributes:
        windows: how many.
        across, down: the first and the last column and row.
    """

    windows: int
    across: tuple[int, int]
    down: tuple[int, int]


def lines_of(windows: NDArray[np.bool_], window: tuple[int, int] = WORD) -> list[LetterLine]:
    """The marked windows in lines of letters: those that overlap are of one."""
    joined = cv2.dilate(windows.astype(np.uint8), np.ones(window[::-1], np.uint8))
    count, labels = cv2.connectedComponents(joined, connectivity=8)
    lines = []
    for label in range(1, count):
        rows, columns = np.nonzero(windows & (labels == label))
        lines.append(
            LetterLine(len(rows), (int(columns.min()), int(columns.max())), (int(rows.min()), int(rows.max())))
        )
    return lines


def ground(laid: Values) -> float:
    """The tone of most of what a still shows."""
    return float(np.nanmedian(laid))


def filled(laid: Values) -> Values:
    """A still with the tone of most of it where it shows nothing (nan)."""
    return np.where(np.isnan(laid), ground(laid), laid)


def _concordance(x: Values, y: Values, window: tuple[int, int], slack: int = 1) -> Values:
    """Of each window with the other still's, moved by up to so many cells, whichever fits best (Lin 1989, without the difference of means)."""
    mean_x, of_x = _mean(x, window), _spread(x, window)
    agree = np.full(x.shape, -1.0)
    padded = np.pad(y, slack, mode="edge")
    for down in range(2 * slack + 1):
        for across in range(2 * slack + 1):
            moved = padded[down : down + len(y), across : across + y.shape[1]]
            both = _mean(x * moved, window) - mean_x * _mean(moved, window)
            agree = np.maximum(agree, (2 * both + FLOOR) / (of_x + _spread(moved, window) + FLOOR))
    return agree


def _of_one_gain(x: Values, y: Values) -> tuple[Values, Values]:
    """The second still with the contrast and tone of the first, by windows in which both show something."""
    both = ~(np.isnan(x) | np.isnan(y))
    if not both.any():
        return x, y
    of_x, of_y = (_spread(np.where(both, v, ground(v))) for v in (x, y))
    shown = (_mean(both.astype(np.float64)) > 0.99) & (np.minimum(of_x, of_y) > INK**2 / 4)
    gain = float(np.median(np.sqrt(of_x[shown] / of_y[shown]))) if shown.any() else 1.0
    return x, y * gain + np.median((x - y * gain)[both])


def _spread(values: Values, window: tuple[int, int] = (WINDOW, WINDOW)) -> Values:
    """Variance within each window."""
    return np.asarray(np.maximum(0.0, _mean(values * values, window) - _mean(values, window) ** 2), np.float64)


def _mean(values: Values, window: tuple[int, int] = (WINDOW, WINDOW)) -> Values:
    return np.asarray(cv2.blur(values, window, borderType=cv2.BORDER_REFLECT_101), np.float64)
