"""PySceneDetect's own detectors (scenedetect 0.7), fed frame by frame as its SceneManager would."""

from __future__ import annotations

from array import array
from fractions import Fraction
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scenedetect import (
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    SceneDetector,
    ThresholdDetector,
)
from scenedetect.common import FrameTimecode, Timecode, framerate_to_fraction
from scenedetect.detector import FlashFilter

from curation_assets.decode.clips import Clips
from curation_assets.decode.reading.picture import AnalysisPicture
from curation_assets.decode.shots.cuts import Cut, CutList, Kind, Needs

DEFAULTS = {"content": 27.0, "adaptive": 3.0, "threshold": 12.0, "hash": 0.35, "histogram": 0.2}
"""The thresholds of PySceneDetect 0.7, on the command line and in Python alike."""
PROPOSED = 0.5
"""Share of the threshold from which a frame is listed as proposed, so that thresholds can be studied without decoding again."""
TIMED_UP_TO_FPS = 240.0
"""At higher rates whole milliseconds cannot tell frames apart, and positions are counted instead of timed."""


_OWN = {
    "content": ("weights", "kernel_size", "short_scenes"),
    "adaptive": ("weights", "kernel_size"),
    "threshold": ("fade_method", "fade_bias", "fade_min_frames", "fade_at_end"),
    "hash": ("hash_size", "hash_lowpass"),
    "histogram": ("histogram_bins",),
}
"""Keys of the recipe's section that a detector reads besides its threshold and the shortest scene."""


class PySceneDetectDetector:
    """One or two of PySceneDetect's detectors. Implements `ShotDetector`.

    Positions are presentation times, as with PySceneDetect's PyAV backend, so `min_scene_frames` means frames of the average rate
    in videos of variable rate. Pictures are whole frames or already scaled to the 256 pixels of SceneManager's automatic downscale.

    Args:
        names: keys of `DEFAULTS`; the second, if any, finds fades.
        params: the recipe's section; `threshold` is the first detector's, `fade_threshold` the second's.
        fps: average frame rate.
    """

    needs: Needs = "bgr"
    every_frame = True

    def __init__(self, names: tuple[str, ...], params: Clips, fps: float) -> None:
        self._rate: Fraction = framerate_to_fraction(fps if fps > 0 else 25.0)
        self._timed = fps <= TIMED_UP_TO_FPS
        thresholds = [params.threshold if params.threshold is not None else DEFAULTS[names[0]], params.fade_threshold]
        self._parts = [_Part(name, threshold, params) for name, threshold in zip(names, thresholds, strict=False)]
        self._description = " + ".join(part.description for part in self._parts)
        self._times = array("q")
        self._indexes = array("q")

    def push(self, index: int, time_ms: int, picture: AnalysisPicture) -> None:
        """Take the next frame."""
        if picture.bgr is None:
            raise ValueError("PySceneDetect's detectors need the picture's bgr view, which only an exact decode has")
        self._times.append(time_ms)
        self._indexes.append(index)
        position = len(self._times) - 1
        for part in self._parts:
            part.push(position, self._timecode(position), picture.bgr)

    def finish(self) -> CutList:
        """The boundaries that the detectors reported, and other frames that came near their thresholds."""
        cuts: dict[int, Cut] = {}
        for part in self._parts:
            if self._times:
                part.finish(self._timecode(len(self._times) - 1))
            values = part.values()
            found = {self._position(code) for code in part.found}
            for position in sorted(found | set(part.proposed(values))):
                frame, time_ms = self._indexes[position], self._times[position]
                cut = Cut(frame, time_ms, float(values[position]), part.kind, position in found, frame, frame)
                if cut.frame not in cuts or (cut.accepted and not cuts[cut.frame].accepted):
                    cuts[cut.frame] = cut
        return CutList(tuple(cuts[f] for f in sorted(cuts)), self._description, {"frames": float(len(self._times))})

    def _timecode(self, position: int) -> FrameTimecode:
        if not self._timed:
            return FrameTimecode(position, self._rate)
        return FrameTimecode(Timecode(self._times[position] - self._times[0], Fraction(1, 1000)), self._rate)

    def _position(self, code: FrameTimecode) -> int:
        """Position of the frame that a detector means: of the nearest time, for fades whose middle it counts in frames."""
        if not self._timed:
            return min(code.frame_num, len(self._times) - 1)
        times = np.frombuffer(self._times, np.int64)
        wanted = code.seconds * 1000 + self._times[0]
        after = int(np.searchsorted(times, wanted - 1e-6))
        candidates = [p for p in (after - 1, after) if 0 <= p < len(times)]
        return min(candidates, key=lambda p: abs(times[p] - wanted))


class _Part:
    """One detector, what it reported and its measure of each frame."""

    def __init__(self, name: str, threshold: float, params: Clips) -> None:
        self.name, self.threshold = name, threshold
        self.kind: Kind = "fade" if name == "threshold" else "cut"
        self.found: list[FrameTimecode] = []
        self._params = params
        self._measures = array("f")
        self._detector = self._make()

    @property
    def description(self) -> str:
        """Its name and parameters; of those that seldom matter, the ones that differ from PySceneDetect's own."""
        p, usual = self._params, Clips()
        extra = f" window={p.window} min_content_val={p.min_content_val:g}" if self.name == "adaptive" else ""
        for key in _OWN[self.name]:
            if getattr(p, key) != getattr(usual, key):
                value = getattr(p, key)
                extra += f" {key}={','.join(f'{v:g}' for v in value) if isinstance(value, tuple) else value}"
        return f"{self.name} threshold={self.threshold:g} min_scene_frames={p.min_scene_frames}{extra}"

    def _make(self) -> SceneDetector:
        p, threshold, length = self._params, self.threshold, self._params.min_scene_frames
        detector: SceneDetector
        if self.name in ("content", "adaptive"):
            weights, kernel = ContentDetector.Components(*p.weights), p.kernel_size
            if self.name == "content":
                mode = FlashFilter.Mode[p.short_scenes.upper()]
                return _Content(threshold, length, weights, kernel_size=kernel, filter_mode=mode)
            return _Adaptive(threshold, length, p.window, p.min_content_val, weights, kernel_size=kernel)
        if self.name == "hash":
            detector = HashDetector(threshold, p.hash_size, p.hash_lowpass, length)
        elif self.name == "histogram":
            detector = HistogramDetector(threshold, p.histogram_bins, length)
        else:
            detector = ThresholdDetector(
                threshold,
                length,
                fade_bias=p.fade_bias,
                add_final_scene=p.fade_at_end,
                method=ThresholdDetector.Method[p.fade_method.upper()],
                min_out_length=p.fade_min_frames,
            )
        detector.stats_manager = cast(Any, _Measure())
        return detector

    def push(self, position: int, code: FrameTimecode, image: NDArray[np.uint8]) -> None:
        self.found += self._detector.process_frame(code, image)
        measure = self._detector if isinstance(self._detector, ContentDetector) else self._detector.stats_manager
        self._measures.append(cast(Any, measure).measure)

    def finish(self, code: FrameTimecode) -> None:
        self.found += self._detector.post_process(code)

    def values(self) -> NDArray[np.float64]:
        """What is compared with the threshold, per position: higher is surer, except for `threshold`, the mean level itself."""
        values = np.frombuffer(self._measures, np.float32).astype(np.float64)
        if self.name == "histogram":
            return np.where(np.arange(len(values)) == 0, 0.0, 1.0 - values)
        if self.name != "adaptive" or not len(values):
            return values
        width = self._params.window
        # numpy's "same" gives the length of the longer of the two, which is the window's in a video of a few frames.
        total = np.convolve(values, np.ones(2 * width + 1))[width : width + len(values)]
        around = (total - values) / (2 * width)
        ratio = np.where(around > 1e-5, np.minimum(values / np.maximum(around, 1e-5), 255.0), 0.0)
        return np.where((around <= 1e-5) & (values >= self._params.min_content_val), 255.0, ratio)

    def proposed(self, values: NDArray[np.float64]) -> list[int]:
        """Local peaks of `values` from half the threshold on; none for fades, which are no peaks."""
        if self.kind == "fade" or len(values) < 3:
            return []
        inner = values[1:-1]
        peaks = (inner >= PROPOSED * self.threshold) & (inner > values[:-2]) & (inner >= values[2:])
        if self.name == "adaptive":
            content = np.frombuffer(self._measures, np.float32)[1:-1]
            peaks &= content >= PROPOSED * self._params.min_content_val
        return [int(p) + 1 for p in np.flatnonzero(peaks)]


class _Content(ContentDetector):
    """Keeps the content value of the latest frame; PySceneDetect's statistics would also compute edges."""

    measure = 0.0

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: NDArray[np.uint8]) -> float:
        self.measure = float(super()._calculate_frame_score(timecode, frame_img))
        return self.measure


class _Adaptive(AdaptiveDetector):
    """The same for the rolling average."""

    measure = 0.0

    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: NDArray[np.uint8]) -> float:
        self.measure = float(super()._calculate_frame_score(timecode, frame_img))
        return self.measure


class _Measure:
    """Takes the place of PySceneDetect's StatsManager and keeps only the latest frame's measure."""

    measure = 0.0

    def set_metrics(self, timecode: FrameTimecode, metrics: dict[str, float]) -> None:
        self.measure = float(next(iter(metrics.values())))

    def metrics_exist(self, timecode: FrameTimecode, keys: list[str]) -> bool:
        return False
