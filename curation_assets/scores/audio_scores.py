"""Table audio_scores: how loud each clip is, and how much of it is quiet."""

from __future__ import annotations

from pydantic import Field

from curation_assets.contracts.component import Component, RecipeKey, if_named
from curation_assets.contracts.sections import Section
from curation_assets.contracts.tables import CLIP_KEYS, ERROR, FLOAT, STRING, Column, TableSchema, share
from curation_assets.scores.media_score import media_score, shown


class Audio(Section):
    """How a clip's sound is measured."""

    quiet: float = Field(-50.0, ge=-70, le=0, description="Momentary loudness below which sound is quiet, LUFS.")


TABLE = TableSchema(
    "audio_scores",
    "a clip's sound",
    ("video_id", "clip_id"),
    (
        *CLIP_KEYS,
        Column("loudness", FLOAT, "Integrated loudness, LUFS; null if no sound is above -70, or lasts 0.4 s."),
        Column("peak", FLOAT, "Largest sample of any channel, 1 is full scale; not oversampled.", minimum=0),
        share("silence", "Share of moments (400 ms, every 100 ms) below the recipe's `audio.quiet`."),
        share("sound", "Share of the clip for which there is decoded sound; 0 without an audio track."),
        Column("estimator", STRING, "What was measured and how.", nullable=False),
        ERROR,
    ),
)


COMPONENT = Component(
    TABLE,
    "scores",
    "How loud each clip is, and how much of it is quiet.",
    code_version="2",
    keys=(RecipeKey("audio", Audio),),
    asked_by=if_named("audio"),
    params=lambda r: r.audio.model_dump(),
    inputs=("clips", "raw_shards"),
    complete="clips",
    curated=("loudness", "silence"),
    charted=("loudness",),
    shown=shown,
)

STAGE = media_score(COMPONENT, "curation_assets.scores.loudness")
