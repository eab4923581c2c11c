"""Picture quality of a clip, from sampled analysis pictures.

Each sample is reduced to statistics of a 16 x 16 grid and to profiles of its edges, about 8 kB, so that a clip can be measured inside its
bars although where the bars end is known only when the clip is complete; of long videos they lie in a temporary file.

Sources: variance of the Laplacian (Pertuz et al., "Analysis of focus measure operators for shape-from-focus", Pattern Recognition 2013);
colourfulness (Hasler and Suesstrunk, "Measuring colourfulness in natural images", SPIE 2003). Colour differences are taken from chroma with
the matrix of ITU-R BT.709.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from curation_assets.decode.measures import edge_blur
from curation_assets.decode.measures.cells import GRID, luma_cells, mixed_cells, side
from curation_assets.decode.measures.freezes import FreezeMeter
from curation_assets.decode.measures.records import Records
from curation_assets.decode.measures.slots import Slots
from curation_assets.decode.quality_scores import Quality

Plane = NDArray[np.uint8]

WORKING_SIDE = 320
"""Long side at which sharpness is measured, pixels; other sizes are scaled to it."""
BLACK, WHITE = 16.0, 235.0
"""Luma in the studio range (ITU-R BT.601)."""
OVER, UNDER = 230, 20
"""Luma from which, and up to which, a pixel counts as over- or under-exposed: 2 percent of the range from either end."""
TOGETHER = 256
"""Samples of a clip that are pooled at a time."""
BLANK_DEVIATION = 0.02
"""Standard deviation of luma, share of the range, below which a picture is one flat tone."""
BAR_TOLERANCE = 6
"""Levels around a bar's tone that still belong to it: ringing at its edge, dither."""
BAR_DARK = 48
"""Tone up to which a bar may be on one side alone; lighter ones must be on two opposite sides, lest a flat sky or a panel be one."""

_OPPONENTS = np.array([[0.213, 2.326], [-2.218, 0.630]])
"""Weights of blue and red difference (ITU-R BT.709) in red minus green and in yellow minus blue."""


class Picture(Protocol):
    """What is read of a sample; see `AnalysisPicture`."""

    @property
    def luma(self) -> Plane: ...
    @property
    def chroma_u(self) -> Plane | None: ...
    @property
    def chroma_v(self) -> Plane | None: ...


class Rect(NamedTuple):
    """A part of the frame, in fractions of it."""

    x: float
    y: float
    w: float
    h: float

    @property
    def area(self) -> float:
        return self.w * self.h


FULL = Rect(0.0, 0.0, 1.0, 1.0)


class QualityScores(TypedDict):
    """The columns of `quality_scores`; None where a clip holds no sample."""

    sharpness: float | None
    edge_blur: float | None
    brightness: float | None
    contrast: float | None
    colorfulness: float | None
    over_exposed: float | None
    under_exposed: float | None
    border: float | None
    crop: dict[str, float] | None
    blank: float | None
    frozen: float | None
    samples: int
    estimator: str


_STATISTICS = (
    "mean",
    "deviation",
    "edges",
    "over",
    "under",
    "rg",
    "rg_deviation",
    "yb",
    "yb_deviation",
    *edge_blur.STATISTICS,
)


@dataclass(frozen=True, slots=True)
class _Side:
    """The lines (rows or columns) from one edge to the middle.

    Attributes:
        tone: luma of the outermost lines.
        flat: uint8 (n,), 255 times the share of each line's pixels that have that tone.
        mean: uint8 (n,), mean luma of each line.
    """

    tone: int
    flat: NDArray[np.uint8]
    mean: NDArray[np.uint8]


class QualityMeter:
    """Collects samples while a video is decoded and scores clips from them afterwards.

    Call `push` with the pictures that `wants` asks for, in order of time; `scores` and `border` may be called at any time, for any span.
    `forget` lets go of what lies before a time.
    """

    def __init__(self, params: Quality) -> None:
        self._params = params
        self._slots = Slots(params.fps)
        self._freezes = FreezeMeter()
        self._samples = _Samples()
        self._times: list[float] = []

    @property
    def estimator(self) -> str:
        """Working size and sampling, for the `estimator` column."""
        return f"luma at {WORKING_SIDE} px, {self._params.fps:g}/s"

    def wants(self, time_ms: float) -> bool:
        """Whether the picture shown at `time_ms` is to be measured."""
        return self._slots.due(time_ms) or self._freezes.wants(time_ms)

    def push(self, time_ms: float, picture: Picture) -> None:
        """Measures a picture: 8-bit planes, luma in the studio range, all of a video of one size."""
        if self._freezes.wants(time_ms):
            self._freezes.push(time_ms, picture.luma)
        if not self._slots.due(time_ms):
            return
        luma = np.ascontiguousarray(_working(picture.luma))
        colours = _colour_cells(picture.chroma_u, picture.chroma_v)
        cells = np.concatenate([luma_cells(luma, OVER, UNDER), colours, edge_blur.cells(luma)])
        self._samples.append(cells.astype(np.float16), _sides(luma))
        self._times.append(time_ms)
        self._slots.take(time_ms)

    def forget(self, before_ms: float) -> None:
        """Drops the samples before `before_ms`, of clips that have been scored."""
        first = bisect_left(self._times, before_ms)
        self._samples.forget(first)
        del self._times[:first]
        self._freezes.forget(before_ms)

    def border(self, start_ms: float, end_ms: float) -> Rect:
        """The picture inside the bars of the clip [start_ms, end_ms); the whole frame if there are none, or nothing is known."""
        return find_border(self._samples.sides(*self._between(start_ms, end_ms)))

    def scores(
        self, start_ms: float, end_ms: float, shown_ms: Sequence[float] | NDArray[np.int64] = ()
    ) -> QualityScores:
        """Quality of the clip [start_ms, end_ms), inside its bars; `shown_ms` as in `FreezeMeter.share`."""
        first, last = self._between(start_ms, end_ms)
        if first == last:
            return QualityScores(
                sharpness=None,
                edge_blur=None,
                brightness=None,
                contrast=None,
                colorfulness=None,
                over_exposed=None,
                under_exposed=None,
                border=None,
                crop=None,
                blank=None,
                frozen=None,
                samples=0,
                estimator=self.estimator,
            )
        crop = find_border(self._samples.sides(first, last))
        parts = [
            _measured(self._samples.cells(at, min(at + TOGETHER, last))[:, :, *_inside(crop)])
            for at in range(first, last, TOGETHER)
        ]
        of_each = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        blurs = of_each["edge_blur"][~np.isnan(of_each["edge_blur"])]
        span = WHITE - BLACK
        return QualityScores(
            sharpness=float(np.median(of_each["edges"])),
            edge_blur=float(np.median(blurs)) if len(blurs) else None,
            brightness=float(np.clip((np.median(of_each["mean"]) - BLACK) / span, 0, 1)),
            contrast=float(np.clip(np.median(of_each["deviation"]) / (span / 2), 0, 1)),
            colorfulness=float(np.median(of_each["colourfulness"])),
            over_exposed=float(np.clip(of_each["over"].mean(), 0, 1)),
            under_exposed=float(np.clip(of_each["under"].mean(), 0, 1)),
            border=1 - crop.area,
            crop=crop._asdict(),
            blank=float((of_each["deviation"] < BLANK_DEVIATION * span).mean()),
            frozen=self._freezes.share(start_ms, end_ms, shown_ms),
            samples=last - first,
            estimator=self.estimator,
        )

    def knows(self, start_ms: float, end_ms: float) -> bool:
        """Whether the clip [start_ms, end_ms) holds a sample."""
        first, last = self._between(start_ms, end_ms)
        return last > first

    def _between(self, start_ms: float, end_ms: float) -> tuple[int, int]:
        """Indexes of the samples of [start_ms, end_ms)."""
        first = bisect_left(self._times, start_ms)
        return first, max(first, bisect_left(self._times, end_ms))


class _Samples:
    """What is kept of the measured pictures: float16 (13, GRID, GRID), `_STATISTICS` of each cell, and top, bottom, left and right."""

    def __init__(self) -> None:
        self._cells, self._sides = Records(), Records()
        self._lines: list[int] = []

    def append(self, cells: NDArray[np.float16], sides: tuple[_Side, ...]) -> None:
        self._cells.append(cells.reshape(-1).view(np.uint8))
        self._lines = [len(side.flat) for side in sides]
        tones = np.array([side.tone for side in sides], np.uint8)
        self._sides.append(np.concatenate([tones, *(part for side in sides for part in (side.flat, side.mean))]))

    def forget(self, count: int) -> None:
        self._cells.forget(count)
        self._sides.forget(count)

    def cells(self, first: int, end: int) -> NDArray[np.float16]:
        """(end - first, 13, GRID, GRID)."""
        return self._cells.between(first, end).view(np.float16).reshape(end - first, -1, GRID, GRID)

    def sides(self, first: int, end: int) -> list[tuple[_Side, ...]]:
        at = np.cumsum([4, *(n for lines in self._lines for n in (lines, lines))]).tolist()
        parts = list(itertools.pairwise(at))
        return [
            tuple(
                _Side(int(record[k]), record[slice(*parts[2 * k])], record[slice(*parts[2 * k + 1])]) for k in range(4)
            )
            for record in self._sides.between(first, end)
        ]


def _measured(cells: NDArray[np.float16]) -> dict[str, NDArray[np.float32]]:
    """Of each sample what the scores are made of (n,), from the cells (n, 13, rows, columns) inside its bars; blur is nan without edges."""
    values = dict(
        zip(_STATISTICS, np.moveaxis(cells.astype(np.float32).reshape(*cells.shape[:2], -1), 1, 0), strict=True)
    )
    mean, deviation = _pooled(values["mean"], values["deviation"])
    rg, rg_deviation = _pooled(values["rg"], values["rg_deviation"])
    yb, yb_deviation = _pooled(values["yb"], values["yb_deviation"])
    return {
        "mean": mean,
        "deviation": deviation,
        "edges": (values["edges"] ** 2).mean(axis=1),
        "colourfulness": np.hypot(rg_deviation, yb_deviation) + 0.3 * np.hypot(rg, yb),
        "over": values["over"].mean(axis=1),
        "under": values["under"].mean(axis=1),
        "edge_blur": edge_blur.estimates(np.stack([values[name] for name in edge_blur.STATISTICS], axis=1)),
    }


def find_border(samples: list[tuple[_Side, ...]]) -> Rect:
    """The picture inside letterbox and pillarbox bars, from the sides of a clip's samples.

    A bar is a run of lines from the edge that keep one tone in nine tenths of the samples. It may carry a logo or a subtitle, but it ends
    at a straight line beyond which the tone does not go on, which a dark scene does not.
    """
    if not samples:
        return FULL
    top, bottom, left, right = (_bar([sides[k] for sides in samples]) for k in range(4))
    (y0, y1), (x0, x1) = _opposite(top, bottom), _opposite(left, right)
    return Rect(x0, y0, 1 - x0 - x1, 1 - y0 - y1)


class _Bar(NamedTuple):
    """Width as a fraction of the frame's height or width (0: no bar), and tone."""

    width: float
    tone: float


def _bar(sides: list[_Side]) -> _Bar:
    tones = np.array([s.tone for s in sides], np.float32)
    tone = float(np.median(tones))
    none = _Bar(0.0, tone)
    flat = _tenth(np.stack([s.flat for s in sides])) / 255
    if np.mean(np.abs(tones - tone) <= BAR_TOLERANCE) < 0.9 or (flat.all() and flat.min() >= 0.95):
        return none
    lines = int(np.argmax(flat < 0.6)) if (flat < 0.6).any() else len(flat)
    while lines and flat[lines - 1] < 0.95:
        lines -= 1
    dark = tone <= BAR_DARK
    if lines in (0, len(flat)) or flat[:lines].mean() < 0.8:
        return none
    if flat[lines - 1] - flat[lines : lines + 2].min() < (0.25 if dark else 0.6):
        return none
    # The line in which the bar ends is a mixture of bar and picture, in the ratio in which its mean lies between theirs.
    means = np.stack([s.mean for s in sides]).astype(np.float32).mean(axis=0) - tone
    inner = means[min(lines + 1, len(means) - 1)]
    mixed = float(np.clip(1 - means[lines] / inner, 0, 1)) if abs(inner) > 8 else 0.0
    return _Bar((lines + mixed) / (2 * len(flat)), tone)


def _tenth(values: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of each column of (n, m) the value below which a tenth lies, between the two that it lies between: (m,)."""
    at = 0.1 * (len(values) - 1)
    below = int(at)
    ordered = np.sort(np.ascontiguousarray(values.T), axis=1)
    low, high = ordered[:, below].astype(np.float64), ordered[:, min(below + 1, len(values) - 1)]
    share = at - below
    between: NDArray[np.float64] = low + (high - low) * share if share < 0.5 else high - (high - low) * (1 - share)
    return between


def _opposite(first: _Bar, second: _Bar) -> tuple[float, float]:
    """Widths of two opposite bars, without light ones that have no counterpart."""
    alike = abs(first.tone - second.tone) <= BAR_TOLERANCE and abs(first.width - second.width) <= 0.25 * max(
        first.width, second.width
    )
    keep = [alike or bar.tone <= BAR_DARK for bar in (first, second)]
    return first.width * keep[0], second.width * keep[1]


def _working(luma: Plane) -> Plane:
    h, w = luma.shape
    long = max(h, w)
    if long == WORKING_SIDE:
        return luma
    size = (max(2, round(w * WORKING_SIDE / long)), max(2, round(h * WORKING_SIDE / long)))
    return cv2.resize(luma, size, interpolation=cv2.INTER_AREA if long > WORKING_SIDE else cv2.INTER_LINEAR)


def _colour_cells(chroma_u: Plane | None, chroma_v: Plane | None) -> NDArray[np.float32]:
    """Mean and deviation of red minus green and of yellow minus blue; zeros for grey pictures."""
    if chroma_u is None or chroma_v is None:
        return np.zeros((4, GRID, GRID), np.float32)
    cells: NDArray[np.float32] = mixed_cells(chroma_u, chroma_v, _OPPONENTS)
    return cells


def _sides(luma: Plane) -> tuple[_Side, ...]:
    """Top, bottom, left, right."""
    return tuple(_Side(*side(luma, across, last, BAR_TOLERANCE)) for across in (True, False) for last in (False, True))


def _inside(crop: Rect) -> tuple[slice, slice]:
    """Rows and columns of the cells that lie inside `crop`, at least the one in its middle."""

    def span(start: float, length: float) -> slice:
        margin = 0.01 if length < 1 else 0.0
        first = int(np.ceil((start + margin) * GRID)) if start > 0 else 0
        last = int((start + length - margin) * GRID) if start + length < 1 - 1e-6 else GRID
        middle = min(GRID - 1, int((start + length / 2) * GRID))
        return slice(first, last) if last > first else slice(middle, middle + 1)

    return span(crop.y, crop.h), span(crop.x, crop.w)


def _pooled(
    mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each sample (n,) from those of its cells (n, cells)."""
    return mean.mean(axis=1), np.sqrt((deviation**2).mean(axis=1) + mean.var(axis=1))
