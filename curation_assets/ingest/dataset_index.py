"""Table dataset_index: which videos the sources have, and the shard that each belongs to for ever."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from curation_assets.contracts.choices import OneOf
from curation_assets.contracts.component import Component, RecipeKey, never
from curation_assets.contracts.costs import Figure, measured
from curation_assets.contracts.open_section import OpenSection
from curation_assets.contracts.sections import Paths, Section
from curation_assets.contracts.tables import DATASET, INT64, STRING, VIDEO_ID, Column, TableSchema, identifier


class Columns(Section):
    """Which columns of a `table` source mean what. A column that is not named goes to `extra`."""

    id: str | None = Field(None, description="Column of the source's own id; default: hash of the URL.")
    url: str | None = Field(None, description="Column of the URL. Default: built from the id as a YouTube URL.")
    title: str | None = Field(None, description="Column of the title.")
    caption: str | None = Field(None, description="Column of the caption.")
    licence: str | None = Field(None, description="Column of the licence.")
    clips: str | None = Field(
        None, description="Column of spans: a list of [start, end], as a list, JSON or a Python literal."
    )
    start: str | None = Field(None, description="Column of a single span's start, instead of `clips`.")
    end: str | None = Field(None, description="Column of a single span's end.")
    clip_id: str | None = Field(None, description="Column of the span's own id, or of a list of them.")
    clip_name: str | None = Field(
        None,
        description="Column of a clip's name that holds all of it, `<video id>_<start>_<end>` as in VATEX, instead of `start` and `end`.",
    )
    parallel: list[str] = Field(
        default=[],
        description="Further columns that hold a list with one entry for each of `clips`; a row in which one has another length is rejected. "
        "A list of just as many entries in any other column counts as one without being named.",
    )


class CaptionFile(Section):
    """A second file with captions, which are joined to the rows of the first by the span's own id or else the video's."""

    path: Paths = Field(description="File, glob or URI, or a list of them, of the kinds that `table` reads.")
    id: str = Field("video_id", description="Column of the id. In a JSON object keyed by id, the keys.")
    caption: str = Field("caption", description="Column of the caption, or of a list of them.")
    records: str | None = Field(
        None, description="For a JSON document: name under which it holds the records, such as `sentences`."
    )


class Source(OpenSection):
    """Where the list of videos is and how it is written."""

    format: Annotated[
        str,
        OneOf(
            "sources",
            (
                "hdvila",
                "acav",
                "table",
                "folder",
                "ids",
                "webdataset",
            ),
        ),
    ] = Field(description="Layout of the source.")
    path: Paths = Field(
        description="File, glob, folder or URI, or a list of them; `~` and environment variables, also as `${NAME:-default}`, are expanded."
    )
    columns: Columns = Field(default_factory=lambda: Columns(), description="For `table`: the column mapping.")
    root: str | None = Field(
        None,
        description="For `table`: folder or URI below which relative paths in the list lie; default the list's own folder. "
        "A list that came over the network never names local files.",
    )
    captions: CaptionFile | None = Field(None, description="For `table`: captions in a second file.")
    records: str | None = Field(
        None,
        description="For JSON documents: name under which one holds its records; default `database`, `videos` and the like.",
    )
    time_unit: Literal["s", "ms", "us"] = Field("s", description="Unit of numeric times in spans. HH:MM:SS needs none.")
    url_prefix: str | None = Field(
        None, description="Put before a relative URL; without it a relative URL of a `table` is a path."
    )
    url_template: str | None = Field(
        None,
        description="URL of an id, with {id}; default https://www.youtube.com/watch?v={id} for hdvila, acav and ids.",
    )
    extensions: list[str] = Field(
        default=["mp4", "mkv", "webm", "mov", "avi", "m4v", "mpg", "mpeg", "ts", "flv", "wmv", "3gp", "ogv"],
        description="For `folder`: file name extensions of videos.",
    )
    limit: int | None = Field(None, ge=1, description="Take only the first so many videos of the source.")
    settle_s: float = Field(
        30,
        ge=0,
        le=86_400,
        description="Seconds for which a file must have been left alone before the source sensor, or `curation run --settled`, takes it; "
        "the others are not held up by it. Objects of a store appear whole.",
    )

    @property
    def may_word_spans(self) -> bool:
        """Whether its rows may say something of spans; files are nothing but videos."""
        return self.format in ("acav", "hdvila", "table")

    def settled(self) -> dict[str, Any]:
        """The section as it is compared with that of an earlier version: keys that are newer only where they are used."""
        said = self.model_dump(exclude={"settle_s"})
        for section, names in ((said, ("root", "captions", "records")), (said["columns"], ("clip_name", "parallel"))):
            for name in names:
                if not section[name]:
                    del section[name]
        return said

    @field_validator("url_template")
    @classmethod
    def _has_id(cls, value: str | None) -> str | None:
        if value is not None and "{id}" not in value:
            raise ValueError("must contain {id}")
        return value


class ShardOptions(Section):
    """How videos are grouped into partitions. Changing it affects only rows that are not yet in a shard."""

    videos: int = Field(100, ge=1, le=100_000, description="Videos per shard.")


TABLE = TableSchema(
    "dataset_index",
    "a source video and the shard it belongs to",
    ("shard", "video_id"),
    (
        DATASET,
        VIDEO_ID,
        identifier("shard", "Key of the shard that the video belongs to, for ever."),
        Column(
            "status",
            STRING,
            "Whether the source has the row, lost it, or could not be read as one.",
            nullable=False,
            allowed=("present", "removed", "rejected"),
        ),
        Column("source", STRING, "File that the row came from first.", nullable=False),
        Column("line", INT64, "Line or row of that file, counted from 1.", nullable=False, volatile=True, minimum=0),
        Column("record", STRING, "The row in normal form, canonical JSON; for rejected rows the text that was read."),
        Column("error", STRING, "For rejected rows, the reason."),
    ),
    remedy="make it again with: curation run RECIPE --select dataset_index, which takes it from video_metadata; "
    "if that is damaged too, bring them back from a backup",
)


INDEX_VERSION = "2"


COMPONENT = Component(
    TABLE,
    "ingest",
    "Reads the sources of all recipes and registers their shards, the partitions of most other assets.",
    partitioned="whole",
    asked_by=never,
    code_version=INDEX_VERSION,
    keys=(RecipeKey("source", Source, required=True), RecipeKey("shard", ShardOptions)),
    figure=measured(Figure("video", (1.4e-5, 2.0e-5), where="reference/scale.md")),
)
