"""Motion against generated pictures whose speed is known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.codec.context import Flags2
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.decode.measures.motion import STILL, MotionMeter, MotionScores, codec_blocks, fit_camera
from curation_assets.decode.motion_scores import Motion
from curation_assets.schemas import schema
from curation_assets_tests.shared_data import shared

Picture = NDArray[np.float32]
PIXELS = 3.0  # of the canvas for one of a 320 pixel picture


def _canvas() -> Picture:
    rng = np.random.default_rng(7)
    height, width = 1500, 3000
    total = np.zeros((height, width), np.float32)
    for sigma in (2, 6, 18, 54):  # equal power per octave, like photographs
        total += sigma * cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), sigma)
    return np.clip(128 + 45 * (total - total.mean()) / total.std(), 16, 235)


CANVAS = _canvas()


def look(x: float, y: float, zoom: float = 1.0, width: int = 320, height: int = 180) -> Picture:
    """A camera's view of the canvas, centred on (x, y), `width` pixels wide whatever their number."""
    step = PIXELS * 320 / width / zoom
    matrix = np.array([[step, 0, x - step * (width - 1) / 2], [0, step, y - step * (height - 1) / 2]], np.float32)
    smooth = cv2.GaussianBlur(CANVAS, (0, 0), 0.45 * step)
    return cv2.warpAffine(smooth, matrix, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def score(
    picture: Callable[[float], Picture], fps: float = 25, seconds: float = 1.5, noise: float = 1.0, **params: float
) -> MotionScores:
    """Scores of a generated shot; `picture` is a function of time in seconds."""
    rng = np.random.default_rng(0)
    meter = MotionMeter(Motion(**params))
    for index in range(round(seconds * fps)):
        time_ms = index * 1000 / fps
        if meter.wants(time_ms):
            luma = picture(time_ms / 1000)
            meter.push(time_ms, np.clip(luma + rng.normal(0, noise, luma.shape), 0, 255).round().astype(np.uint8))
    return meter.scores(0, seconds * 1000)


def pan(speed: float, direction: float = 0.0, seconds: float = 1.5, **size: int) -> Callable[[float], Picture]:
    """A pan at `speed` diagonals per second towards `direction` (radians)."""
    diagonal = PIXELS * math.hypot(320, 320 * size.get("height", 180) / size.get("width", 320))
    dx, dy = speed * diagonal * math.cos(direction), speed * diagonal * math.sin(direction)
    return lambda t: look(1500 + dx * (t - seconds / 2), 750 + dy * (t - seconds / 2), **size)


def movers(*directions: int, speed: float, background: float | None = None) -> Callable[[float], Picture]:
    """Squares of 60 pixels that move right (1) or left (-1) over a still view or a flat tone."""
    still = look(1500, 750) if background is None else np.full((180, 320), background, np.float32)
    patches = [look(700 + 500 * k, 300, width=60, height=60) * 0.7 + 30 for k in range(len(directions))]

    def picture(t: float) -> Picture:
        frame = still.copy()
        for k, (sign, patch) in enumerate(zip(directions, patches, strict=True)):
            x = (30 if sign > 0 else 230) + sign * speed * math.hypot(320, 180) * t
            matrix = np.array([[1, 0, x], [0, 1, 20 + 80 * k]], np.float32)
            cover = cv2.warpAffine(np.ones_like(patch), matrix, (320, 180))
            frame = frame * (1 - cover) + cv2.warpAffine(patch, matrix, (320, 180)) * cover
        return frame

    return picture


@pytest.mark.parametrize("speed", [0.005, 0.02, 0.1, 0.4, 1.0])
def test_pan_has_its_speed_in_every_direction(speed: float) -> None:
    seconds = min(1.5, 0.8 / speed)
    found = [score(pan(speed, k * math.pi / 2, seconds), seconds=seconds) for k in range(4 if speed < 0.3 else 1)]
    found.append(score(pan(speed, math.pi, seconds), seconds=seconds))
    for scores in found:
        assert scores["motion"] == pytest.approx(speed, rel=0.15)
        assert scores["camera_motion"] == pytest.approx(speed, rel=0.15)
        assert scores["object_motion"] < max(0.15 * speed, STILL)
        assert scores["still_fraction"] == 0
    right, left = found[0]["motion"], found[-1]["motion"]
    assert right == pytest.approx(left, rel=0.05)


@pytest.mark.parametrize("noise", [0.0, 1.0, 4.0])
def test_static_and_noise_are_still(noise: float) -> None:
    scores = score(lambda t: look(1500, 750), noise=noise)
    assert scores["motion"] < STILL / 4
    assert scores["still_fraction"] == 1


def test_flicker_is_not_motion() -> None:
    assert score(lambda t: look(1500, 750) * (1 + 0.1 * math.sin(40 * t)))["motion"] < STILL


@pytest.mark.parametrize("speed", [0.02, 0.2])
def test_neither_frame_rate_nor_resolution_matters(speed: float) -> None:
    base = score(pan(speed))["motion"]
    for fps in (12.5, 24, 30, 50, 60):
        assert score(pan(speed), fps=fps)["motion"] == pytest.approx(base, rel=0.1), fps
    for size in ({"width": 640, "height": 360}, {"width": 160, "height": 90}):
        assert score(pan(speed, **size), noise=0)["motion"] == pytest.approx(base, rel=0.1), size


def test_portrait_pan_uses_its_own_diagonal() -> None:
    size = {"width": 180, "height": 320}
    diagonal = PIXELS * 320 / 180 * math.hypot(180, 320)
    scores = score(lambda t: look(1200 + 0.1 * diagonal * t, 750, **size))
    assert scores["motion"] == pytest.approx(0.1, rel=0.15)


def test_zoom_belongs_to_the_camera() -> None:
    ys, xs = np.mgrid[0:180, 0:320]
    radius = float(np.hypot(xs - 159.5, ys - 89.5).mean()) / math.hypot(320, 180)
    scores = score(lambda t: look(1500, 750, zoom=math.exp(0.3 * t)))
    assert scores["motion"] == pytest.approx(0.3 * radius, rel=0.15)
    assert scores["object_motion"] < 0.2 * scores["motion"]


def test_opposite_movers_add_up_and_belong_to_the_objects() -> None:
    opposite, same = score(movers(1, -1, speed=0.15)), score(movers(1, 1, speed=0.15))
    assert opposite["motion"] == pytest.approx(0.15 * 2 * 60 * 60 / (320 * 180), rel=0.25)
    assert opposite["motion"] == pytest.approx(same["motion"], rel=0.2)
    for scores in (opposite, same):
        assert scores["object_motion"] > 5 * scores["camera_motion"]


def test_scores_order_as_the_scenes_do() -> None:
    scenes = {
        "static": lambda t: look(1500, 750),
        "one slow mover": movers(1, speed=0.05),
        "two opposite movers": movers(1, -1, speed=0.15),
        "slow pan": pan(0.05),
        "fast pan": pan(0.5),
    }
    found = {name: score(picture)["motion"] for name, picture in scenes.items()}
    assert all(a * 1.3 < b or a == 0 < b for a, b in itertools.pairwise(found.values())), found


def test_mover_over_flat_ground_is_no_camera() -> None:
    scores = score(movers(1, speed=0.1, background=90.0))
    assert scores["camera_motion"] < 0.5 * scores["object_motion"]


def test_clip_boundaries_keep_neighbours_out() -> None:
    meter, fps = MotionMeter(Motion()), 25
    still, moving = look(1500, 750), pan(0.3)
    for index in range(100):
        time_ms = index * 1000 // fps
        if meter.wants(time_ms):
            meter.push(time_ms, (still if time_ms < 2000 else moving((time_ms - 2000) / 1000)).round().astype(np.uint8))
    assert meter.scores(0, 2000)["motion"] == 0
    assert meter.scores(2000, 4000)["motion"] == pytest.approx(0.3, rel=0.15)
    assert 0.1 < meter.scores(0, 4000)["still_fraction"] < 0.9
    assert meter.scores(2000, 2040)["motion"] is None
    assert meter.scores(9000, 9500) == MotionMeter(Motion()).scores(0, 1)
    assert set(meter.scores(0, 2000)) == set(schema("motion_scores").names) - {"dataset", "video_id", "clip_id"}


def test_frames_shown_for_long_weigh_as_long_as_they_last() -> None:
    """A screencast that drops repeated frames: still for 4 s, then 1 s of scrolling."""
    meter = MotionMeter(Motion())
    scroll = pan(0.2, math.pi / 2, seconds=1.0)
    times = [0, 4000 - 40, *range(4000, 5000, 40)]
    for time_ms in times:
        if meter.wants(time_ms):
            meter.push(time_ms, scroll(max(0, time_ms - 4000) / 1000).round().astype(np.uint8))
    scores = meter.scores(0, 5000)
    assert scores["still_fraction"] == pytest.approx(0.8, abs=0.1)
    assert scores["motion"] == pytest.approx(0.04, rel=0.35)


@settings(max_examples=40)
@given(gaps=st.lists(st.integers(1, 700), min_size=1, max_size=60), fps=st.sampled_from([1.0, 4.0, 30.0]))
def test_any_timing_gives_steps_in_order(gaps: list[int], fps: float) -> None:
    meter = MotionMeter(Motion(fps=fps))
    rng, time_ms, wanted = np.random.default_rng(len(gaps)), 0, 0
    picture = rng.integers(16, 235, (40, 64), dtype=np.uint8)
    for index, gap in enumerate(gaps):
        if meter.wants(time_ms):
            meter.push(time_ms, np.roll(picture, index, axis=1))
            wanted += 1
        time_ms += gap
    scores = meter.scores(0, time_ms)
    assert wanted <= 3 + 3 * time_ms * fps / 1000  # an anchor and at most two looks at its partner per slot
    assert (scores["motion"] is None) or scores["motion"] >= 0


@pytest.mark.parametrize("size", [(18, 320), (320, 19), (2, 2), (320, 320), (1, 400)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    meter = MotionMeter(Motion())
    for time_ms in range(0, 1000, 40):
        if meter.wants(time_ms):
            meter.push(time_ms, rng.integers(0, 255, size, dtype=np.uint8))
    assert math.isfinite(meter.scores(0, 1000)["motion"])


def test_camera_fit_ignores_an_object_on_a_quarter_of_the_frame() -> None:
    ys, xs = np.mgrid[0:9, 0:16] * 6.0
    positions = (xs + 1j * ys).ravel()
    truth = 2 - 1j + (0.05 + 0.02j) * (positions - positions.mean())
    vectors = truth.copy()
    vectors[(ys.ravel() >= 12) & (ys.ravel() < 36) & (xs.ravel() >= 24) & (xs.ravel() < 78)] = -8 + 3j
    assert np.abs(fit_camera(vectors, np.ones(len(vectors)), positions, rounds=12) - truth).max() < 0.1


def _encode(picture: Callable[[float], Picture], fps: int, seconds: float, folder: str, **options: str) -> str:
    path = f"{folder}/shot.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = 640, 352, "yuv420p"
        for index in range(round(seconds * fps)):
            luma = np.clip(picture(index / fps), 16, 235).round().astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.dstack([luma] * 3), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_codec_noise_is_still_and_codec_vectors_measure_a_pan(tmp_path: Path) -> None:
    still = _encode(lambda t: look(1500, 750, width=640, height=352), 25, 2, str(tmp_path), crf="35", g="12")
    meter = MotionMeter(Motion())
    with av.open(still) as container:
        for frame in container.decode(video=0):
            if meter.wants(frame.time * 1000):
                meter.push(frame.time * 1000, frame.reformat(320, 176, "gray").to_ndarray())
    assert meter.scores(0, 2000)["motion"] < STILL

    moving = pan(0.15, seconds=1, width=640, height=352)
    path = _encode(moving, 25, 1, str(tmp_path), crf="23", bf="0", refs="1")
    meter = MotionMeter(Motion(estimator="codec"))
    with av.open(path) as container:
        container.streams.video[0].codec_context.flags2 |= Flags2.export_mvs
        for frame in container.decode(video=0):
            vectors = frame.side_data.get("MOTION_VECTORS")
            if vectors is not None and meter.wants(frame.time * 1000):
                meter.push_vectors(frame.time * 1000, vectors.to_ndarray(), 640, 352, past_ms=40)
    scores = meter.scores(0, 1000)
    assert scores["motion"] == pytest.approx(0.15, rel=0.15)
    assert scores["camera_motion"] == pytest.approx(0.15, rel=0.15)
    assert scores["estimator"].startswith("codec")


def test_codec_vectors_of_both_directions_agree() -> None:
    fields = [("source", "i4"), ("w", "u1"), ("h", "u1"), ("src_x", "i2"), ("src_y", "i2"), ("dst_x", "i2"), ("dst_y", "i2"),
              ("flags", "u8"), ("motion_x", "i4"), ("motion_y", "i4"), ("motion_scale", "u2")]  # fmt: skip
    vectors = np.zeros(2, fields)
    # Content that moves 100 px/s to the right: 40 ms ago it was 4 px to the left, in 80 ms it will be 8 px to the right.
    vectors[0] = (-1, 16, 16, 4, 8, 8, 8, 0, -16, 0, 4)
    vectors[1] = (1, 16, 16, 32, 8, 24, 8, 0, 32, 0, 4)
    velocity, known, positions = codec_blocks(vectors, 40, 16, past_ms=40, future_ms=80)
    assert velocity[known] == pytest.approx([100, 100])
    assert known.tolist() == [True, True, False]
    assert positions.real.tolist() == [8, 24, 40]
    assert codec_blocks(vectors[1:], 40, 16, past_ms=40) is None


def test_real_videos_order_as_they_look() -> None:
    found = {}
    for name in ("counter.mp4", "car-detection.mp4", "bikes.mp4"):
        meter = MotionMeter(Motion())
        with av.open(str(shared(f"videos/{name}"))) as container:
            for frame in container.decode(video=0):
                if frame.time > 6:
                    break
                if meter.wants(frame.time * 1000):
                    meter.push(frame.time * 1000, frame.reformat(320, 180, "gray").to_ndarray())
        found[name] = meter.scores(0, 6000)
    assert found["counter.mp4"]["motion"] < found["car-detection.mp4"]["motion"] < found["bikes.mp4"]["motion"]
    assert found["car-detection.mp4"]["object_motion"] > found["car-detection.mp4"]["camera_motion"]
