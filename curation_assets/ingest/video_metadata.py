"""Table video_metadata: what the sources say of each video, in one form whatever theirs was."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curation_assets.contracts.component import Component, Made, Stage
from curation_assets.contracts.tables import DATASET, ERROR, INT64, STRING, VIDEO_ID, Column, TableSchema
from curation_assets.contracts.telling import Subject, Told
from curation_assets.showing.figures import counts
from curation_assets.showing.telling import lines_of

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


SPAN_WORDS = (("caption", STRING), ("captions", pa.list_(STRING)), ("licence", STRING), ("extra", STRING))

SPAN = pa.struct([("clip_id", STRING), ("start_ms", INT64), ("end_ms", INT64), *SPAN_WORDS])

TABLE = TableSchema(
    "video_metadata",
    "a source video in normal form, or a source line that was rejected",
    ("video_id",),
    (
        DATASET,
        VIDEO_ID,
        Column(
            "url",
            STRING,
            "Where the video is fetched from, without secrets, or the URI of the file or tar it lies in.",
        ),
        Column("title", STRING, "Title given by the source."),
        Column(
            "caption",
            STRING,
            "Caption that the source gives the video; where each of its rows is a clip, what all of them say alike.",
        ),
        Column("captions", pa.list_(STRING), "All captions of the video, where the source gives several.", later=("",)),
        Column(
            "spans",
            pa.list_(SPAN),
            "Spans given by the source, in its order, each with what the source says of it: `caption`, the first of `captions` "
            "where there are several, `licence`, and `extra`, everything else, canonical JSON.",
            later=tuple(f"[].{name}" for name, _ in SPAN_WORDS),
        ),
        Column("licence", STRING, "Licence that the source gives the video; of rows that are clips, as for `caption`."),
        Column("status", STRING, "Whether the row can be used.", nullable=False, allowed=("ok", "rejected", "removed")),
        ERROR,
        Column(
            "extra",
            STRING,
            "Everything else the source says of the video, canonical JSON; of rows that are clips, what all say alike.",
        ),
        Column("source", STRING, "File that the row came from.", nullable=False, taken="dataset_index.source"),
        Column(
            "line",
            INT64,
            "Line or row of that file, counted from 1.",
            nullable=False,
            volatile=True,
            taken="dataset_index.line",
        ),
    ),
)


def _make_metadata(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.ingest.normal_form import video_metadata_table
    from curation_assets.ingest.source_words import SPAN_WORDS, has_words

    table = video_metadata_table(shard.slice("dataset_index"))
    stats: dict[str, Any] = {**_recounted(table)}
    if worded := sum(map(has_words, table["spans"].to_pylist())):
        stats[SPAN_WORDS] = worded
    return {"video_metadata": Made(table, stats)}


def _recounted(table: pa.Table) -> Mapping[str, Any]:
    return {"ok": 0, "rejected": 0, "removed": 0} | counts(table, "status")


def _told(subject: Subject) -> Iterator[Told]:
    left_out = {"source", "line", "status", *(["spans"] if subject.clip else [])}
    for row in subject.rows(TABLE.asset):
        yield "metadata", lines_of(row, left_out)


COMPONENT = Component(
    TABLE,
    "ingest",
    "What the sources say of each video, in one form whatever theirs was.",
    slices=("dataset_index",),
    every_row=True,
    told=_told,
    recounted=_recounted,
)

STAGE = Stage("video_metadata", (COMPONENT,), _make_metadata)
