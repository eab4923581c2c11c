"""The tables of group captions, in graph order, and the stages that make them."""

from __future__ import annotations

from curation_assets.captions import caption_scores, captions

COMPONENTS = (
    captions.COMPONENT,
    caption_scores.COMPONENT,
)
STAGES = (
    captions.STAGE,
    caption_scores.STAGE,
)
