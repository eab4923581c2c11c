"""Subsets as recipes declare them: which candidates are taken, how they are split, what is exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from curation_assets.contracts.choices import OneOf
from curation_assets.contracts.open_section import OpenSection
from curation_assets.contracts.sections import GrownSection, Rules, Section
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.curated_tracks import TrackExport
from curation_assets.publish.embedding_dataset import EmbeddingExport


class Select(OpenSection):
    """Which of the clips that pass the rules are taken."""

    later: ClassVar[frozenset[str]] = OpenSection.later | {"strict"}

    criterion: Annotated[
        str,
        OneOf(
            "criteria",
            (
                "all",
                "random",
                "video_balanced",
                "class_balanced",
                "min_redundancy",
                "max_motion",
                "cluster_balanced",
            ),
        ),
    ] = Field("all", description="How the clips that pass are chosen; docs/reference/subsets.md says what each does.")
    count: int | None = Field(None, ge=1, description="How many in all.")
    per_video: int = Field(1, ge=1, description="For video_balanced: at most so many of one video, before filling.")
    strict: bool = Field(
        False,
        description="For video_balanced: never more than `per_video` of one video, also where that leaves fewer than `count`.",
    )
    per_class: int | None = Field(
        None,
        ge=1,
        description="For class_balanced and min_redundancy: how many of each class; class_balanced takes `count` in all where both are given.",
    )
    class_by: str | None = Field(
        None,
        description="Column or category set that gives the class; tracks default to label, clips for cluster_balanced to their concept where the"
        " recipe has `concepts`, else to their near-duplicate cluster, and for min_redundancy to one class.",
    )
    order_by: str | None = Field(
        None, description="For class_balanced: score to take the best by; default seeded random."
    )
    temperature: float | None = Field(
        None, ge=0, description="For class_balanced: class shares proportional to size^temperature."
    )
    max_swaps: int = Field(1000, ge=0, description="For min_redundancy: accepted swaps per class.")
    epochs: int = Field(5, ge=1, le=100, description="For min_redundancy: passes over the candidates.")
    nest: list[int] = Field(
        default=[], description="For min_redundancy: larger sizes per class that the subset is to lie within."
    )
    seed: int = Field(0, description="Another seed makes another random choice.")

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        needed = {
            "random": "count",
            "video_balanced": "count",
            "max_motion": "count",
            "cluster_balanced": "count",
            "class_balanced": "per_class",
            "min_redundancy": "per_class",
        }.get(self.criterion)
        if needed and getattr(self, needed) is None and not (self.criterion == "class_balanced" and self.count):
            yield f"criterion {self.criterion} needs `{needed}`"
        if needed or self.criterion == "all":
            used = {needed, "count"} if self.criterion == "class_balanced" else {needed}
            for key in ("count", "per_class"):
                if getattr(self, key) is not None and key not in used:
                    yield (
                        f"criterion {self.criterion} does not look at `{key}`; leave it out, or take another criterion"
                    )
        if self.strict and self.criterion != "video_balanced":
            yield f"`strict` is for criterion video_balanced, not for {self.criterion}"


def balanced_by_concept(subset: Any) -> Any:
    """A subset of a recipe that has `concepts`, as it was written, with the class that `cluster_balanced` draws by where it names none."""
    if not isinstance(subset, Mapping) or not isinstance(subset.get("select"), Mapping):
        return subset
    select = subset["select"]
    if select.get("criterion") != "cluster_balanced" or "class_by" in select or subset.get("of", "clips") != "clips":
        return subset
    return {**subset, "select": {**select, "class_by": "concept"}}


class Splits(Section):
    """How source videos are split; a video is never divided."""

    train: float = Field(1.0, ge=0, le=1, description="Share of the videos.")
    val: float = Field(0.0, ge=0, le=1, description="Share of the videos.")
    test: float = Field(0.0, ge=0, le=1, description="Share of the videos.")
    seed: int = Field(0, description="Another seed makes another split.")
    lists: dict[Literal["train", "val", "test"], str] = Field(
        default={}, description="Files of video ids with a given split."
    )

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            yield "train + val + test must be 1"


class Export(GrownSection):
    """What a subset publishes."""

    later: ClassVar[frozenset[str]] = frozenset({"tracks"})

    clips: ClipExport | None = None
    embeddings: EmbeddingExport | None = None
    tracks: TrackExport | None = None


class Subset(Section):
    """A named selection with its exports."""

    of: Literal["clips", "tracks"] = Field("clips", description="What is selected.")
    datasets: list[str] = Field(default=[], description="Datasets it draws from; default the recipe's own.")
    where: Rules = Field(default=[], description="Rules in order; the first that fails is the drop reason.")
    where_tracks: Rules = Field(default=[], description="For tracks: rules over the columns of the track.")
    exclude: list[str] = Field(default=[], description="Files of video or clip ids that must not be selected.")
    select: Select = Field(default_factory=lambda: Select())
    split: Splits = Field(default_factory=lambda: Splits())
    export: Export = Field(default_factory=lambda: Export())
    partial: bool | Literal["downloads"] = Field(
        False,
        description="Whether it may be published while inputs that it uses are missing, stale or not read in full: false keeps the version in "
        "force; `downloads` allows videos that could not be fetched for reasons that may pass (network, rate limits); true allows "
        "anything. What was left out stands in report, card and Croissant.",
    )

    def faults(self) -> Iterator[str]:
        yield from super().faults()
        if self.of == "clips" and self.export.clips is not None and self.export.clips.tracks:
            yield "export.clips.tracks needs a subset `of: tracks`"
        if self.of == "clips" and self.export.tracks is not None:
            yield "export.tracks needs a subset `of: tracks`"
        if self.of == "clips" and self.where_tracks:
            yield "where_tracks needs a subset `of: tracks`"
        if self.of == "clips" and self.select.criterion == "class_balanced" and not self.select.class_by:
            yield "criterion class_balanced needs `select.class_by`: a column or a category set"
