"""Table labels: what people said of clips, from the file in which it is kept, for rules to name (`label.ok`, `not label.drop`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curation_assets.contracts.component import Component, Made, RecipeKey, Stage
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, STRING, Column, TableSchema
from curation_assets.contracts.telling import Lines, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from curation_assets.engine.shard import Shard
    from curation_assets.recipes import Recipe

FILE_IDENTITY = "file of labels"
"""What the identity of the file is called among those that a table is made with."""


class Labelling(Section):
    """Where people's labels of clips are kept."""

    file: str = Field(
        "",
        description="File of labels, JSON lines, which `curation look` adds to and which need not be there yet: a path or URI, best beside the recipe. A bucket is reached as the settings `s3_endpoint` and its neighbours say, else as the AWS variables do. Empty is none.",
    )


TABLE = TableSchema(
    "labels",
    "a clip that somebody has labelled",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("labels", pa.list_(STRING), "The labels that hold, in order of letters.", nullable=False),
        Column("who", pa.list_(STRING), "Who gave each.", nullable=False, volatile=True),
        Column("labelled_at", pa.list_(STRING), "When, ISO 8601.", nullable=False, volatile=True),
    ),
)


def _identity(recipe: Recipe) -> Mapping[str, str]:
    from curation_assets.scores.label_file import LabelFile

    return {FILE_IDENTITY: LabelFile(recipe.labels.file).identity()} if recipe.labels.file else {}


def _labels(shard: Shard, wanted: Collection[str]) -> Mapping[str, Made]:
    from curation_assets.scores.label_file import LabelFile

    file = shard.recipe.labels.file
    held = LabelFile(file).labels() if file else {}
    clips = shard.table("clips")
    clips = clips.filter(pc.equal(clips["status"], "ok")).select(["dataset", "video_id", "clip_id"])
    rows = []
    for clip in clips.filter(pc.is_in(clips["clip_id"], value_set=pa.array(sorted(held), pa.string()))).to_pylist():
        own = sorted(held[clip["clip_id"]].items())
        if own:
            said = {
                "labels": [n for n, _ in own],
                "who": [s.who for _, s in own],
                "labelled_at": [s.when for _, s in own],
            }
            rows.append({**clip, **said})
    table = pa.Table.from_pylist(rows, schema=TABLE.arrow)
    return {TABLE.asset: Made(table, {"labelled": len(rows)})}


def _explained(rows: Sequence[Row]) -> Lines:
    return [
        (label, f"by {who or 'somebody'}, {when}")
        for row in rows
        for label, who, when in zip(row["labels"], row["who"], row["labelled_at"], strict=True)
    ]


COMPONENT = Component(
    TABLE,
    "scores",
    "What people said of clips, for rules to name: `label.ok`, `not label.drop`.",
    keys=(RecipeKey("labels", Labelling),),
    asked_by=lambda recipe: bool(recipe.labels.file),
    inputs=("clips",),
    weights=_identity,
    in_rules=False,
    explained=_explained,
)
STAGE = Stage("labels", (COMPONENT,), _labels)
