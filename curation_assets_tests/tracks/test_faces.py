"""Every labelled face of photographs that a camera sweeps over is covered in every frame, and nothing else is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.publish.clip_dataset import ClipExport
from curation_assets.publish.cutting.cover_blurring import blurrer_of
from curation_assets.tracks.faces import FACES, FaceBlurrer, cover, find_leaks
from curation_assets_tests.shared_data import shared
from curation_resources.detectors.base import Detections, Image, RawDetections, finish
from curation_resources.detectors.faces import CenterFaceDetector, YuNetDetector

LABELS = "labels/dlib_face_boxes_ltwh.json"
PHOTOS = ("2007_007763.jpg", "2008_001009.jpg", "2008_001322.jpg", "2008_002079.jpg")
FRAME_MS = 40
FRAMES = 40
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Panned:
    """A video made of a photograph: RGB frames, and in each the labelled faces of which more than half can be seen."""

    frames: list[tuple[int, Image]]
    faces: list[list[Box]]


@cache
def panned(name: str, zoom: float, turns: float) -> Panned:
    """The camera goes round over the photograph so many times; at zoom 2 that is up to 48 pixels per frame and turn, at 3 up to 87."""
    photo = cv2.imread(str(shared(f"faces/{name}")))[:, :, ::-1]
    photo = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    labelled = [[v * zoom for v in box] for box in json.loads(shared(LABELS).read_text())[name]]
    height, width = photo.shape[:2]
    w, h = (320, 240) if zoom == 1 else (640, 360)
    frames, faces = [], []
    for k in range(FRAMES):
        angle = 2 * np.pi * turns * k / (FRAMES - 1)
        x, y = (width - w) * (0.5 - 0.5 * np.cos(angle)), (height - h) * (0.5 + 0.5 * np.sin(angle))
        view = cv2.warpAffine(photo, np.asarray([[1, 0, -x], [0, 1, -y]]), (w, h), flags=cv2.INTER_LINEAR)
        frames.append((k * FRAME_MS, view))
        here = [(left - x, top - y, bw, bh) for left, top, bw, bh in labelled]
        faces.append([b for b in here if _share_inside(b, w, h) > 0.5])
    return Panned(frames, faces)


def _share_inside(box: Box, width: int, height: int) -> float:
    x, y, w, h = box
    return max(0.0, min(width, x + w) - max(0.0, x)) * max(0.0, min(height, y + h) - max(0.0, y)) / (w * h)


def ellipse_of(boxes: Sequence[Box], shape: tuple[int, ...], grow: float = 1.0) -> NDArray[np.bool_]:
    mask = np.zeros(shape[:2], np.uint8)
    for x, y, w, h in boxes:
        cv2.ellipse(mask, ((x + w / 2, y + h / 2), (w * grow, h * grow), 0), 1, -1)
    return mask > 0


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
        video = panned(name, zoom, turns)
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
        video = panned(name, 2.0, 1.0)
        assert len(find_leaks(video.frames, yunet, every=4)) >= 5


class Scripted:
    """Finds one moving face, except in the frames that it is told to miss."""

    names = ("face",)
    description = "scripted"
    has_features, concurrent = False, True

    def __init__(self, miss: Sequence[int] = (), weak: Sequence[int] = (), until: int = 10**6) -> None:
        self._miss, self._weak, self._until = set(miss), set(weak), until

    @staticmethod
    def box(k: int) -> Box:
        return 20 + 3.0 * k, 40 + 1.0 * k, 30.0, 36.0

    def detect(self, frames: Sequence[Image]) -> list[Detections]:
        (frame,) = frames
        k = int(frame[0, 0, 0])  # Frames carry their number in a corner.
        if k in self._miss or k >= self._until:
            return [Detections.none(1)]
        x, y, w, h = self.box(k)
        corners = np.asarray([[x, y, x + w, y + h]], np.float32)
        score = np.asarray([0.12 if k in self._weak else 0.8], np.float32)
        return [finish(RawDetections(corners, score, score[:, None]), frame.shape[:2], confidence=0.1, nms=1.0)]


def numbered(count: int) -> Iterator[tuple[int, Image]]:
    noise = np.random.default_rng(0).integers(0, 255, (160, 240, 3), dtype=np.uint8)
    for k in range(count):
        frame = noise.copy()
        frame[0, 0, 0] = k
        yield k * 40, frame


def centres(blurrer: FaceBlurrer, k: int) -> list[tuple[float, float]]:
    rows = [r for r in blurrer.faces().to_pylist() if r["frame_ms"] == k * 40]
    return [(r["x"] + r["w"] / 2, r["y"] + r["h"] / 2) for r in rows]


@pytest.mark.parametrize("miss", [(), (10,), (6, 8, 10, 12, 14), tuple(range(11, 30))])
def test_a_face_missed_for_a_while_is_still_covered(miss: tuple[int, ...]) -> None:
    blurrer = FaceBlurrer(Scripted(miss), every=2)
    list(blurrer.process(numbered(40)))
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
        for k, (time_ms, frame) in enumerate(numbered(20)):
            other = np.random.default_rng(k).integers(0, 255, frame.shape, dtype=np.uint8)
            yield time_ms, np.concatenate([frame[:1], other[1:]])

    for frames, looked in ((unlike(), set(range(20))), (numbered(20), {0, *range(1, 20, 2)})):
        blurrer = FaceBlurrer(Scripted(), every=2)
        list(blurrer.process(frames))
        assert {r["frame_ms"] // 40 for r in blurrer.faces().to_pylist() if r["score"] is not None} == looked


def test_a_weak_detection_counts_where_a_face_is_expected_only() -> None:
    expected = FaceBlurrer(Scripted(weak=range(2, 100)), every=2)
    list(expected.process(numbered(60)))
    assert all(centres(expected, k) for k in range(60))
    nowhere = FaceBlurrer(Scripted(weak=range(100)), every=2)
    list(nowhere.process(numbered(30)))
    assert nowhere.covered == 0


def test_a_face_that_leaves_is_covered_a_little_longer_and_then_no_more() -> None:
    blurrer = FaceBlurrer(Scripted(until=21), every=2)
    frames = list(blurrer.process(numbered(50)))
    assert all(centres(blurrer, k) for k in range(24))
    assert not any(centres(blurrer, k) for k in range(27, 50))
    before = dict(numbered(50))
    assert np.array_equal(frames[40][1], before[40 * 40])


def test_memory_is_bounded_by_the_window() -> None:
    taken = 0

    def counting() -> Iterator[tuple[int, Image]]:
        nonlocal taken
        for pair in numbered(200):
            taken += 1
            yield pair

    given = 0
    for _ in FaceBlurrer(Scripted(), every=2, window=10).process(counting()):
        given += 1
        assert taken - given <= 10 + 2
    assert given == 200


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_very_short_clips(count: int) -> None:
    blurrer = FaceBlurrer(Scripted(), every=2)
    assert len(list(blurrer.process(numbered(count)))) == count
    assert all(centres(blurrer, k) for k in range(count))


@pytest.mark.parametrize("method", ["ellipse", "box", "mosaic", "plain"])
@pytest.mark.parametrize(
    "box", [(100, 50, 40, 50), (-15, 20, 40, 50), (220, 140, 40, 50), (60, 60, 3, 4), (500, 500, 10, 10)]
)
def test_cover_stays_inside_and_leaves_no_detail(method: str, box: Box) -> None:
    image = next(numbered(1))[1]
    before = image.copy()
    cover(image, np.asarray(box, float), method=method, scale=1.3)  # type: ignore[arg-type]
    _assert_untouched_elsewhere(before, image, [box])
    x, y, w, h = (int(v) for v in box)
    inner = np.s_[max(0, y + h // 4) : max(0, y + 3 * h // 4), max(0, x + w // 4) : max(0, x + 3 * w // 4)]
    if before[inner].size > 100:
        assert before[inner].astype(float).std() > 60
        assert image[inner].astype(float).std() < 12


def test_the_recipes_parameters_are_used() -> None:
    image = next(numbered(1))[1]
    (wide,) = ClipExport(blur_faces=True, blur="box", blur_scale=2.0, blur_threshold=0.9).covers
    blurrer = blurrer_of(wide, Scripted())
    list(blurrer.process(numbered(5)))
    assert blurrer.covered == 0
    (same,) = ClipExport(blur={"faces": {"method": "box", "scale": 1.0}}).covers
    (_, after), *_ = blurrer_of(same, Scripted()).process(numbered(5))
    changed = np.argwhere((after != image).any(axis=2))
    assert changed.min(axis=0).tolist() >= [39, 19]
    with pytest.raises(ValueError, match="must reach from one look to the next"):
        FaceBlurrer(Scripted(), every=30, window=10)
