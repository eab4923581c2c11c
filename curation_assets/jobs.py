"""Jobs: the ways in which parts of the graph are run together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from curation_assets.recipes import Recipe

SHARDED_GROUPS = ("decode", "scores", "captions", "tracks")


def all_jobs(recipes: Mapping[str, Recipe]) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of a code location."""
    job: Any = define_asset_job
    return [
        job(
            "index",
            AssetSelection.assets("dataset_index"),
            description="Reads the sources of all recipes and registers new shards. Start here.",
        ),
        job(
            "ingest",
            AssetSelection.assets("video_metadata", "raw_shards"),
            description="Normal form and downloads of the chosen shards.",
        ),
    ]
