"""Every asset of the code location."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagster import AssetsDefinition

from curation_assets.orchestration.curated import publish_assets
from curation_assets.orchestration.dataset_index import dataset_index
from curation_assets.orchestration.gathered import gathered
from curation_assets.orchestration.shard_assets import shard_assets
from curation_assets.recipes import Recipe, RecipeFault
from curation_assets.registry import GATHERED, STAGES
from curation_assets.settings import Settings


def all_assets(
    settings: Settings, recipes: Mapping[str, Recipe], faults: Sequence[RecipeFault] = ()
) -> list[AssetsDefinition]:
    """Every asset of the code location; `dataset_index` shows which recipes were left out."""
    unpartitioned = [dataset_index(settings, faults), *map(gathered, GATHERED)]
    sharded = [shard_assets(s, settings, recipes) for s in STAGES]
    return [*unpartitioned, *sharded, *publish_assets(settings, recipes)]
