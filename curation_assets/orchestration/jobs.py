"""Jobs: the ways in which parts of the graph are run together. What a run finds up to date it leaves as it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dagster import AssetKey, AssetsDefinition, AssetSelection, define_asset_job

from curation_assets.orchestration.compat import UnresolvedAssetJobDefinition
from curation_assets.orchestration.partitions import SHARDS
from curation_assets.registry import CLUSTERS, DOWNLOADS, GATHERED, INDEX, JUDGED, component

INDEX_JOB, INGEST_JOB, CURATE_JOB, DEDUPLICATE_JOB, PUBLISH_JOB = "index", "ingest", "curate", "deduplicate", "publish"
GATHERING_JOB = {asset: DEDUPLICATE_JOB if asset == CLUSTERS else f"gather_{asset}" for asset in GATHERED}
"""The job that makes each table that is gathered of all shards. It is not called as the table is: Dagster takes no code location in which a job and an op
have one name."""


def all_jobs(assets: Iterable[AssetsDefinition]) -> list[UnresolvedAssetJobDefinition]:
    """The jobs of a code location over its assets."""
    definitions = list(assets)

    def keys(partitions: Any) -> list[AssetKey]:
        return sorted(k for a in definitions if a.partitions_def == partitions for k in a.keys)

    subsets = next((a.partitions_def for a in definitions if AssetKey(JUDGED["clips"]) in a.keys), None)

    def job(name: str, selection: AssetSelection, description: str) -> UnresolvedAssetJobDefinition:
        define: Any = define_asset_job
        made: UnresolvedAssetJobDefinition = define(name, selection, description=description)
        return made

    return [
        job(
            INDEX_JOB,
            AssetSelection.assets(INDEX),
            "Reads the sources of all recipes and registers new shards. Start here.",
        ),
        job(
            INGEST_JOB,
            AssetSelection.assets(*component(DOWNLOADS).inputs, DOWNLOADS),
            "Normal form and downloads of the chosen shards. Videos that failed for a reason that may pass are tried again, alone.",
        ),
        job(
            CURATE_JOB,
            AssetSelection.assets(*keys(SHARDS)),
            "Everything that is partitioned by shard, for the chosen shards: ingest, decode, dedup, scores, captions, tracks. "
            "The gap sensor runs parts of it, as each recipe asks; by hand it makes assets that a recipe says nothing of too.",
        ),
        job(
            DEDUPLICATE_JOB,
            AssetSelection.assets(CLUSTERS),
            "Finds near-duplicates over all shards that exist. Each shard's `dedup` then takes its part of it.",
        ),
        *(
            job(name, AssetSelection.assets(asset), component(asset).about)
            for asset, name in GATHERING_JOB.items()
            if asset != CLUSTERS
        ),
        job(
            PUBLISH_JOB,
            AssetSelection.assets(*keys(subsets)),
            "Judges the candidates of the chosen subsets and writes what they export.",
        ),
    ]
