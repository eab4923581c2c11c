"""The tables of group publish but for curated_clips, which is declared over all others."""

from __future__ import annotations

from curation_assets.publish import clip_dataset, curated_tracks, embedding_dataset

COMPONENTS = (
    curated_tracks.COMPONENT,
    clip_dataset.COMPONENT,
    embedding_dataset.COMPONENT,
)
STAGES = ()
