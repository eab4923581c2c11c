"""Table category_scores: how well each clip fits the prompts of the recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field, field_validator

from curation_assets.contracts.component import Component, Lines, Made, RecipeKey, Row, Stage, if_named
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, FLOAT, STRING, Column, TableSchema, identifier, share
from curation_assets.scores.frame_embeddings import clip_model
from curation_assets.showing.clips import ranked_table
from curation_assets.showing.figures import distributions, markdown_table
from curation_assets.showing.text import as_text

if TYPE_CHECKING:
    from curation_assets.engine.shard import Shard


Prompts = list[str] | dict[str, str | list[str]]
"""How recipes may write prompts: a list of categories that are their own prompts, or category to one or several."""


class PromptSet(Section):
    """A set of categories among which the probability is shared."""

    prompts: dict[str, list[str]] = Field(min_length=1, description="Category to one or several prompts.")

    @field_validator("prompts", mode="before", json_schema_input_type=Prompts)
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if isinstance(value, list):
            value = {str(v): [str(v)] for v in value}
        if isinstance(value, Mapping):
            return {k: [v] if isinstance(v, str) else v for k, v in value.items()}
        return value


def _bare_prompts(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: v if isinstance(v, Mapping) and "prompts" in v else {"prompts": v} for k, v in value.items()}
    return value


PromptSets = Annotated[
    dict[str, PromptSet], BeforeValidator(_bare_prompts, json_schema_input_type=dict[str, PromptSet | Prompts])
]


TABLE = TableSchema(
    "category_scores",
    "a clip and a prompt of a category set",
    ("video_id", "clip_id", "category_set", "category"),
    (
        *CLIP_KEYS,
        identifier("category_set", "Name of the prompt set."),
        identifier("category", "Name of the category."),
        Column("score", FLOAT, "100 x cosine of prompt and frame, maximum over frames.", minimum=-100, maximum=100),
        Column("score_mean", FLOAT, "The same, mean over frames.", minimum=-100, maximum=100),
        share("probability", "Softmax of the set's mean scores at the model's temperature."),
        Column("model", STRING, "Model of the embeddings.", nullable=False),
    ),
)


PICTURED_CATEGORIES = 8
"""Categories, in the recipe's order, whose lowest, median and highest clips are shown: about 90 kB of pictures at most."""


def _categories(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.scores.category_match import category_table
    from curation_assets.scores.embedding import load_text_encoder

    encoder = shard.model(load_text_encoder, shard.recipe.embeddings)
    table = category_table(shard.table("clips"), shard.table("frame_embeddings"), shard.recipe.categories, encoder)
    best = table.filter(pc.greater(table["probability"], 0.5))
    tally = best.group_by(["category_set", "category"]).aggregate([("clip_id", "count")]).to_pylist()
    overview = markdown_table(("set", "category", "clips above 0.5"), [tuple(t.values()) for t in tally])
    by_name = {
        f"{name}.{category}": table.filter(
            pc.and_(pc.equal(table["category_set"], name), pc.equal(table["category"], category))
        )
        for name, prompt_set in shard.recipe.categories.items()
        for category in prompt_set.prompts
    }
    first = dict(islice(by_name.items(), PICTURED_CATEGORIES))
    metadata = {
        "categories": overview,
        "distributions": distributions({name: t["score"].to_pylist() for name, t in by_name.items()}, "score"),
        "lowest_median_highest": ranked_table(shard.storage, shard.table("frames"), first, "score"),
    }
    return {"category_scores": Made(table, {}, {k: v for k, v in metadata.items() if v is not None})}


def _explained(rows: Sequence[Row]) -> Lines:
    by_set = sorted(rows, key=lambda r: (r["category_set"], -(r["probability"] or 0)))
    lines = [
        (f"{r['category_set']}.{r['category']}", f"{as_text(r['probability'])}, score {as_text(r['score'])}")
        for r in by_set
    ]
    return [*lines, *([("model", rows[0]["model"])] if rows else [])]


COMPONENT = Component(
    TABLE,
    "scores",
    "How well each clip fits the prompts of the recipe.",
    keys=(RecipeKey("categories", PromptSets, "Prompt sets for category_scores."),),
    asked_by=if_named("categories"),
    params=lambda r: {n: s.model_dump() for n, s in r.categories.items()},
    inputs=("clips", "frames", "frame_embeddings"),
    weights=clip_model,
    curated=(
        Column("categories", pa.map_(STRING, FLOAT), "category_scores: '<set>.<category>' to probability."),
        Column("category_matches", pa.map_(STRING, FLOAT), "category_scores: '<set>.<category>' to score."),
    ),
    explained=_explained,
)

STAGE = Stage("category_scores", (COMPONENT,), _categories)
