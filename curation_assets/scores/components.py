"""The tables of group scores, in graph order, and the stages that make them."""

from __future__ import annotations

from curation_assets.scores import (
    aesthetic_scores,
    audio_scores,
    category_scores,
    frame_embeddings,
    labels,
    text_scores,
)

COMPONENTS = (
    labels.COMPONENT,
    text_scores.COMPONENT,
    audio_scores.COMPONENT,
    frame_embeddings.COMPONENT,
    aesthetic_scores.COMPONENT,
    category_scores.COMPONENT,
)
STAGES = (
    labels.STAGE,
    text_scores.STAGE,
    audio_scores.STAGE,
    frame_embeddings.STAGE,
    aesthetic_scores.STAGE,
    category_scores.STAGE,
)
