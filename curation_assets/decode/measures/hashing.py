"""The keys of recipes that decide how frames are hashed; what is done with the hashes is `Dedup`, which has these keys besides its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from curation_assets.contracts.sections import Section


class Hashing(Section):
    """How frames are hashed."""

    method: Literal["phash", "dhash", "ahash", "whash"] = Field("phash", description="Hash of imagededup.")
    frames: int = Field(3, ge=1, le=32, description="At least so many hashed frames per clip.")
    fps: float = Field(
        10.0, gt=0, le=60, description="Frames looked at per second; a hash is kept when the picture has changed."
    )
    step: int = Field(
        4, ge=0, le=16, description="A hash is kept once it differs by more bits than this from the last one kept."
    )
    center: bool = Field(
        True, description="Whether the central part is hashed too: it meets copies with a logo, caption or crop."
    )
    flipped: bool = Field(False, description="Whether mirrored copies count.")
    crops: bool = Field(
        True, description="Whether crops to a part of the picture, and copies turned by a few degrees, are looked for."
    )
