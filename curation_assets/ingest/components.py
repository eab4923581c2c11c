"""The tables of group ingest, in graph order, and the stages that make them."""

from __future__ import annotations

from curation_assets.ingest import dataset_index, raw_shards, video_metadata

COMPONENTS = (
    dataset_index.COMPONENT,
    video_metadata.COMPONENT,
    raw_shards.COMPONENT,
)
STAGES = (
    video_metadata.STAGE,
    raw_shards.STAGE,
)
