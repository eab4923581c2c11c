"""Table aesthetic_scores: how pleasing each clip looks, by a small head on its embeddings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from curation_assets.contracts.component import Component, Made, RecipeKey, Stage, if_named
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, FLOAT, INT32, STRING, Column, TableSchema
from curation_assets.scores.shown import ranked_scores

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe


class Aesthetic(Section):
    """The aesthetic head."""

    head: str = Field(
        "improved",
        description="improved or improved-relu: the MLPs of improved-aesthetic-predictor (ViT-L-14); linear: LAION v1 (ViT-L-14 or ViT-B-32);"
        " or path or URL of a state dict.",
    )
    activation: Literal["auto", "none", "relu"] = Field(
        "auto", description="What stands between the head's layers; auto: what the layout of its file suggests."
    )
    sha256: str | None = Field(None, description="Expected hash of the weights, hexadecimal.")
    reduce: Literal["mean", "min"] = Field("mean", description="How frame scores become a clip's.")


TABLE = TableSchema(
    "aesthetic_scores",
    "a clip's aesthetic score",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column(
            "aesthetic",
            FLOAT,
            "Score of the head, about 1 to 10: of its frames the mean, or the least where `aesthetic.reduce` says so; null if none has an embedding.",
        ),
        Column("frames", INT32, "Frames that were scored.", minimum=0),
        Column("head", STRING, "Head and hash of its weights.", nullable=False),
        Column("model", STRING, "Model of the embeddings; null if no frame of the shard has one."),
    ),
)


def _head(recipe: Recipe) -> dict[str, str]:
    from curation_assets.scores.aesthetic_heads import head_identity

    return {"head": head_identity(recipe.aesthetic)}


def _aesthetic(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.scores.aesthetic_heads import aesthetic_table

    table = aesthetic_table(shard.table("clips"), shard.table("frame_embeddings"), shard.recipe.aesthetic)
    return {
        "aesthetic_scores": Made(
            table, {"unscored": table["aesthetic"].null_count}, ranked_scores(shard, table, ("aesthetic",))
        )
    }


COMPONENT = Component(
    TABLE,
    "scores",
    "How pleasing each clip looks, by a small head on its embeddings.",
    keys=(RecipeKey("aesthetic", Aesthetic),),
    asked_by=if_named("aesthetic"),
    params=lambda r: r.aesthetic.model_dump(exclude={"head", "sha256"}),
    inputs=("clips", "frames", "frame_embeddings"),
    weights=_head,
    complete="clips",
    curated=("aesthetic",),
    charted=("aesthetic",),
)

STAGE = Stage("aesthetic_scores", (COMPONENT,), _aesthetic)
