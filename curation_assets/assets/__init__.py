"""The assets, one short module per group; each says what its tables depend on and calls the stage that makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagster import AssetsDefinition

from curation_assets.assets import captions, decode, dedup, ingest, publish, scores, tracks
from curation_assets.materialize import Stage, shard_assets
from curation_assets.recipes import Recipe, RecipeFault
from curation_assets.settings import Settings

STAGES: tuple[Stage, ...] = (
    *ingest.STAGES,
    *decode.STAGES,
    *dedup.STAGES,
    *scores.STAGES,
    *captions.STAGES,
    *tracks.STAGES,
)
"""All sharded stages, in graph order."""


def all_assets(
    settings: Settings, recipes: Mapping[str, Recipe], faults: Sequence[RecipeFault] = ()
) -> list[AssetsDefinition]:
    """Every asset of the code location; `dataset_index` shows which recipes were left out."""
    unpartitioned = [ingest.dataset_index(faults), dedup.duplicate_clusters(settings, recipes)]
    sharded = [shard_assets(s, settings, recipes) for s in STAGES]
    return [*unpartitioned, *sharded, *publish.publish_assets(settings, recipes)]
