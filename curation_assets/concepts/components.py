"""The room `concepts`: clusters of clip embeddings."""

from __future__ import annotations

from curation_assets.concepts import clip_concepts, concepts

COMPONENTS = (concepts.COMPONENT, clip_concepts.COMPONENT)
STAGES = (clip_concepts.STAGE,)
