"""The room `concepts`: clusters of clip embeddings, and clips that say the same within them."""

from __future__ import annotations

from curation_assets.concepts import clip_concepts, concepts, semantic_dedup, semantic_duplicates

COMPONENTS = (
    concepts.COMPONENT,
    clip_concepts.COMPONENT,
    semantic_duplicates.COMPONENT,
    semantic_dedup.COMPONENT,
)
STAGES = (clip_concepts.STAGE, semantic_dedup.STAGE)
