"""Every labelled face of photographs that a camera sweeps over is covered in every frame, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import pytest

from benchmarks.faces import FRAME_MS, Box, Panned, ellipse_of, panned, photographs
from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.cover_blurring import blurrer_of
from curation_assets.tracks.face_leaks import find_leaks
from curation_assets.tracks.face_search import Beat
from curation_assets.tracks.face_tables import FACES
from curation_assets.tracks.faces import BEAT, FaceBlurrer, cover
from curation_assets_tests.shared_data import shared
from curation_resources.detectors.base import Detections, Image, RawDetections, finish
from curation_resources.detectors.faces import CenterFaceDetector, YuNetDetector

PHOTOS = ("2007_007763.jpg", "2008_001009.jpg", "2008_001322.jpg", "2008_002079.jpg")


@cache
def sweep(name: str, zoom: float, turns: float) -> Panned:
    photo, labelled = photographs(shared("faces").parent)[name]
    return panned(photo, labelled, zoom, turns)


@pytest.fixture(scope="module")
def detector() -> CenterFaceDetector:
    return CenterFaceDetector(confidence=0.1, max_side=1920, device="cpu")


@pytest.fixture(scope="module")
def yunet() -> YuNetDetector:
    return YuNetDetector(str(shared("weights/yunet_n_dynamic.onnx")))


@pytest.mark.parametrize(
    ("method", "zoom", "turns"),
    [
        ("ellipse", 1.0, 1.0),
        ("ellipse", 2.0, 1.0),
        ("box", 1.0, 1.0),
        ("mosaic", 1.0, 1.0),
        pytest.param("ellipse", 2.0, 2.0, marks=pytest.mark.slow),
        pytest.param("ellipse", 3.0, 2.3, marks=pytest.mark.slow),
        pytest.param("box", 2.0, 1.0, marks=pytest.mark.slow),
        pytest.param("mosaic", 2.0, 2.0, marks=pytest.mark.slow),
    ],
)
def test_every_labelled_face_is_covered_in_every_frame(
    method: str, zoom: float, turns: float, detector: CenterFaceDetector, yunet: YuNetDetector
) -> None:
    for name in PHOTOS:
        video = sweep(name, zoom, turns)
        blurrer = FaceBlurrer(detector, method=method)  # type: ignore[arg-type]
        blurred = list(blurrer.process(iter(video.frames)))
        assert [t for t, _ in blurred] == [t for t, _ in video.frames]
        covered: dict[int, list[Box]] = {}
        for row in blurrer.faces().to_pylist():
            covered.setdefault(row["frame_ms"], []).append((row["x"], row["y"], row["w"], row["h"]))
        for (time_ms, before), (_, after), faces in zip(video.frames, blurred, video.faces, strict=True):
            mask = ellipse_of(covered.get(time_ms, []), before.shape, 1.6)
            for face in faces:
                own = ellipse_of([face], before.shape)
                assert mask[own].mean() > 0.9, (name, time_ms, face)
                changed = np.abs(after.astype(int) - before).max(axis=2)[own]
                assert (changed > 2).mean() > 0.7, (name, time_ms, face)
            _assert_untouched_elsewhere(before, after, covered.get(time_ms, []))
        _assert_no_leak_over(blurred, video, yunet)


def _assert_untouched_elsewhere(before: Image, after: Image, covered: Sequence[Box]) -> None:
    far = np.ones(before.shape[:2], bool)
    for x, y, w, h in covered:
        x0, y0, x1, y1 = x - 0.3 * w - 1, y - 0.3 * h - 1, x + 1.3 * w + 2, y + 1.3 * h + 2
        far[max(0, int(y0)) : max(0, int(y1)), max(0, int(x0)) : max(0, int(x1))] = False
    assert np.array_equal(before[far], after[far])


def _assert_no_leak_over(blurred: list[tuple[int, Image]], video: Panned, yunet: YuNetDetector) -> None:
    for leak in find_leaks(blurred, yunet, every=4):
        x, y = leak.box[0] + leak.box[2] / 2, leak.box[1] + leak.box[3] / 2
        for left, top, w, h in video.faces[leak.time_ms // FRAME_MS]:
            inside = left - 0.2 * w < x < left + 1.2 * w and top - 0.2 * h < y < top + 1.2 * h
            assert not inside, leak


def test_yunet_sees_the_faces_before(yunet: YuNetDetector) -> None:
    """Else that it finds none afterwards would say nothing."""
    for name in PHOTOS:
        video = sweep(name, 2.0, 1.0)
        assert len(find_leaks(video.frames, yunet, every=4)) >= 5


class Scripted:
    """Finds one moving face, except in the frames that it is told to miss, in pictures of `placed` and in parts of them.

    Attributes:
        whole: numbers of the frames that it was shown whole, in order.
        parts: numbers of those that it was shown a part of.
    """

    names = ("face",)
    description = "scripted"
    has_features, concurrent = False, True

    def __init__(self, miss: Sequence[int] = (), weak: Sequence[int] = (), until: int = 10**6) -> None:
        self._miss, self._weak, self._until = set(miss), set(weak), until
        self.whole: list[int] = []
        self.parts: list[int] = []

    @staticmethod
    def box(k: int) -> Box:
        return 20 + 3.0 * k, 40 + 1.0 * k, 30.0, 36.0

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        return [self._detect(frame) for frame in frames]

    def _detect(self, frame: Image) -> Detections:
        left, top, k = int(frame[0, 0, 0]), int(frame[0, 0, 1]), int(frame[0, 0, 2]) % 64
        (self.whole if frame.shape == (160, 240, 3) else self.parts).append(k)
        x, y, w, h = self.box(k)
        corners = np.asarray([[x - left, y - top, x + w - left, y + h - top]], np.float32)
        outside = (corners[0, :2] < 0).any() or (corners[0, 2:] > frame.shape[1::-1]).any()
        if k in self._miss or k >= self._until or (outside and frame.shape[0] == frame.shape[1]):
            return Detections.none(1)
        score = np.asarray([0.12 if k in self._weak else 0.8], np.float32)
        return finish(RawDetections(corners, score, score[:, None]), frame.shape[:2], confidence=0.1, nms=1.0)


def placed(count: int) -> Iterator[tuple[int, Image]]:
    """Frames each pixel of which tells its column, its row, and the frame's number modulo 64 beside some noise."""
    frame = np.zeros((160, 240, 3), np.uint8)
    frame[..., 0], frame[..., 1], frame[..., 2] = np.arange(240), np.arange(160)[:, None], noise()[..., 2] & 192
    for k in range(count):
        yield k * 40, frame + np.asarray([0, 0, k % 64], np.uint8)


def noise() -> Image:
    return np.random.default_rng(0).integers(0, 255, (160, 240, 3), dtype=np.uint8)


def centres(blurrer: FaceBlurrer, k: int) -> list[tuple[float, float]]:
    rows = [r for r in blurrer.faces().to_pylist() if r["frame_ms"] == k * 40]
    return [(r["x"] + r["w"] / 2, r["y"] + r["h"] / 2) for r in rows]


@pytest.mark.parametrize("miss", [(), (10,), (6, 8, 10, 12, 14), tuple(range(11, 30))])
def test_a_face_missed_for_a_while_is_still_covered(miss: tuple[int, ...]) -> None:
    blurrer = FaceBlurrer(Scripted(miss))
    list(blurrer.process(placed(40)))
    for k in range(40):
        x, y, w, h = Scripted.box(k)
        near = min(np.hypot(cx - x - w / 2, cy - y - h / 2) for cx, cy in centres(blurrer, k))
        assert near < 2, k
    table = blurrer.faces()
    assert table.schema.equals(FACES)
    assert blurrer.covered == table.num_rows
    found = {r["frame_ms"] // 40 for r in table.to_pylist() if r["score"] is not None}
    assert not found & set(miss)


def test_every_frame_is_looked_at_while_the_picture_changes_beyond_telling() -> None:
    def unlike() -> Iterator[tuple[int, Image]]:
        for k, (time_ms, frame) in enumerate(placed(20)):
            other = np.random.default_rng(k).integers(0, 255, frame.shape, dtype=np.uint8)
            yield time_ms, np.concatenate([frame[:1], other[1:]])

    for frames, looked in ((unlike(), list(range(20))), (placed(20), [0, 1 + BEAT.whole, 1 + 2 * BEAT.whole, 19])):
        detector = Scripted()
        list(FaceBlurrer(detector).process(frames))
        assert sorted(detector.whole) == looked


def test_between_looks_at_the_whole_picture_only_places_with_something_like_a_face_are_looked_at() -> None:
    assert (BEAT.whole, BEAT.step) == (8, 2)
    nothing, weak = Scripted(until=0), Scripted(weak=(0, *range(9, 40, 8)))
    assert not list(FaceBlurrer(nothing).process(placed(0)))
    for detector in (nothing, weak):
        blurrer = FaceBlurrer(detector)
        list(blurrer.process(placed(40)))
        assert sorted(detector.whole) == [0, *range(9, 40, 8), 39]
    assert not nothing.parts
    # Seen weakly in the whole looks and well between them: found, followed and covered from its first look on.
    assert np.diff(sorted({*weak.parts, *weak.whole})).max() == 2
    assert all(centres(blurrer, k) for k in range(40))


def test_a_face_that_comes_just_before_another_scene_is_covered() -> None:
    other = np.random.default_rng(1).integers(0, 255, (159, 240, 3), dtype=np.uint8)
    frames = ((t, f if k < 20 else np.concatenate([f[:1], other])) for k, (t, f) in enumerate(placed(40)))
    blurrer = FaceBlurrer(Scripted(miss=range(18), until=20))
    list(blurrer.process(frames))
    assert centres(blurrer, 18)
    assert centres(blurrer, 19)


class Beside(Scripted):
    """Finds a face at rest, and in parts of frames only what it is told to."""

    def __init__(self, false: Box) -> None:
        super().__init__()
        self._false = false

    def _detect(self, frame: Image) -> Detections:
        left, top, _ = (int(v) for v in frame[0, 0])
        whole = frame.shape == (160, 240, 3)
        # Something flickers nearby, so that parts of the frames between are looked at.
        boxes = [((60, 60, 40, 48), 0.9), ((110, 20, 12, 14), 0.07)] if whole else [(self._false, 0.15)]
        corners = np.asarray([[x - left, y - top, x + w - left, y + h - top] for (x, y, w, h), _ in boxes], np.float32)
        scores = np.asarray([score for _, score in boxes], np.float32)
        self.parts += [] if whole else [1]
        return finish(RawDetections(corners, scores, scores[:, None]), frame.shape[:2], confidence=0.05, nms=1.0)


def test_a_face_that_is_not_looked_for_is_not_taken_for_what_is_found_beside_it() -> None:
    detector = Beside((100, 30, 30, 30))
    blurrer = FaceBlurrer(detector)
    list(blurrer.process(placed(40)))
    assert detector.parts
    rows = blurrer.faces().to_pylist()
    for k in range(40):
        large = [r for r in rows if r["frame_ms"] == k * 40 and r["w"] >= 40]
        assert [(round(r["x"] + r["w"] / 2), round(r["y"] + r["h"] / 2)) for r in large] == [(80, 84)]


def test_a_find_of_a_part_of_a_face_does_not_uncover_the_rest() -> None:
    class Part(Scripted):
        def box(self, k: int) -> Box:  # type: ignore[override]
            return (90.0, 60.0, 8.0, 36.0) if k == 17 else (60.0, 60.0, 30.0, 36.0)

    blurrer = FaceBlurrer(Part())
    list(blurrer.process(placed(40)))
    for k in range(40):
        left, right = 60, 90
        here = [r for r in blurrer.faces().to_pylist() if r["frame_ms"] == k * 40]
        assert min(r["x"] for r in here) <= left + 1
        assert max(r["x"] + r["w"] for r in here) >= right - 1


def test_a_weak_detection_counts_where_a_face_is_expected_only() -> None:
    expected = FaceBlurrer(Scripted(weak=range(2, 100)))
    list(expected.process(placed(60)))
    assert all(centres(expected, k) for k in range(60))
    nowhere = FaceBlurrer(Scripted(weak=range(100)))
    list(nowhere.process(placed(30)))
    assert nowhere.covered == 0


def test_a_face_that_leaves_is_covered_a_little_longer_and_then_no_more() -> None:
    blurrer = FaceBlurrer(Scripted(until=21))
    frames = list(blurrer.process(placed(50)))
    assert all(centres(blurrer, k) for k in range(24))
    assert not any(centres(blurrer, k) for k in range(27, 50))
    before = dict(placed(50))
    assert np.array_equal(frames[40][1], before[40 * 40])


def test_memory_is_bounded_by_the_window() -> None:
    taken = 0

    def counting() -> Iterator[tuple[int, Image]]:
        nonlocal taken
        for pair in placed(200):
            taken += 1
            yield pair

    given = 0
    for _ in FaceBlurrer(Scripted(), window=10).process(counting()):
        given += 1
        assert taken - given <= 10 + BEAT.whole + 2
    assert given == 200


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_short_clips(count: int) -> None:
    blurrer = FaceBlurrer(Scripted())
    assert len(list(blurrer.process(placed(count)))) == count
    assert all(centres(blurrer, k) for k in range(count))


@pytest.mark.parametrize("method", ["ellipse", "box", "mosaic", "plain"])
@pytest.mark.parametrize(
    "box", [(100, 50, 40, 50), (-15, 20, 40, 50), (220, 140, 40, 50), (60, 60, 3, 4), (500, 500, 10, 10)]
)
def test_cover_stays_inside_and_leaves_no_detail(method: str, box: Box) -> None:
    image = noise()
    before = image.copy()
    cover(image, np.asarray(box, float), method=method, scale=1.3)  # type: ignore[arg-type]
    _assert_untouched_elsewhere(before, image, [box])
    x, y, w, h = (int(v) for v in box)
    inner = np.s_[max(0, y + h // 4) : max(0, y + 3 * h // 4), max(0, x + w // 4) : max(0, x + 3 * w // 4)]
    if before[inner].size > 100:
        assert before[inner].astype(float).std() > 60
        assert image[inner].astype(float).std() < 12


def test_the_recipes_parameters_are_used() -> None:
    image = next(placed(1))[1]
    (wide,) = ClipExport(blur_faces=True, blur="box", blur_scale=2.0, blur_threshold=0.9).covers
    blurrer = blurrer_of(wide, Scripted(weak=range(64)))
    list(blurrer.process(placed(5)))
    assert blurrer.covered == 0
    (same,) = ClipExport(blur={"faces": {"method": "box", "scale": 1.0}}).covers
    (_, after), *_ = blurrer_of(same, Scripted()).process(placed(5))
    changed = np.argwhere((after != image).any(axis=2))
    assert changed.min(axis=0).tolist() >= [39, 19]
    with pytest.raises(ValueError, match="must reach from one look to the next"):
        FaceBlurrer(Scripted(), beat=Beat(30, 30), window=10)
