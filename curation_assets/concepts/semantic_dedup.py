"""Table semantic_dedup: each clip of a shard with the verdict of semantic_duplicates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.contracts.component import Component, Made, Stage, if_named
from curation_assets.contracts.tables import BOOL, CLIP_KEYS, FLOAT, STRING, Column, TableSchema
from curation_assets.contracts.telling import Counted

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard

VERDICT = ("semantic_keep", "semantic_duplicate_of", "semantic_duplicate_dataset", "semantic_similarity")

TABLE = TableSchema(
    "semantic_dedup",
    "a clip and whether it is kept among those that say the same",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column(
            "semantic_keep",
            BOOL,
            "Whether no clip of its concept that goes before it says the same; clips without embedding are kept.",
            nullable=False,
            taken="semantic_duplicates.semantic_keep",
        ),
        Column(
            "semantic_duplicate_of",
            STRING,
            "The clip that it is most like of those; null if kept.",
            taken="semantic_duplicates.semantic_duplicate_of",
        ),
        Column(
            "semantic_duplicate_dataset",
            STRING,
            "Dataset of that clip.",
            taken="semantic_duplicates.semantic_duplicate_dataset",
        ),
        Column(
            "semantic_similarity",
            FLOAT,
            "Cosine with that clip.",
            minimum=0.0,
            maximum=1.0,
            taken="semantic_duplicates.semantic_similarity",
        ),
        Column(
            "semantic_cluster_id",
            STRING,
            "Group of clips that say the same, null for a clip that is alone.",
            taken="semantic_duplicates.semantic_cluster_id",
        ),
    ),
)


def semantic_view(duplicates: pa.Table, clips: pa.Table) -> pa.Table:
    """The `semantic_dedup` table of a shard.

    Args:
        duplicates: the shard's rows of `semantic_duplicates`.
        clips: the shard's clips.
    """
    own = clips.filter(pc.equal(clips["status"], "ok")).select([c.name for c in CLIP_KEYS])
    at = pc.index_in(own["clip_id"], value_set=duplicates["clip_id"].combine_chunks())
    for column in TABLE.arrow:
        if column.name not in own.column_names:
            values = pc.take(duplicates[column.name], at)
            own = own.append_column(
                column.name, pc.fill_null(values, True) if column.name == "semantic_keep" else values
            )
    return own.cast(TABLE.arrow).sort_by([(key, "ascending") for key in TABLE.key])


def _view(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    table = semantic_view(shard.slice("semantic_duplicates"), shard.table("clips"))
    return {"semantic_dedup": Made(table, _recounted(table))}


def _recounted(table: pa.Table) -> Mapping[str, int]:
    kept = pc.sum(table["semantic_keep"]).as_py() or 0
    return {"semantic_kept": kept, "semantic_dropped": table.num_rows - kept}


COMPONENT = Component(
    TABLE,
    "concepts",
    "Each clip of the shard with the verdict of semantic_duplicates.",
    asked_by=if_named("semantic_dedup"),
    inputs=("clips",),
    slices=("semantic_duplicates",),
    complete="clips",
    curated=tuple(
        Column(c.name, c.type, f"semantic_dedup.{c.name}", taken=f"semantic_dedup.{c.name}", later=("",))
        for c in TABLE.columns
        if c.name in ("semantic_keep", "semantic_cluster_id")
    ),
    counted=Counted("clips that say what no other kept one says", "semantic_kept"),
    recounted=_recounted,
)

STAGE = Stage("semantic_dedup", (COMPONENT,), _view)
