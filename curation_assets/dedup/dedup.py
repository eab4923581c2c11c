"""Table dedup: each clip of a shard with the verdict of duplicate_clusters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from curation_assets.contracts.component import Component, Made, Stage
from curation_assets.contracts.tables import BOOL, CLIP_KEYS, FLOAT, INT32, STRING, Column, TableSchema
from curation_assets.showing.figures import counts

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


TABLE = TableSchema(
    "dedup",
    "a clip and whether it is kept",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("keep", BOOL, "Whether no better copy exists.", nullable=False, taken="duplicate_clusters.keep"),
        Column(
            "duplicate_of",
            STRING,
            "The clip that it duplicates; null if kept.",
            taken="duplicate_clusters.duplicate_of",
        ),
        Column("duplicate_dataset", STRING, "Dataset of that clip."),
        Column(
            "similarity",
            FLOAT,
            "Similarity with that clip.",
            minimum=0.0,
            maximum=1.0,
            taken="duplicate_clusters.similarity",
        ),
        Column("cluster_id", STRING, "Cluster, null for unique clips.", taken="duplicate_clusters.cluster_id"),
        Column(
            "relation",
            STRING,
            "How the two relate.",
            allowed=("exact", "copy", "contained", "contains", "flipped", "reversed", "negative", "cropped"),
            taken="duplicate_clusters.relation",
        ),
    ),
)


def _view(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.dedup.clusters import dedup_view

    clips = shard.table("clips")
    real = clips.filter(pc.equal(clips["status"], "ok"))
    table = dedup_view(shard.slice("duplicate_clusters"), real)
    stats = {
        "kept": pc.sum(table["keep"]).as_py() or 0,
        "dropped": table.num_rows - (pc.sum(table["keep"]).as_py() or 0),
    }
    return {"dedup": Made(table, stats, {"relations": counts(table, "relation")})}


COMPONENT = Component(
    TABLE,
    "dedup",
    "Each clip of the shard with the verdict of duplicate_clusters.",
    inputs=("clips",),
    slices=("duplicate_clusters",),
    complete="clips",
    curated=("keep", "cluster_id", Column("cluster_size", INT32, "Clips in that cluster, 1 for unique clips.")),
    heading="duplicates",
)

STAGE = Stage("dedup", (COMPONENT,), _view)
