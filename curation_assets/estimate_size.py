"""How large a dataset is: as somebody says, or as its tables have it; None is what neither knows.

What belongs here: numbers of videos, hours, clips and frames, and which options say them. What does not: what they cost (`estimate.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from curation_assets.contracts.costs import Figure


@dataclass(frozen=True)
class Size:
    """How much there is to do, where that is not known yet.

    Attributes:
        videos: of the source.
        hours_per_video: mean length.
        clips_per_video: mean number.
        selected: share of the clips, 0 to 1, that subsets take.
    """

    videos: int | None = None
    hours_per_video: float | None = None
    clips_per_video: float | None = None
    selected: float | None = None


COUNTED_BY = {
    "hour": ["--hours-per-video"],
    "clip": ["--clips-per-video"],
    "frame": ["--clips-per-video", "--hours-per-video"],
    "selected": ["--selected", "--hours-per-video"],
}


@dataclass(frozen=True)
class Shape:
    """A dataset's videos, and what a mean one has; None is not known."""

    videos: float
    per_shard: float
    hours: float | None
    clips: float | None
    frames: float | None

    def units(self, figure: Figure, videos: float, share: float | None) -> float | None:
        """How many of a figure's units so many videos have; `share` of their clips are selected."""
        each = {
            "video": 1.0,
            "hour": self.hours,
            "clip": self.clips,
            "frame": self.frames,
            "selected": self.hours * share if self.hours is not None and share is not None else None,
        }[figure.unit]
        return None if each is None else each * videos

    def lacking(self, unit: str, share: float | None) -> list[str]:
        """Options that say what is not known of a figure's units."""
        unknown = {"--clips-per-video": self.clips, "--hours-per-video": self.hours, "--selected": share}
        return [option for option in COUNTED_BY[unit] if unknown[option] is None]
