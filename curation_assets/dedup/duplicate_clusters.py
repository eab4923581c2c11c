"""Table duplicate_clusters: clips that are copies of each other, over all shards and datasets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from curation_assets.contracts.component import Component, Gathering, RecipeKey
from curation_assets.contracts.costs import Figure, measured
from curation_assets.contracts.tables import (
    BOOL,
    CLIP_ID,
    DATASET,
    STRING,
    VIDEO_ID,
    Column,
    TableSchema,
    identifier,
    share,
)
from curation_assets.decode.measures.hashing import Hashing

if TYPE_CHECKING:
    from curation_assets.recipes import Recipe
    from curation_assets.settings import Settings
    from curation_resources.provenance import Provenance
    from curation_resources.tables import TableStore


class Dedup(Hashing):
    """When two clips are the same."""

    distance: int = Field(
        10, ge=0, le=16, description="Largest Hamming distance of two frames, of 64, that makes them a match."
    )
    matches: int = Field(2, ge=1, le=32, description="Frames that must match; fewer only if a clip has fewer.")
    agree: int = Field(
        14,
        ge=0,
        le=24,
        description="Largest distance at which the other frames, once aligned by the matches, still agree.",
    )
    coverage: float = Field(
        0.6, gt=0, le=1, description="Least share of the shorter clip's hashed frames that must agree."
    )
    reversed: bool = Field(False, description="Whether copies that run backwards count.")
    negative: bool = Field(False, description="Whether copies with inverted brightness count.")
    course: bool = Field(
        True,
        description="Whether what changes in the course of two clips must agree: speakers before one background are then no duplicates.",
    )
    confirm_cosine: float | None = Field(
        None, ge=0, le=1, description="Least cosine of mean embeddings, where both exist."
    )
    search: Literal["copies", "every_pair"] = Field(
        "every_pair",
        description="What is found for sure (to 0.995): pairs of which `matches` frames lie at exactly `distance` (every_pair), or of which four frames lie "
        "within 6 bits, as those of copies do, in a seventh to a tenth of the tables (copies).",
    )
    survivor: Literal["best", "first_seen"] = Field(
        "best", description="best: highest, longest, sharpest, smallest id; first_seen: the earlier shard."
    )


TABLE = TableSchema(
    "duplicate_clusters",
    "a clip that has a near-duplicate anywhere",
    ("shard", "cluster_id", "dataset", "video_id", "clip_id"),
    (
        DATASET,
        VIDEO_ID,
        CLIP_ID,
        identifier("cluster_id", "Id of the cluster: hash of its survivor."),
        identifier("shard", "Shard of the clip."),
        Column("survivor", STRING, "clip_id that is kept of the cluster.", nullable=False),
        Column("survivor_dataset", STRING, "Dataset of the survivor.", nullable=False),
        Column("keep", BOOL, "Whether this clip is the survivor.", nullable=False),
        Column("duplicate_of", STRING, "The clip that this one was matched with; null for the survivor."),
        share("similarity", "1 - Hamming distance / 64, mean over the frames that agree; 1 for exact copies."),
        Column(
            "relation",
            STRING,
            "How the two relate.",
            allowed=("exact", "copy", "contained", "contains", "flipped", "reversed", "negative", "cropped"),
        ),
        Column("confirmed_by", STRING, "What verified the match."),
        share(
            "embedding_similarity",
            "Cosine of the clips' mean embeddings, 0 for a negative one; null unless `dedup.confirm_cosine` is set and both exist.",
        ),
    ),
)


CLUSTERS_VERSION = "17"
CLUSTER_INDEX = f"{TABLE.asset}/index"
"""Folder in storage of the index of all fingerprints, by which they are compared."""


def _made_of(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Provenance:
    from curation_assets.dedup.comparison import clusters_provenance

    return clusters_provenance(store, recipes, settings)[0]


def _known(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Mapping[str, str]:
    """The fingerprints that the index has, by which those of other shards are compared."""
    from curation_assets.dedup.index_files import is_whole, read_manifest

    if not store.exists(TABLE.asset) or not is_whole(store.storage, CLUSTER_INDEX):
        return {}
    manifest = read_manifest(store.storage, CLUSTER_INDEX) or {"shards": {}}
    return {k: entry["content_hash"] for k, entry in manifest["shards"].items()}


COMPONENT = Component(
    TABLE,
    "dedup",
    "Near-duplicates over all shards of all datasets that exist; missing ones block nothing.",
    partitioned="whole",
    code_version=CLUSTERS_VERSION,
    keys=(RecipeKey("dedup", Dedup),),
    inputs=("clip_fingerprints",),
    gathering=Gathering(_made_of, _known),
    figure=measured(
        Figure(
            "clip", (1.5e-4, 1.5e-4), where="explanation/dedup.md, extrapolated beyond 3 M", at=1e6, power=(1.35, 1.81)
        )
    ),
)
