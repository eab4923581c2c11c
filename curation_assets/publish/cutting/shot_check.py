"""Whether a finished clip is a single shot: it is decoded anew, as any video is, and its boundaries are looked for."""

from __future__ import annotations

import tempfile
from typing import BinaryIO

from curation_assets.decode.analysis import analyse_video
from curation_assets.decode.analysis_results import AnalysisParams, VideoFacts
from curation_assets.decode.clips import Clips
from curation_assets.decode.shots import check_installed

WHOLE_S = 86_400.0
"""Scenes are split at no length that a clip could have."""


def boundaries_ms(clip: BinaryIO) -> list[int]:
    """Times at which the default detector sees a new shot begin, whatever detector the recipe cut with.

    Args:
        clip: a seekable stream of the file.

    Raises:
        ValueError: it cannot be decoded.
        MissingExtra: the default detector is not installed.
    """
    params = AnalysisParams(clips=Clips(min_s=0, max_s=WHOLE_S))
    check_installed(params.clips)
    with tempfile.TemporaryFile() as spool:
        found = analyse_video(clip, params, VideoFacts("", "clip"), ("clips",), spool)
    if found.error is not None:
        raise ValueError(found.error)
    starts = sorted(row["start_ms"] for row in found.rows["clips"] if row["status"] == "ok")
    return starts[1:]
