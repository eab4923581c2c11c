"""What following objects takes by what was measured: `docs/explanation/tracks.md` (cost) and `docs/explanation/models.md` (text-prompted detectors)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curation_assets.contracts.costs import ZERO, Figure, Span

if TYPE_CHECKING:
    from curation_assets.recipes import Recipe

DECODE_S = 89.0
"""CPU seconds to decode an hour for it: 1.2 times a plain decode of the 56 real videos, which took 74."""
JOINING_S: Span = (0.00024, 0.00052)
"""CPU seconds to join the boxes of a frame, one and fourteen of them."""
FACES_S: Span = (0.009, 0.015)
"""CPU seconds to find faces in one of 8 frames a second of 596 x 336 to 640 x 360, on one thread; more where many come and go, or the camera sweeps."""
FRAMES_PER_S = {
    ("owlv2-base", "coco"): (186.0, 212.0),
    ("owlv2-base", "lvis"): (160.0, 204.0),
    ("owlv2-large", "coco"): (51.0, 55.0),
    ("owlv2-large", "lvis"): (54.0, 56.0),
    ("grounding-dino-tiny", "coco"): (28.0, 31.0),
    ("grounding-dino-tiny", "lvis"): (2.6, 2.7),
    ("grounding-dino-base", "coco"): (26.0, 29.0),
}
"""Frames of 640 x 360 a second on one H100, with and without boxes to finish."""


def tracking(recipe: Recipe, _: object) -> Figure | None:
    """For an hour of video, all clips of it: what `where` leaves out takes less."""
    chosen = recipe.tracks
    frames = chosen.fps * 3600
    cpu = (DECODE_S + JOINING_S[0] * frames, DECODE_S + JOINING_S[1] * frames)
    if chosen.detector == "faces":
        cpu = (cpu[0] + FACES_S[0] * frames, cpu[1] + FACES_S[1] * frames)
        return Figure("hour", cpu, ZERO, where="explanation/tracks.md, all clips, on a CPU")
    name = (chosen.model or "").lower()
    for (detector, vocabulary), (slow, fast) in FRAMES_PER_S.items():
        if name.rpartition("/")[2].startswith(detector) and chosen.vocabulary == vocabulary:
            return Figure(
                "hour", cpu, (frames / fast, frames / slow), where="explanation/models.md, all clips, an H100"
            )
    return None
