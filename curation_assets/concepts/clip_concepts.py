"""Table clip_concepts: the concept of each clip, and its embedding as a whole."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from curation_assets.contracts.component import Component, Made, Stage, if_named
from curation_assets.contracts.tables import CLIP_KEYS, FLOAT, INT32, Column, TableSchema
from curation_assets.showing.figures import counts

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


TABLE = TableSchema(
    "clip_concepts",
    "a clip and its concept",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("concept", INT32, "Concept whose centre is nearest; null if no frame has an embedding.", minimum=0),
        Column(
            "concept_distance",
            FLOAT,
            "1 - cosine of the clip's embedding with that centre.",
            minimum=0.0,
            maximum=2.0,
        ),
        Column(
            "clip_embedding",
            pa.list_(pa.float16()),
            "Mean of the embeddings of its frames, of length 1; null if none has one.",
        ),
    ),
)


def _assign(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.concepts.assignment import clip_concepts_table

    table = clip_concepts_table(shard.table("clips"), shard.table("frame_embeddings"), shard.slice("concepts"))
    return {
        "clip_concepts": Made(table, {"without": table["concept"].null_count}, {"concepts": counts(table, "concept")})
    }


COMPONENT = Component(
    TABLE,
    "concepts",
    "The concept of each clip, that whose centre is nearest to the mean of its frames' embeddings.",
    asked_by=if_named("concepts"),
    inputs=("clips", "frame_embeddings"),
    slices=("concepts",),
    complete="clips",
    curated=(
        Column("concept", INT32, "clip_concepts.concept", taken="clip_concepts.concept", later=("",)),
        Column(
            "concept_distance",
            FLOAT,
            "clip_concepts.concept_distance",
            taken="clip_concepts.concept_distance",
            later=("",),
        ),
    ),
    unexplained=frozenset({"clip_embedding"}),
    charted=("concept_distance",),
)

STAGE = Stage("clip_concepts", (COMPONENT,), _assign)
