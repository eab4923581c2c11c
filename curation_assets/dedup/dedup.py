"""Table dedup: each clip of a shard with the verdict of duplicate_clusters."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from curation_assets.contracts.component import Component, Made, Stage
from curation_assets.contracts.tables import BOOL, CLIP_KEYS, FLOAT, INT32, STRING, Column, TableSchema
from curation_assets.contracts.telling import Counted, Row, Subject, Told, summed
from curation_assets.showing.figures import counts
from curation_assets.showing.telling import lines_of
from curation_assets.showing.text import as_text
from curation_resources.tables import MissingTable

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
    from curation_assets.dedup.shard_pairs import shard_pairs

    clips = shard.table("clips")
    real = clips.filter(pc.equal(clips["status"], "ok"))
    table = dedup_view(shard.slice("duplicate_clusters"), real)
    return {
        "dedup": Made(
            table, _recounted(table), {"pairs": shard_pairs(shard, table), "relations": counts(table, "relation")}
        )
    }


def _recounted(table: pa.Table) -> Mapping[str, int]:
    kept = pc.sum(table["keep"]).as_py() or 0
    return {"kept": kept, "dropped": table.num_rows - kept}


def _told(subject: Subject) -> Iterator[Told]:
    """The verdict on a clip, and the others of its cluster."""
    rows = subject.rows("dedup") if subject.clip else ()
    lines = [line for row in rows for line in (*lines_of(row), *_others(subject, row))]
    if lines:
        yield "duplicates", lines


def _others(subject: Subject, row: Row) -> Iterator[tuple[str, str]]:
    if row["cluster_id"] is None:
        return
    try:
        members = subject.store.read("duplicate_clusters", filters=ds.field("cluster_id") == row["cluster_id"])
    except MissingTable:
        return
    for member in members.to_pylist():
        if member["clip_id"] != row["clip_id"] or member["dataset"] != row["dataset"]:
            role = "kept" if member["keep"] else f"{member['relation']} of {member['duplicate_of']}"
            alike = "" if member["similarity"] is None else f", similarity {as_text(member['similarity'])}"
            yield "also in the cluster", f"{member['dataset']} {member['clip_id']}: {role}{alike}"


COMPONENT = Component(
    TABLE,
    "dedup",
    "Each clip of the shard with the verdict of duplicate_clusters.",
    inputs=("clips",),
    slices=("duplicate_clusters",),
    complete="clips",
    curated=("keep", "cluster_id", Column("cluster_size", INT32, "Clips in that cluster, 1 for unique clips.")),
    told=_told,
    counted=Counted("clips without a better copy", "kept", row=("keep", True)),
    summary=(summed("kept", "kept"),),
    recounted=_recounted,
)

STAGE = Stage("dedup", (COMPONENT,), _view)
