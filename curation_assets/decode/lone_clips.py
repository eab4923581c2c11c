"""Clips so short that they lie between the points of the grids on which a video is measured: each is looked at again, alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curation_assets.decode.clip_spans import ClipSpan
from curation_assets.decode.measures.fingerprints import Fingerprinter
from curation_assets.decode.measures.motion import MotionMeter
from curation_assets.decode.measures.quality import QualityMeter
from curation_assets.decode.reading.media import Source
from curation_assets.decode.reading.picture import PictureMaker
from curation_assets.decode.reading.sampling import frames_near
from curation_assets.decode.reading.shown_frames import Decoding


@dataclass
class Meters:
    """What measures a video or a clip; None for what is not asked for."""

    motion: MotionMeter | None = None
    quality: QualityMeter | None = None
    prints: Fingerprinter | None = None

    @property
    def any(self) -> bool:
        return any(meter is not None for meter in (self.motion, self.quality, self.prints))


def look_again(source: Source, found: Decoding, clips: Mapping[ClipSpan, Meters]) -> int:
    """Feeds the meters of each clip with its own frames, by seeking, so that their grids begin at the clip's first frame.

    Args:
        found: of the pass over the whole video.
        clips: new meters per clip.

    Returns:
        How many frames were looked at.
    """
    timeline, display = found.timeline, found.first_display
    if not clips or timeline is None or display is None:
        return 0
    maker = PictureMaker(display)
    watching: dict[int, list[Meters]] = {}
    for clip, meters in clips.items():
        for time_ms in timeline.times_ms[clip.start_frame : clip.end_frame].tolist():
            watching.setdefault(time_ms, []).append(meters)
    looked = 0
    for near in frames_near(source, found, sorted(watching)):
        picture, time_ms = maker(near.frame), near.time_ms
        looked += 1
        for meters in watching.get(time_ms, ()):
            if meters.motion is not None and meters.motion.wants(time_ms):
                meters.motion.push(time_ms, picture.luma)
            if meters.quality is not None and meters.quality.wants(time_ms):
                meters.quality.push(time_ms, picture)
            if meters.prints is not None and meters.prints.wants(time_ms):
                meters.prints.push(time_ms, picture.luma)
    return looked
