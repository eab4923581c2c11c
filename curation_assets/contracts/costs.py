"""What a table takes where nothing of one's own is known: figures that were measured on other videos, each for one unit, with where they stand.

What belongs here: the shape of a figure. What does not: the figures of a table, which its component declares (`figure`), and what is made of them
(`curation_assets/estimate.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from curation_assets.publish.subsets import Subset
    from curation_assets.recipes import Recipe

Unit = Literal["video", "hour", "clip", "frame", "selected"]
"""A video of the source, an hour of video, a clip, a stored frame, an hour of clips that a subset selects."""
Span = tuple[float, float]
"""From and to, over the runs or the videos that were measured."""
ZERO: Span = (0.0, 0.0)


@dataclass(frozen=True)
class Figure:
    """What a table takes.

    Attributes:
        unit: what it is counted by.
        cpu_s, gpu_s: seconds of a core (x86, shared) and of a GPU for one unit; None where that was not measured.
        bytes: that lie in storage for one unit, tars included; None where that was not measured.
        where: the page on which it stands, or which table's figure it is part of.
        beside: what of these seconds of a core, and of these bytes, is for something that lies beside: its name -> both.
        at, power: where it does not grow in proportion: the units that were measured, and the powers, from and to, with which it grows beyond them.
    """

    unit: Unit
    cpu_s: Span | None = None
    gpu_s: Span | None = ZERO
    bytes: Span | None = None
    where: str = ""
    at: float = 0.0
    power: Span = (1.0, 1.0)
    beside: Mapping[str, tuple[Span, Span]] = field(default_factory=dict)

    def times(self, span: Span | None, units: float) -> Span | None:
        """What so many units take, of one of its spans."""
        if span is None:
            return None
        beyond = max(units / self.at, 1.0) if self.at else 1.0
        low, high = (value * units * beyond ** (power - 1) for value, power in zip(span, self.power, strict=True))
        return low, high


FigureOf = Callable[["Recipe", "Subset | None"], Figure | None]
"""Recipe, and the subset of a table by subset -> the figure; None where there is none for what they ask for."""


def unmeasured(recipe: Recipe, subset: Subset | None) -> Figure | None:
    """Nothing was measured."""
    return None


def measured(figure: Figure) -> FigureOf:
    """The same figure for every recipe."""
    return lambda recipe, subset: figure
