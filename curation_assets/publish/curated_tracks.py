"""Table curated_tracks: every candidate track of a subset, selected or with the first rule that dropped it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curation_assets.contracts.component import Component
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import (
    BOOL,
    CLIP_KEYS,
    FLOAT,
    INT64,
    STRING,
    Column,
    TableSchema,
    identifier,
    taken_from,
)
from curation_assets.publish.curating.versions import CURATE_VERSION


class TrackExport(Section):
    """Which files the selected tracks are written as; they are always in `tracks.jsonl.gz`."""

    layout: Literal["list", "videos"] = Field(
        "list",
        description="list: tracks.jsonl.gz alone; videos: beside it, as TrackVerse's pipeline leaves them, `[YID]-meta.jsonl.gzip` and `[YID]-progress.json` "
        "of each video, in folders by the first two characters of its id.",
    )


TABLE = TableSchema(
    "curated_tracks",
    "a candidate track and whether it was selected",
    ("dataset", "video_id", "clip_id", "track_id"),
    (
        *CLIP_KEYS,
        identifier("track_id", "Track."),
        identifier("shard", "Shard of the track."),
        Column("selected", BOOL, "Whether the track is in the subset.", nullable=False),
        Column("drop_reason", STRING, "First rule or criterion that dropped it; null if selected."),
        Column("split", STRING, "train, val or test; null if not selected."),
        taken_from(STRING, "tracks.label"),
        taken_from(FLOAT, "tracks.score"),
        taken_from(INT64, "tracks.start_ms"),
        taken_from(INT64, "tracks.end_ms"),
        taken_from(FLOAT, "tracks.area"),
        taken_from(FLOAT, "tracks.motion"),
    ),
)


COMPONENT = Component(
    TABLE,
    "publish",
    partitioned="subset",
    code_version=CURATE_VERSION,
    in_subset=lambda subset: subset.of == "tracks",
    inputs=("tracks",),
    candidates="tracks",
    charted=("score", "area", "motion"),
)
