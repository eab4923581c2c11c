"""The tables of group dedup, in graph order, and the stage that makes each shard's part."""

from __future__ import annotations

from curation_assets.dedup import dedup, duplicate_clusters

COMPONENTS = (
    duplicate_clusters.COMPONENT,
    dedup.COMPONENT,
)
STAGES = (dedup.STAGE,)
