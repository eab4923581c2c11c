"""Detections of a clip's frames, joined into object tracks.

The trackers are those of the `trackers` package, fed frame by frame with true times, so that a variable frame rate moves the motion model
by the right amount. Beyond the package: boxes of unlike height are less alike, weak boxes must fit better than strong ones, a track that
proves itself gets its first box back, which the package reports as unconfirmed, what was seen too seldom is no track, and pieces of
tracks are joined anew (`track_joining`). Every box stays joined to its own detection; gaps of lost and found tracks can be filled, as ByteTrack's
authors do for their published figures; and there is TrackVerse's optional appearance term.

What belongs here: association, and the running sums of a track. What does not: decoding, detectors, tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import supervision as sv
from numpy.typing import NDArray
from trackers import BoTSORTTracker, ByteTrackTracker, OCSORTTracker
from trackers.utils.iou import BaseIoU
from trackers.utils.state_representations import XCYCSRStateEstimator

from curation_assets.tracks.track import Hit, Track
from curation_assets.tracks.track_joining import join_pieces
from curation_assets.tracks.track_pieces import LEAST_PIECE, SIZE_MS, TrackPieces
from curation_assets.tracks.tracks import Tracks
from curation_resources.detectors.base import Detections, Floats, unit_rows

PACKAGE_FPS = 30.0
"""`trackers` counts the buffer of lost tracks in frames of a video with this rate."""
MATCH_IOU = {"botsort": 0.15, "bytetrack": 0.1, "ocsort": 0.1}
"""Least similarity of a match. Chosen, as what follows, on generated crowds and two sequences of MOT15 (`benchmarks.truth.tracking`); those
of the package lose fast objects at few frames a second."""
MATCH_UNCONFIRMED = 0.2
"""BoT-SORT: least similarity of the match that confirms a track."""
MATCH_WEAK = 0.4
"""Least similarity of a match with a weak box. The code of ByteTrack's authors asks for an IoU of 0.5."""
MATCH_COMBINED = 0.55
"""Least combined similarity of a match with appearance; TrackVerse allows a distance of 0.45."""
BEGIN_ABOVE_HIGH = 0.1
"""By how much the score that begins a track exceeds `high`, as in the code of ByteTrack's authors."""
CONFIRMING_BOXES = 6
"""Boxes from which on a track keeps its first one. The first box of a short track is more often false than true."""
SURE = 0.8
CONFIRMING_BOXES_SURE = 4
"""The same where that box has such a score. Chosen on the first half of the scenes of `benchmarks.truth`: more MOTA in each kind, switches as before."""
NO_MATCH = -1.0
"""A similarity below every threshold."""
LEAST_BOXES = 3
"""Boxes of the shortest track, or as many as there are frames in a clip of fewer."""


class _Similarity(BaseIoU):
    """How well predicted boxes and detections fit.

    IoU times the overlap of the heights (Hybrid-SORT's HMIoU, Yang et al., 2024, arXiv 2308.00783): two that pass each other differ in
    height where they stand at different depths. Weak boxes that fit by less than `MATCH_WEAK` do not fit at all.

    Attributes:
        weak: the frame's weak boxes; the package hands over bare boxes, so what is known of one is looked up by it.
    """

    def __init__(self) -> None:
        self.weak: Collection[bytes] = ()

    def _compute(self, boxes_1: NDArray[Any], boxes_2: NDArray[Any]) -> NDArray[Any]:
        similarity = self._fit(boxes_1, boxes_2)
        weak = np.asarray([_key(box) in self.weak for box in boxes_2])
        similarity[:, weak] = np.where(similarity[:, weak] < MATCH_WEAK, NO_MATCH, similarity[:, weak])
        return similarity

    def _fit(self, boxes_1: NDArray[Any], boxes_2: NDArray[Any]) -> NDArray[Any]:
        tops, bottoms = boxes_1[:, None, 1], boxes_1[:, None, 3]
        shared = np.minimum(bottoms, boxes_2[:, 3]) - np.maximum(tops, boxes_2[:, 1])
        both = np.maximum(bottoms, boxes_2[:, 3]) - np.minimum(tops, boxes_2[:, 1])
        overlap = np.clip(shared, 0, None) / np.maximum(both, np.finfo(np.float64).eps)
        return np.asarray(sv.box_iou_batch(boxes_1, boxes_2), np.float64) * overlap


class _Appearance(_Similarity):
    """IoU, and for boxes whose appearance is known the weighted mean of IoU and cosine, as TrackVerse has it.

    Low-score boxes are matched by IoU alone, for what is half hidden looks like what hides it.

    Attributes:
        tracker: the tracker that this similarity serves.
        of_track: smoothed appearance of the tracker's own track objects.
        of_box: appearance of the frame's strong detections, by box.
    """

    def __init__(self, motion_weight: float) -> None:
        super().__init__()
        self.motion_weight = motion_weight
        self.tracker: Any = None
        self.of_track: WeakKeyDictionary[Any, Floats] = WeakKeyDictionary()
        self.of_box: dict[bytes, Floats] = {}

    def _fit(self, boxes_1: NDArray[Any], boxes_2: NDArray[Any]) -> NDArray[Any]:
        similarity = np.asarray(sv.box_iou_batch(boxes_1, boxes_2), np.float64)
        tracklets = [] if self.tracker is None else self.tracker.tracks
        of_prediction = {_key(t.get_state_bbox()): self.of_track[t] for t in tracklets if t in self.of_track}
        rows, tracks = _known(boxes_1, of_prediction)
        columns, found = _known(boxes_2, self.of_box)
        if rows and columns:
            block = np.ix_(rows, columns)
            cosine = np.clip(tracks @ found.T, 0, 1)
            similarity[block] = self.motion_weight * similarity[block] + (1 - self.motion_weight) * cosine
        return similarity


def _key(box: NDArray[Any]) -> bytes:
    return np.asarray(box, np.float64).tobytes()


def _known(boxes: NDArray[Any], features: Mapping[bytes, Floats]) -> tuple[list[int], Floats]:
    """Positions of the boxes that have a feature, and those features."""
    rows = [i for i, box in enumerate(boxes) if _key(box) in features]
    return rows, np.asarray([features[_key(boxes[i])] for i in rows], np.float32)


def _package_tracker(params: Tracks, fps: float, similarity: _Similarity) -> Any:
    """The tracker of the package that the recipe asks for."""
    name = params.tracker or ("bytetrack" if params.appearance else "botsort")
    match = params.match
    if match is None:
        match = MATCH_COMBINED if params.appearance else MATCH_IOU[name]
    common: dict[str, Any] = {
        "lost_track_buffer": round(params.buffer_s * PACKAGE_FPS),
        "frame_rate": fps,
        "high_conf_det_threshold": params.high,
        "minimum_consecutive_frames": 2,
        "iou": similarity,
    }
    begin = min(1.0, params.high + BEGIN_ABOVE_HIGH) if params.begin is None else params.begin
    if name == "ocsort":
        return OCSORTTracker(minimum_iou_threshold=match, **common)
    if name == "bytetrack":
        estimator = XCYCSRStateEstimator
        return ByteTrackTracker(
            minimum_iou_threshold=match, track_activation_threshold=begin, state_estimator_class=estimator, **common
        )
    return BoTSORTTracker(
        minimum_iou_threshold_first_assoc=match,
        minimum_iou_threshold_second_assoc=MATCH_WEAK,
        minimum_iou_threshold_unconfirmed_assoc=MATCH_UNCONFIRMED,
        track_activation_threshold=begin,
        instant_first_frame_activation=False,
        enable_cmc=False,
        **common,
    )


def _proven(first: Hit, boxes: int, confirming: int) -> bool:
    """Whether a track of so many boxes keeps its first one."""
    sure = float(first.detections.scores[first.index]) >= SURE
    return boxes >= (min(confirming, CONFIRMING_BOXES_SURE) if sure else confirming)


class ClipTracker:
    """Joins the detections of one clip's frames; make a new one for every clip, so that no track crosses a cut.

    Args:
        params: the recipe's section.
        fps: frames per second that are looked at, to which the motion model is tuned.
    """

    def __init__(self, params: Tracks, fps: float) -> None:
        self._params = params
        self._appearance = _Appearance(params.motion_weight) if params.appearance else None
        self._similarity = self._appearance or _Similarity()
        self._tracker = _package_tracker(params, fps, self._similarity)
        if self._appearance is not None:
            self._appearance.tracker = self._tracker
        self._settling = max(LEAST_PIECE, round(fps * SIZE_MS / 1000))
        self._tracks: dict[int, TrackPieces] = {}
        """Of each confirmed track."""
        self._times_ms: list[int] = []
        self._begun: dict[Any, Hit] = {}
        """What each unconfirmed track of the package began with in the last frame; the package does not report it again."""
        self._first: dict[int, Hit] = {}
        """What each confirmed track began with."""

    def finish(self) -> list[Track]:
        """The tracks of the clip, in order of appearance, their gaps filled if the recipe asks for it."""
        least, confirming = (min(count, len(self._times_ms)) for count in (LEAST_BOXES, CONFIRMING_BOXES))
        lasting = []
        for number, pieces in self._tracks.items():
            boxes, first = len(pieces), self._first.get(number)
            proven = first is not None and _proven(first, boxes + 1, confirming)
            if boxes + proven >= least:
                lasting.append(pieces.finish(first))
                if proven:
                    lasting[-1][0].prove()
        alike = MATCH_COMBINED if self._appearance is not None else None
        tracks = []
        for track in join_pieces(lasting, 1000 * self._params.join_s, alike):
            if track.doubted is not None and _proven(track.doubted, len(track) + 1, confirming):
                track.prove()
            if len(track) >= least:
                tracks.append(track)
        if self._params.fill_gaps_s:
            for track in tracks:
                track.fill(self._times_ms, 1000 * self._params.fill_gaps_s)
        return tracks

    def update(self, time_ms: int, detections: Detections) -> None:
        """Takes the detections of the next frame; times must increase.

        Raises:
            ValueError: appearance is asked for and the detector has none.
        """
        self._times_ms.append(time_ms)
        usable = detections.take(detections.scores >= self._params.low)
        corners = usable.corners.astype(np.float64)
        self._similarity.weak = {_key(c) for c in corners[usable.scores < self._params.high]}
        if self._appearance is not None:
            self._appearance.of_box = self._strong_features(usable, corners)
        before = set(self._tracker.tracks)
        matched = self._tracker.update(
            sv.Detections(
                xyxy=corners,
                confidence=usable.scores.astype(np.float64),
                class_id=np.zeros(len(usable), int),
                data={"index": np.arange(len(usable))},
            ),
            timestamp=time_ms / 1000,
        )
        confirmed = {t.tracker_id: t for t in self._tracker.tracks if t.tracker_id != -1}
        for number, index in zip(matched.tracker_id.tolist(), matched.data.get("index", []), strict=True):
            if number != -1:
                self._extend(number, confirmed[number], Hit(time_ms, usable, int(index)))
        self._begun = {}
        for tracklet in self._tracker.tracks:
            if tracklet not in before:
                index = int(np.abs(corners - tracklet.get_state_bbox()).sum(axis=1).argmin())
                self._begun[tracklet] = Hit(time_ms, usable, index)
                self._learn(tracklet, self._begun[tracklet])

    def _extend(self, number: int, tracklet: Any, hit: Hit) -> None:
        if number not in self._tracks:
            self._tracks[number] = TrackPieces(self._settling)
            if tracklet in self._begun:
                self._first[number] = self._begun[tracklet]
        self._tracks[number].add(hit, self._times_ms[-2] if len(self._times_ms) > 1 else hit.time_ms)
        self._learn(tracklet, hit)

    def _strong_features(self, detections: Detections, corners: NDArray[np.float64]) -> dict[bytes, Floats]:
        if detections.features is None:
            if len(detections):
                raise ValueError(
                    "tracks.appearance is set, but the detector has no appearance features; use owlv2 or grounding-dino"
                )
            return {}
        strong = np.flatnonzero(detections.scores >= self._params.high)
        return {_key(corners[i]): detections.features[i] for i in strong}

    def _learn(self, tracklet: Any, hit: Hit) -> None:
        """Moves the track's smoothed appearance towards what a strong detection looks like."""
        features = hit.detections.features
        if self._appearance is None or features is None or hit.detections.scores[hit.index] < self._params.high:
            return
        momentum, new = self._params.feature_momentum, features[hit.index]
        old = self._appearance.of_track.get(tracklet)
        smooth = new if old is None else momentum * old + (1 - momentum) * new
        self._appearance.of_track[tracklet] = unit_rows(smooth[None])[0]


def track_clip(frames: Iterable[tuple[int, Detections]], params: Tracks, fps: float) -> list[Track]:
    """The object tracks of one clip.

    Args:
        frames: presentation time in milliseconds and detections of each looked-at frame, in order of time.
        params: the recipe's section.
        fps: frames per second that are looked at.

    Returns:
        Tracks of `LEAST_BOXES` boxes and more, in order of appearance. A track lost for no longer than `params.buffer_s` and found
        again is one track with a gap in its times, and so are two of which one goes on as the other within `params.join_s`.
    """
    tracker = ClipTracker(params, fps)
    for time_ms, detections in frames:
        tracker.update(time_ms, detections)
    return tracker.finish()
