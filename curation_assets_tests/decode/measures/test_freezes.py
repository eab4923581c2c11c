"""Frozen shares against clips composed with known ones, generated and over real footage."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from curation_assets.decode.measures.freezes import FreezeMeter
from curation_assets_tests.decode.measures.test_quality import plane, scene
from curation_assets_tests.shared_data import shared

Plane = NDArray[np.uint8]
RATE = 25
WORLD = scene(700, 400, seed=5)
"""What the camera pans over."""


def pan(k: float) -> Plane:
    """The view after k pictures of a pan of 1.5 pixels each."""
    x = 10 + 1.5 * k
    shift = np.array([[1, 0, -x], [0, 1, -20]], np.float32)
    return plane(cv2.warpAffine(WORLD, shift, (320, 180), flags=cv2.INTER_LINEAR))


def measured(pictures: Iterable[Plane], times_ms: Sequence[float] | None = None) -> FreezeMeter:
    meter = FreezeMeter()
    for k, picture in enumerate(pictures):
        time_ms = k * 1000 / RATE if times_ms is None else times_ms[k]
        if meter.wants(time_ms):
            meter.push(time_ms, picture)
    return meter


def frozen(pictures: Sequence[Plane]) -> float | None:
    shown = [k * 1000 / RATE for k in range(len(pictures))]
    return measured(pictures).share(0, len(pictures) * 1000 / RATE, shown)


def stop(frames: int, share: float) -> list[int]:
    """Which picture is shown when a clip of so many frames freezes in its middle for a share of it."""
    still = round(frames * share)
    begin = (frames - still) // 2
    return [k if k < begin else begin if k < begin + still else k - still + 1 for k in range(frames)]


@pytest.mark.parametrize("noise", [0, 1, 3, 6])
@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 0.75, 1])
def test_known_shares_under_noise(share: float, noise: float) -> None:
    rng = np.random.default_rng(0)
    views = [pan(k) for k in stop(150, share)]
    found = frozen([plane(v + rng.normal(0, noise, v.shape)) for v in views])
    assert found == pytest.approx(share, abs=0.02)


def test_noise_that_is_coded_anew_at_key_frames_alone_is_no_change() -> None:
    """Coarse coding carries noise on from one picture to the next, and takes other noise where a key frame begins."""
    rng = np.random.default_rng(0)
    taken = [plane(pan(0) + rng.normal(0, 6, pan(0).shape)) for _ in range(15)]
    assert frozen([taken[k // 10] for k in range(150)]) == pytest.approx(1, abs=0.02)
    assert frozen([taken[k // 10] for k in range(100)] + [pan(k) for k in range(50)]) == pytest.approx(2 / 3, abs=0.03)


def test_stutter_adds_up_and_repeats_of_a_rate_conversion_do_not_count() -> None:
    """0.8 s of pan, 0.8 s frozen, over and over; then 8 pictures a second in a file of 25, and 2.5."""
    stutter = [pan(k % 20 + 20 * (k // 40) if k % 40 < 20 else 19 + 20 * (k // 40)) for k in range(160)]
    assert frozen(stutter) == pytest.approx(0.5, abs=0.04)
    for rate in (8, 2.5):
        assert frozen([pan(int(k * rate / RATE) * RATE / rate) for k in range(150)]) == 0


def still_with(draw: Callable[[Plane, float], None], seconds: float = 6) -> float | None:
    """Share of a still picture in which something is drawn at each time."""
    pictures = []
    for k in range(round(seconds * RATE)):
        picture = pan(0).copy()
        draw(picture, k / RATE)
        pictures.append(picture)
    return frozen(pictures)


def test_little_things_that_move_keep_a_picture_from_being_frozen() -> None:
    def hand(picture: Plane, t: float) -> None:
        a = 2 * np.pi * t / 60
        cv2.line(picture, (160, 90), (round(160 + 40 * np.sin(a)), round(90 - 40 * np.cos(a))), 20, 2, cv2.LINE_AA)

    def ticking(picture: Plane, t: float) -> None:
        hand(picture, int(t))

    def mouth(picture: Plane, t: float) -> None:
        cv2.ellipse(picture, (160, 90), (5, 1 + round(2 * abs(np.sin(7 * t)))), 0, 0, 360, 90, -1)

    def cursor(picture: Plane, t: float) -> None:
        if int(2 * t) % 2:
            picture[80:92, 100:103] = 235

    for draw in (hand, ticking, mouth, cursor):
        assert still_with(draw) <= 0.1, draw.__name__
    assert still_with(lambda *_: None) == 1


def test_slow_drift_is_no_freeze() -> None:
    """A pan of a pixel a second, a picture that brightens by four levels a second; a freeze before a drift stays one."""
    assert frozen([pan(k / 37.5) for k in range(250)]) <= 0.05
    drift = [np.float32(pan(0)) + 4 * k / RATE for k in range(200)]
    assert frozen([plane(p) for p in drift]) <= 0.1
    after = [plane(drift[0])] * 125 + [plane(p) for p in drift[:125]]
    assert frozen(after) == pytest.approx(0.5, abs=0.06)


def test_slides_are_frozen_and_fades_are_not() -> None:
    slides = [pan(200 * (k // 75)) for k in range(225)]
    assert frozen(slides) == pytest.approx(1, abs=0.01)
    fade = [plane(16 + (pan(k) - 16.0) * max(0, 1 - k / 50)) for k in range(50)]
    black = [plane(np.full((180, 320), 16.0))] * 50
    assert frozen(fade + black) == pytest.approx(0.5, abs=0.03)


def test_time_counts_not_pictures() -> None:
    """One second of pan in 25 pictures, and one picture that is shown for three seconds."""
    times = [k * 40 for k in range(26)] + [4000 + k * 40 for k in range(25)]
    meter = measured([pan(k) for k in range(51)], times)
    assert meter.share(0, 5000, times) == pytest.approx(0.6, abs=0.02)
    assert measured([pan(0)], [0.0]).share(0, 2000, [0]) == 1
    assert measured([pan(0)], [0.0]).share(500, 2000, []) is None


def test_clips_are_judged_apart_and_forgotten() -> None:
    meter = measured([pan(k) for k in range(50)] + [pan(400)] * 50)
    assert meter.share(0, 2000) == 0
    assert meter.share(2000, 4000) == 1
    meter.forget(2000)
    assert meter.share(2000, 4000) == 1
    assert meter.share(0, 2000) is None


def test_snow_is_no_freeze() -> None:
    """Noise so strong that there may be anything under it."""
    rng = np.random.default_rng(0)
    assert frozen([rng.integers(16, 235, (180, 320), dtype=np.uint8) for _ in range(75)]) == 0


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 320), (180, 321), (90, 160)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    one, other = np.full(size, 60, np.uint8), np.full(size, 180, np.uint8)
    assert frozen([one] * 50) == 1
    assert frozen([one if k // 5 % 2 else other for k in range(50)]) == 0


def real(name: str, frames: int) -> list[Plane]:
    with av.open(str(shared(name))) as video:
        decoded = islice(video.decode(video=0), frames)
        pictures = [f.reformat(640, 360, "gray").to_ndarray() for f in decoded]
    assert len(pictures) == frames
    return pictures


def recompressed(pictures: Sequence[Plane], crf: int) -> list[Plane]:
    """Luma at the analysis size, after a trip through H.264."""
    stored = io.BytesIO()
    with av.open(stored, "w", format="mp4") as video:
        options = {"crf": str(crf), "preset": "superfast", "g": "50"}
        stream = video.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            video.mux(stream.encode(frame))
        video.mux(stream.encode())
    stored.seek(0)
    with av.open(stored) as video:
        return [f.reformat(320, 180, "gray", interpolation="AREA").to_ndarray() for f in video.decode(video=0)]


@pytest.mark.parametrize(("crf", "noise", "off"), [(23, 0, 0.03), (23, 8, 0.03), (33, 0, 0.08)])
@pytest.mark.parametrize("name", ["videos/bikes.mp4", "panda/BIjo0hm1fdM.47.mp4"])
def test_real_footage_that_freezes_half_way(name: str, crf: int, noise: float, off: float) -> None:
    rng = np.random.default_rng(0)
    moving = real(name, 62)
    pictures = [np.float32(p) for p in moving + [moving[-1]] * 62]
    found = frozen(recompressed([plane(p + rng.normal(0, noise, p.shape)) for p in pictures], crf))
    assert found == pytest.approx(0.5, abs=off)
