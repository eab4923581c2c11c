"""The tables of group decode, in graph order, and the one stage that makes them."""

from __future__ import annotations

from curation_assets.decode import clip_fingerprints, clips, frames, motion_scores, one_decode, quality_scores

COMPONENTS = (
    clips.COMPONENT,
    frames.COMPONENT,
    motion_scores.COMPONENT,
    quality_scores.COMPONENT,
    clip_fingerprints.COMPONENT,
)
STAGES = (one_decode.STAGE,)
