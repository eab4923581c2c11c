"""Table semantic_duplicates: clips of one concept whose embeddings nearly agree, over all shards and datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from curation_assets.contracts.component import Component, Gathering, RecipeKey, if_named
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import (
    BOOL,
    CLIP_ID,
    DATASET,
    FLOAT,
    INT32,
    STRING,
    VIDEO_ID,
    Column,
    TableSchema,
    identifier,
)

if TYPE_CHECKING:
    from curation_assets.recipes import Recipe
    from curation_assets.settings import Settings
    from curation_resources.provenance import Provenance
    from curation_resources.tables import TableStore


class SemanticDedup(Section):
    """When two clips of a concept say the same, over all datasets whose recipes ask for it: these must say the same here."""

    threshold: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="Cosine of two clips' embeddings above which they are duplicates: 1 - epsilon of SemDeDup.",
    )
    survivor: Literal["farthest", "nearest", "first_seen"] = Field(
        "farthest",
        description="Which goes first of clips that are duplicates: farthest from the concept's centre, as SemDeDup has it (its `hard`); nearest (`easy`);"
        " first_seen: what was compared by an earlier run, so that no clip that was kept is dropped for one that came later.",
    )


TABLE = TableSchema(
    "semantic_duplicates",
    "a clip that has a semantic duplicate anywhere",
    ("shard", "dataset", "video_id", "clip_id"),
    (
        DATASET,
        VIDEO_ID,
        CLIP_ID,
        identifier("shard", "Shard of the clip."),
        Column("concept", INT32, "Concept within which they were compared.", nullable=False, minimum=0),
        identifier("semantic_cluster_id", "Id of the group: hash of the clip that is kept."),
        Column("semantic_keep", BOOL, "Whether this clip is the one that is kept.", nullable=False),
        Column("survivor", STRING, "clip_id that is kept of the group.", nullable=False),
        Column("survivor_dataset", STRING, "Dataset of the survivor.", nullable=False),
        Column(
            "semantic_duplicate_of",
            STRING,
            "The most similar of the clips that go before this one, kept or not; null for the survivor.",
        ),
        Column("semantic_duplicate_dataset", STRING, "Dataset of that clip."),
        Column(
            "semantic_similarity",
            FLOAT,
            "Cosine of the two clips' embeddings; null for the survivor.",
            minimum=0.0,
            maximum=1.0,
        ),
    ),
)

SEMANTIC_VERSION = "1"


def _made_of(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Provenance:
    from curation_assets.concepts.semantic_inputs import semantic_provenance

    return semantic_provenance(store, recipes, settings)[0]


def _known(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Mapping[str, str]:
    """The clips that were compared when the table in force was made."""
    from curation_assets.concepts.semantic_inputs import compared

    return {key: own.content_hash for key, own in compared(store, store.usable_header(TABLE.asset)).items()}


COMPONENT = Component(
    TABLE,
    "concepts",
    "Clips of one concept whose embeddings nearly agree (SemDeDup), over all shards of all datasets that ask for it.",
    partitioned="whole",
    code_version=SEMANTIC_VERSION,
    keys=(RecipeKey("semantic_dedup", SemanticDedup),),
    asked_by=if_named("semantic_dedup"),
    inputs=("clip_concepts",),
    shows=("frames",),
    gathering=Gathering(_made_of, _known),
)
