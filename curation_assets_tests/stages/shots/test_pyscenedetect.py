"""The exact mode gives the boundaries of PySceneDetect's own SceneManager."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

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

from curation_assets.recipes import Clips
from curation_assets.stages.shots import make_detector
from curation_assets_tests.shared_data import shared
from curation_assets_tests.stages.shots.videos import Picture, detect, fade_through_black, frames_of, shot, write_video

DETECTORS: dict[str, type[SceneDetector]] = {
    "content": ContentDetector,
    "adaptive": AdaptiveDetector,
    "threshold": ThresholdDetector,
    "hash": HashDetector,
    "histogram": HistogramDetector,
}
THRESHOLDS = {"content": 27.0, "adaptive": 3.0, "threshold": 12.0, "hash": 0.395, "histogram": 0.05}


def theirs(path: Path, name: str, threshold: float, length: int) -> list[int]:
    """Frame numbers of the boundaries that SceneManager finds."""
    video = open_video(str(path), backend="pyav")
    manager = SceneManager()
    for part in name.split("+"):
        value = threshold if part == name.split("+")[0] else 12.0
        key = "adaptive_threshold" if part == "adaptive" else "threshold"
        manager.add_detector(DETECTORS[part](**{key: value}, min_scene_len=length))
    manager.detect_scenes(video)
    return sorted({scene[0].frame_num for scene in manager.get_scene_list()} - {0})


def ours(path: Path, name: str, threshold: float | None, length: int, fps: float) -> list[int]:
    detector = make_detector(Clips(detector=name, threshold=threshold, min_scene_frames=length), fps)
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
    threshold = THRESHOLDS[name.split("+")[0]]
    expected = theirs(edited, name, threshold, length)
    assert expected, "the video must have something to find"
    assert ours(edited, name, None, length, 30000 / 1001) == expected


@pytest.mark.parametrize(
    ("name", "threshold"), [("content", 27.0), ("content", 11.5), ("adaptive", 3.0), ("hash", 0.395)]
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
