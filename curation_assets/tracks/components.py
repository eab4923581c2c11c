"""The table of group tracks, and the stage that makes it."""

from __future__ import annotations

from curation_assets.tracks import tracks

COMPONENTS = (tracks.COMPONENT,)
STAGES = (tracks.STAGE,)
