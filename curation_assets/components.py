"""What packages declare tables with: everything that a component of somebody else needs to name, in one place.

A package brings tables through entry points of group `curation_assets.components`; each names a `Stage`, or a list of them.
`docs/how-to/add_a_score.md` goes through one. Stable: names here are removed or changed only with a release that says so.
"""

from __future__ import annotations

from curation_assets.contracts.checks import Check, Finding
from curation_assets.contracts.component import Component, Made, RecipeKey, Stage, always, if_named
from curation_assets.contracts.costs import Figure, measured
from curation_assets.contracts.sections import Rules, Section
from curation_assets.contracts.tables import (
    BOOL,
    CLIP_KEYS,
    DATASET,
    DOUBLE,
    ERROR,
    FLOAT,
    INT32,
    INT64,
    STRING,
    VIDEO_ID,
    Column,
    TableSchema,
    identifier,
    share,
)
from curation_assets.engine.pods import GPU, pod
from curation_assets.scores.frame_score import Picture, frame_score
from curation_assets.scores.media_score import media_score
from curation_assets.scores.shown import ranked_scores

__all__ = [
    "BOOL",
    "CLIP_KEYS",
    "DATASET",
    "DOUBLE",
    "ERROR",
    "FLOAT",
    "GPU",
    "INT32",
    "INT64",
    "STRING",
    "VIDEO_ID",
    "Check",
    "Column",
    "Component",
    "Figure",
    "Finding",
    "Made",
    "Picture",
    "RecipeKey",
    "Rules",
    "Section",
    "Stage",
    "TableSchema",
    "always",
    "frame_score",
    "identifier",
    "if_named",
    "measured",
    "media_score",
    "pod",
    "ranked_scores",
    "share",
]
