"""Table concepts: the centres of clusters of clip embeddings, fitted once on a sample of all shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
from pydantic import Field

from curation_assets.contracts.component import Component, Gathering, RecipeKey, if_named
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import FLOAT, INT32, STRING, Column, TableSchema
from curation_resources.extras import require

if TYPE_CHECKING:
    from curation_assets.recipes import Recipe
    from curation_assets.settings import Settings
    from curation_resources.provenance import Provenance
    from curation_resources.tables import TableStore


class Concepts(Section):
    """Clusters of clip embeddings, over all datasets whose recipes ask for them: these must say the same here and of `embeddings`."""

    clusters: int = Field(100, ge=2, le=100_000, description="How many concepts, at most as many as clips are sampled.")
    sample: int = Field(256, ge=1, le=4096, description="Clips for each concept, on average, on which they are fitted.")
    iterations: int = Field(20, ge=1, le=1000, description="Rounds of k-means.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Another seed draws another sample and begins elsewhere.")
    refit: int = Field(
        0,
        ge=0,
        description="Raise it to have the concepts fitted again. Clips that come later change nothing about them until then.",
    )


TABLE = TableSchema(
    "concepts",
    "a cluster of clips that show alike",
    ("concept",),
    (
        Column("concept", INT32, "Number of the concept; 0 is the largest in the sample.", nullable=False, minimum=0),
        Column("sampled", INT32, "Clips of the sample that are of it.", nullable=False, minimum=0),
        Column(
            "distance",
            FLOAT,
            "Mean of 1 - cosine of these clips with its centre; null without any.",
            minimum=0.0,
            maximum=2.0,
        ),
        Column("center", pa.list_(FLOAT), "Centre, of length 1, in the space of the CLIP model.", nullable=False),
        Column("model", STRING, "Model of the embeddings.", nullable=False),
    ),
)

CONCEPTS_VERSION = "1"


def _made_of(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Provenance:
    from curation_assets.concepts.concept_sample import concepts_provenance

    return concepts_provenance(store, recipes, settings)


def _known(store: TableStore, recipes: Mapping[str, Recipe], settings: Settings) -> Mapping[str, str]:
    """All embeddings there are, as soon as the concepts are those that the recipes ask for."""
    header = store.usable_header(TABLE.asset)
    if header is None or header.fingerprint != _made_of(store, recipes, settings).fingerprint:
        return {}
    return store.hashes("frame_embeddings")


COMPONENT = Component(
    TABLE,
    "concepts",
    "Clusters of clip embeddings by spherical k-means, fitted on a sample of all shards; they stay as they are until a recipe asks for a refit.",
    partitioned="whole",
    code_version=CONCEPTS_VERSION,
    keys=(RecipeKey("concepts", Concepts),),
    asked_by=if_named("concepts"),
    inputs=("frame_embeddings",),
    gathering=Gathering(_made_of, _known, fitted=True),
    shows=("frames",),
    installed=lambda r: require("the fitting of concepts", "faiss"),
)
