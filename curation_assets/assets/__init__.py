"""The tables by shard, one short module per group; each says what its tables depend on and calls the work that makes them."""

from __future__ import annotations

from curation_assets.assets import captions, decode, dedup, ingest, scores, tracks
from curation_assets.engine.component import Stage

STAGES: tuple[Stage, ...] = (
    *ingest.STAGES,
    *decode.STAGES,
    *dedup.STAGES,
    *scores.STAGES,
    *captions.STAGES,
    *tracks.STAGES,
)
"""All sharded stages, in graph order."""
