"""Which meters see which frames of the one decode, and how a picture that is shown again is told from one that moves."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2

from curation_assets.decode.analysis_results import AnalysisParams
from curation_assets.decode.clip_spans import ClipSpan
from curation_assets.decode.lone_clips import Meters
from curation_assets.decode.measures.fingerprints import Fingerprinter
from curation_assets.decode.measures.motion import MotionMeter
from curation_assets.decode.measures.quality import QualityMeter
from curation_assets.decode.measures.slots import Slots
from curation_assets.decode.reading.picture import AnalysisPicture, Plane
from curation_assets.decode.reading.sampling import FrameSampler
from curation_assets.decode.reading.shown_frames import ShownFrame
from curation_assets.decode.shots import ShotDetector, make_detector

JUMP, JUMP_FACTOR = 6.0, 2.0
"""Mean absolute difference of two consecutive small pictures, levels, from which a clip may begin there, if it is also so many times
the one before; a generous guess that decides only which frames are encoded ahead (see `sampling`)."""
STILL, STILL_MS = 0.25, 250
"""Mean absolute difference of tiny pictures, levels, below which a picture is not hashed again for so long."""
TOGETHER = 64
"""Decoded frames that are measured one after the other (4 MB of small views): between two frames the decoder has pushed what is measured, and the code that measures, out of the processor's
caches, which makes measuring each frame at once dearer by a third and more."""


class _Kept(NamedTuple):
    """The views of a decoded frame that will be measured, as of `AnalysisPicture`. Colours are there only where they are sampled."""

    luma: Plane
    tiny_rgb: Plane
    chroma_u: Plane | None
    chroma_v: Plane | None


class FrameMeters(Meters):
    """Everything that is fed from one decode of a video."""

    def __init__(self, params: AnalysisParams, wanted: frozenset[str], rate: float) -> None:
        self.detector: ShotDetector | None = make_detector(params.clips, rate) if params.clips.detects else None
        # Detectors that read BGR are PySceneDetect's: their hue and edges change with the way to it.
        self.exact = params.clips.mode == "exact" or (self.detector is not None and self.detector.needs == "bgr")
        super().__init__(
            MotionMeter(params.motion) if "motion_scores" in wanted else None,
            QualityMeter(params.quality) if wanted & {"quality_scores", "clip_fingerprints"} else None,
            Fingerprinter(params.hashing) if "clip_fingerprints" in wanted else None,
        )
        self._params = params
        self.sampler: FrameSampler | None = None
        self.vectors = self.motion is not None and params.motion.estimator == "codec"
        self._jumps = _Jumps()
        self._still = _Still()
        self._waiting: list[tuple[int, bool, _Kept | AnalysisPicture]] = []
        self._looks = (
            self.quality is not None or self.prints is not None or (self.motion is not None and not self.vectors)
        )
        self._views_are_made = self.detector is not None and self.detector.needs == "yuv_small"
        self._colours = Slots(params.quality.fps)
        self._reference_ms: int | None = None

    @property
    def every_frame(self) -> bool:
        """Whether no frame may be left out."""
        return self.exact or self.vectors or (self.detector is not None and self.detector.every_frame)

    def take(self, shown: ShownFrame) -> None:
        """Hands a frame to all who want it, to some of them later."""
        picture, time_ms = shown.picture, shown.time_ms
        if self.detector is not None and self.detector.needs != "none":
            self.detector.push(shown.index, time_ms, picture)
        if shown.frame is None:
            return
        if self._looks:
            self._look(shown)
        if self.vectors and self.motion is not None:
            self._move(self.motion, shown)
        if self.sampler is not None:
            if self.detector is not None and self._jumps.at(self.detector.needs, shown):
                self.sampler.boundary(time_ms)
            self.sampler.push(shown)

    def measure(self) -> None:
        """Measures the frames that were taken and not yet measured; to be called after the last one."""
        waiting, self._waiting = self._waiting, []
        if self.motion is not None and not self.vectors:
            for time_ms, _, picture in waiting:
                if self.motion.wants(time_ms):
                    self.motion.push(time_ms, picture.luma)
        if self.quality is not None:
            for time_ms, faithful, picture in waiting:
                if faithful and self.quality.wants(time_ms):
                    self.quality.push(time_ms, picture)
        if self.prints is not None:
            for time_ms, faithful, picture in waiting:
                if faithful and self.prints.wants(time_ms) and not self._still.since_last(time_ms, picture.tiny_rgb):
                    self.prints.push(time_ms, picture.luma)

    def _look(self, shown: ShownFrame) -> None:
        """Measures a frame, later if its small views have been made: its planes are gone by then."""
        picture, time_ms = shown.picture, shown.time_ms
        if not self._views_are_made:
            self._waiting.append((time_ms, shown.faithful, picture))
            self.measure()
            return
        colours: tuple[Plane | None, Plane | None] = (None, None)
        if shown.faithful and self.quality is not None and self._colours.due(time_ms):
            self._colours.take(time_ms)
            colours = picture.chroma_u, picture.chroma_v
        self._waiting.append((time_ms, shown.faithful, _Kept(picture.luma, picture.tiny_rgb, *colours)))
        if len(self._waiting) == TOGETHER:
            self.measure()

    def missing(self, clip: ClipSpan) -> Meters:
        """New meters for what nothing was measured of within the clip; motion vectors cannot be had a second time."""
        span = clip.start_ms, clip.end_ms
        new = Meters()
        if self.motion is not None and not self.vectors and not self.motion.knows(*span):
            new.motion = MotionMeter(self._params.motion)
        if self.quality is not None and not self.quality.knows(*span):
            new.quality = QualityMeter(self._params.quality)
        if self.prints is not None and not self.prints.knows(*span):
            new.prints = Fingerprinter(self._params.hashing)
        return new

    def _move(self, motion: MotionMeter, shown: ShownFrame) -> None:
        if not motion.wants(shown.time_ms):
            return
        if shown.frame is not None:
            vectors = shown.frame.side_data.get("MOTION_VECTORS")
            if vectors is not None and self._reference_ms is not None and shown.time_ms > self._reference_ms:
                past_ms = shown.time_ms - self._reference_ms
                motion.push_vectors(shown.time_ms, vectors.to_ndarray(), shown.frame.width, shown.frame.height, past_ms)
        if shown.faithful:
            self._reference_ms = shown.time_ms


class _Still:
    """Tells pictures that do not differ from the last one that was taken, so that they need not be hashed."""

    def __init__(self) -> None:
        self._taken: Any = None
        self._taken_ms = 0

    def since_last(self, time_ms: int, tiny: Plane) -> bool:
        """Whether the picture is still that of the last time that this was False, less than `STILL_MS` ago."""
        recent = self._taken is not None and time_ms - self._taken_ms < STILL_MS
        if recent and cv2.norm(self._taken, tiny, cv2.NORM_L1) < STILL * tiny.size:
            return True
        self._taken, self._taken_ms = tiny, time_ms
        return False


class _Jumps:
    """Guesses where a shot may begin, from one decoded frame to the next."""

    def __init__(self) -> None:
        self._before: Any = None
        self._usual = 0.0

    def at(self, needs: str, shown: ShownFrame) -> bool:
        """Whether the picture jumped before this frame; looks at the view that the detector has paid for."""
        picture, change = shown.picture, shown.change
        view = picture.bgr if needs == "bgr" else picture.tiny_rgb
        before, self._before = self._before, view
        if before is None or view is None or before.shape != view.shape:
            return False
        if change is None:
            change = cv2.norm(before, view, cv2.NORM_L1) / view.size
        usual, self._usual = self._usual, change
        return change > JUMP and change > JUMP_FACTOR * usual
