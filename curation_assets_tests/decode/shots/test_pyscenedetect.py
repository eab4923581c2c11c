"""The exact mode gives the boundaries of PySceneDetect's own SceneManager."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scenedetect import (
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    SceneDetector,
    SceneManager,
    ThresholdDetector,
    open_video,
)
from scenedetect.detector import FlashFilter

from curation_assets.decode.clips import Clips
from curation_assets.decode.shots import make_detector
from curation_assets_tests.decode.shots.videos import Picture, detect, fade_through_black, frames_of, shot, write_video
from curation_assets_tests.shared_data import shared

DETECTORS: dict[str, type[SceneDetector]] = {
    "content": ContentDetector,
    "adaptive": AdaptiveDetector,
    "threshold": ThresholdDetector,
    "hash": HashDetector,
    "histogram": HistogramDetector,
}


def theirs(path: Path, name: str, threshold: float | None = None, length: int = 15, **options: Any) -> list[int]:
    """Frame numbers of the boundaries that SceneManager finds; with the detectors' own defaults where nothing is said."""
    video = open_video(str(path), backend="pyav")
    manager = SceneManager()
    for number, part in enumerate(name.split("+")):
        key = "adaptive_threshold" if part == "adaptive" else "threshold"
        own = {} if threshold is None or number else {key: threshold}
        manager.add_detector(DETECTORS[part](**own, **options, min_scene_len=length))
    manager.detect_scenes(video)
    return sorted({scene[0].frame_num for scene in manager.get_scene_list()} - {0})


def ours(path: Path, name: str, threshold: float | None, length: int, fps: float, **options: Any) -> list[int]:
    detector = make_detector(Clips(detector=name, threshold=threshold, min_scene_frames=length, **options), fps)
    for index, time_ms, image in frames_of(path):
        detector.push(index, time_ms, Picture(image))
    return [cut.frame for cut in detector.finish().accepted]


@pytest.fixture(scope="module")
def edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short and long shots, flashes, a fade through black, at 30000/1001 fps."""
    images = [*shot(0, 40), *shot(1, 8), *shot(2, 5), *shot(3, 40), *shot(4, 12), *shot(5, 30)]
    images = [*images, *fade_through_black(shot(6, 40), shot(7, 40), 10, 6), *shot(8, 20)]
    for at in (60, 63, 140):
        images[at] = np.full_like(images[at], 255)
    path = tmp_path_factory.mktemp("videos") / "edited.mp4"
    write_video(path, images, Fraction(30000, 1001))
    return path


@pytest.mark.parametrize("length", [1, 15, 25])
@pytest.mark.parametrize("name", [*DETECTORS, "content+threshold", "adaptive+threshold"])
def test_generated_video(edited: Path, name: str, length: int) -> None:
    expected = theirs(edited, name, length=length)
    assert expected, "the video must have something to find"
    assert ours(edited, name, None, length, 30000 / 1001) == expected


@pytest.mark.parametrize(
    ("name", "options", "own"),
    [
        ("hash", {"hash_size": 4, "hash_lowpass": 4}, {"size": 4, "lowpass": 4}),
        ("histogram", {"histogram_bins": 16}, {"bins": 16}),
        ("content", {"short_scenes": "suppress"}, {"filter_mode": FlashFilter.Mode.SUPPRESS}),
        ("content", {"weights": (0, 0, 1, 0)}, {"luma_only": True}),
        (
            "content",
            {"weights": (0, 0, 0.5, 1), "kernel_size": 5},
            {"weights": ContentDetector.Components(0, 0, 0.5, 1), "kernel_size": 5},
        ),
        ("adaptive", {"weights": (0, 0, 1, 0), "window": 5}, {"luma_only": True, "window_width": 5}),
        ("threshold", {"fade_bias": -1.0}, {"fade_bias": -1.0}),
        ("threshold", {"fade_min_frames": 30}, {"min_out_length": 30}),
        ("threshold", {"fade_method": "ceiling"}, {"method": ThresholdDetector.Method.CEILING}),
        ("threshold", {"fade_at_end": True}, {"add_final_scene": True}),
    ],
)
def test_parameters_are_those_of_pyscenedetect(
    edited: Path, name: str, options: dict[str, Any], own: dict[str, Any]
) -> None:
    expected = theirs(edited, name, length=10, **own)
    assert ours(edited, name, None, 10, 30000 / 1001, **options) == expected
    detector = make_detector(Clips(detector=name, **options), 25.0)
    assert str(next(iter(options))) in (detector.finish().detector or ""), "the row says with what"


def test_the_parameters_tried_above_make_a_difference(edited: Path) -> None:
    """Else equality would show nothing."""
    for name, own in (
        ("hash", {"size": 4, "lowpass": 4}),
        ("content", {"filter_mode": FlashFilter.Mode.SUPPRESS}),
        ("threshold", {"fade_bias": -1.0}),
        ("threshold", {"min_out_length": 30}),
    ):
        assert theirs(edited, name, length=10, **own) != theirs(edited, name, length=10), (name, own)


@pytest.mark.parametrize("name", [*DETECTORS, "content+threshold", "adaptive+threshold"])
def test_videos_of_few_frames(name: str, tmp_path: Path) -> None:
    images = [*shot(0, 20), *shot(1, 4), *fade_through_black(shot(2, 20), shot(3, 20), 4, 4)]
    images = [cv2.resize(image, (128, 72), interpolation=cv2.INTER_AREA) for image in images]
    for frames in (1, 2, 3, 4, 5, 6, 9, 21, 22, 25, 33, 60):
        path = tmp_path / f"{frames}.mp4"
        write_video(path, images[:frames], Fraction(25))
        for length in (1, 15):
            assert ours(path, name, None, length, 25.0) == theirs(path, name, length=length), (frames, length)
        if name == "adaptive":
            assert ours(path, name, None, 1, 25.0, window=30) == theirs(path, name, length=1, window_width=30)


@pytest.mark.parametrize(
    ("name", "threshold"), [("content", 27.0), ("content", 11.5), ("adaptive", 3.0), ("hash", 0.35)]
)
@pytest.mark.parametrize("file", ["bikes.mp4", "demo.mp4"])
def test_real_video(file: str, name: str, threshold: float) -> None:
    path = shared(f"videos/{file}")
    fps = {"bikes.mp4": 25.0, "demo.mp4": 28.0}[file]
    assert ours(path, name, threshold, 15, fps) == theirs(path, name, threshold, 15)


def test_fades_of_a_real_video() -> None:
    path = shared("videos/fades.mp4")
    assert ours(path, "threshold", 12.0, 15, 25.0) == theirs(path, "threshold", 12.0, 15) == [84, 167]


def test_variable_frame_rate_measures_scenes_in_time(tmp_path: Path) -> None:
    """Twelve frames of double length are more than fifteen of the average rate."""
    images = [*shot(0, 60), *shot(1, 12), *shot(2, 60)]
    steps = [40] * 60 + [80] * 12 + [40] * 60
    times = np.concatenate([[0], np.cumsum(steps[:-1])]).tolist()
    path = tmp_path / "variable.mp4"
    write_video(path, images, Fraction(25), times)
    detector = make_detector(Clips(detector="content", min_scene_frames=15), 25.0)
    assert [c.frame for c in detect(detector, images, times).accepted] == [60, 72]
    constant = make_detector(Clips(detector="content", min_scene_frames=15), 25.0)
    assert [c.frame for c in detect(constant, images).accepted] == [60]
    assert len(theirs(path, "content", 27.0, 15)) == 2


def test_scores_let_thresholds_be_studied_later(edited: Path) -> None:
    """The list of a high threshold holds, with its score, each cut that a lower one accepts."""
    strict = make_detector(Clips(detector="content", threshold=60, min_scene_frames=1), 30000 / 1001)
    for index, time_ms, image in frames_of(edited):
        strict.push(index, time_ms, Picture(image))
    listed = {c.frame for c in strict.finish() if c.score >= 40}
    assert set(ours(edited, "content", 40.0, 1, 30000 / 1001)) == listed


def test_a_decode_that_is_not_exact_is_refused() -> None:
    picture = Picture(shot(0, 1)[0])
    picture.__dict__["bgr"] = None
    with pytest.raises(ValueError, match="exact decode"):
        make_detector(Clips(detector="content"), 25.0).push(0, 0, picture)
