"""Quality against generated pictures whose borders, blur and exposure are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.decode.measures.quality import FULL, QualityMeter, QualityScores
from curation_assets.decode.quality_scores import Quality
from curation_assets.schemas import schema
from curation_assets_tests.shared_data import shared

Plane = NDArray[np.uint8]


@dataclass
class Shot:
    luma: Plane
    chroma_u: Plane | None = None
    chroma_v: Plane | None = None


def scene(width: int = 320, height: int = 180, seed: int = 3) -> NDArray[np.float32]:
    """A picture with detail at all scales, mean 120, within 30..220."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width), np.float32)
    for sigma in (0.8, 2, 6, 18):
        total += sigma * cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), sigma)
    return np.clip(120 + 40 * (total - total.mean()) / total.std(), 30, 220)


def plane(picture: NDArray[np.float32]) -> Plane:
    return np.clip(picture, 0, 255).round().astype(np.uint8)


def write(
    picture: NDArray[np.float32], text: str, at: tuple[int, int], scale: float, tone: int, thickness: int = 1
) -> Plane:
    return cv2.putText(plane(picture), text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, tone, thickness)


def measure(pictures: list[Plane | Shot]) -> QualityMeter:
    meter = QualityMeter(Quality())
    for index, picture in enumerate(pictures):
        assert meter.wants(index * 500)
        meter.push(index * 500, picture if isinstance(picture, Shot) else Shot(picture))
        assert not meter.wants(index * 500 + 50)
    return meter


def score(*pictures: Plane | Shot) -> QualityScores:
    return measure(list(pictures)).scores(0, 500 * len(pictures))


def barred(
    width: int,
    height: int,
    bars: tuple[int, int, int, int],
    tone: float = 16,
    picture: NDArray[np.float32] | None = None,
    seed: int = 3,
) -> NDArray[np.float32]:
    """A scene with bars of so many pixels at the top, bottom, left and right."""
    top, bottom, left, right = bars
    frame = np.full((height, width), tone, np.float32)
    inner = (width - left - right, height - top - bottom)
    content = scene(seed=seed) if picture is None else picture
    frame[top : height - bottom, left : width - right] = cv2.resize(content, inner, interpolation=cv2.INTER_AREA)
    return frame


def test_columns_are_those_of_the_table() -> None:
    found = score(plane(scene()))
    assert set(found) == set(schema("quality_scores").names) - {"dataset", "video_id", "clip_id"}
    assert found["frozen"] == 1  # one picture, shown all the time
    empty = measure([plane(scene())]).scores(5000, 6000)
    assert empty["sharpness"] is None
    assert empty["samples"] == 0


def ramp(
    values: list[float], change: Callable[[NDArray[np.float32], float], NDArray[np.float32]]
) -> list[QualityScores]:
    return [score(plane(change(scene(), v))) for v in values]


def test_sharpness_falls_as_blur_grows() -> None:
    found = [
        s["sharpness"]
        for s in ramp([0, 0.4, 0.6, 1, 1.5, 2.5, 4, 8], lambda p, v: cv2.GaussianBlur(p, (0, 0), v) if v else p)
    ]
    assert all(a > 1.05 * b for a, b in itertools.pairwise(found)), found


def test_exposure_ramps_are_monotone() -> None:
    found = ramp([-90, -60, -30, 0, 30, 60, 90], lambda p, v: np.clip(p + v, 16, 235))
    for name, sign in (("brightness", 1), ("over_exposed", 1), ("under_exposed", -1)):
        values = [sign * s[name] for s in found]
        assert values == sorted(values), name
    assert found[0]["under_exposed"] > 0.2 > 0.01 > found[3]["under_exposed"]
    assert found[-1]["over_exposed"] > 0.2 > 0.01 > found[3]["over_exposed"]
    assert (found[3]["brightness"], found[3]["contrast"]) == pytest.approx(((120 - 16) / 219, 2 * 40 / 219), rel=0.05)


def test_contrast_grows_with_the_spread() -> None:
    found = [s["contrast"] for s in ramp([0.1, 0.3, 0.6, 1.0, 1.3], lambda p, v: 120 + v * (p - 120))]
    assert found == sorted(found)
    assert score(plane(np.full((180, 320), 16.0)))["brightness"] == 0
    assert score(plane(np.full((180, 320), 235.0)))["brightness"] == 1


def test_colourfulness_is_hasler_and_suesstrunks() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.uniform(0.3, 0.7, (16, 16, 3)).astype(np.float32)
    rgb = cv2.resize(rgb, (160, 90), interpolation=cv2.INTER_NEAREST)
    red, green, blue = (rgb[..., k] for k in range(3))
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    u, v = (blue - y) / (2 * (1 - 0.0722)), (red - y) / (2 * (1 - 0.2126))
    shot = Shot(plane(16 + 219 * cv2.resize(y, (320, 180))), plane(128 + 224 * u), plane(128 + 224 * v))
    rg, yb = 255 * (red - green), 255 * ((red + green) / 2 - blue)
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert score(shot)["colorfulness"] == pytest.approx(float(expected), rel=0.02)
    grey = Shot(shot.luma, np.full((90, 160), 128, np.uint8), np.full((90, 160), 128, np.uint8))
    assert score(grey)["colorfulness"] == pytest.approx(0, abs=1e-3)
    assert score(shot.luma)["colorfulness"] == 0


@pytest.mark.parametrize("tone", [16, 17, 40, 128, 235])
@pytest.mark.parametrize(
    "bars", [(24, 24, 0, 0), (0, 0, 40, 40), (20, 20, 30, 30), (0, 0, 109, 109), (5, 5, 0, 0), (0, 0, 4, 4)], ids=str
)
def test_known_borders(tone: float, bars: tuple[int, int, int, int]) -> None:
    meter = measure([plane(barred(320, 180, bars, tone, seed=k)) for k in range(4)])
    assert meter.border(0, 2000) == pytest.approx(
        (bars[2] / 320, bars[0] / 180, 1 - (bars[2] + bars[3]) / 320, 1 - (bars[0] + bars[1]) / 180), abs=0.005
    )


@settings(max_examples=40)
@given(
    top=st.integers(20, 200),
    ratio=st.sampled_from([0.0, 0.5, 1.0]),
    upright=st.booleans(),
    size=st.sampled_from([(1920, 1080), (1280, 720), (720, 576)]),
)
def test_borders_between_analysis_pixels(top: int, ratio: float, upright: bool, size: tuple[int, int]) -> None:
    """Bars of any width in a large frame, scaled to the analysis size: the ends fall inside pixels."""
    width, height = size
    bars = (top, int(top * ratio), 0, 0)
    frames = [barred(width, height, bars, seed=k) for k in range(2)]
    scale = 320 / width
    small = [plane(cv2.resize(f, (320, round(height * scale)), interpolation=cv2.INTER_AREA)) for f in frames]
    if upright:
        small = [np.ascontiguousarray(s.T) for s in small]
    found = measure(small).border(0, 1000)
    start, length = (found.x, found.w) if upright else (found.y, found.h)
    assert start == pytest.approx(bars[0] / height, abs=0.005)
    assert length == pytest.approx(1 - sum(bars[:2]) / height, abs=0.01)


def test_logo_and_subtitles_in_a_bar_do_not_hide_it() -> None:
    frames = []
    for k in range(6):
        frame = barred(320, 180, (24, 24, 0, 0), seed=k)
        frames.append(write(write(frame, "CHANNEL", (12, 16), 0.45, 220), f"subtitle number {k}", (90, 172), 0.4, 235))
    assert measure(frames).border(0, 3000) == pytest.approx((0, 24 / 180, 1, 1 - 48 / 180), abs=0.01)


def test_dark_scenes_skies_slides_and_fades_have_no_bars() -> None:
    ys = np.linspace(-1, 1, 180)[:, None]
    night = 16 + (scene() - 16) * np.exp(-4 * ys**2)
    sky = np.where(ys < -0.2, 200, scene())
    slide = write(np.full((180, 320), 235, np.float32), "Title of a slide", (60, 60), 0.8, 20, 2)
    page = scene()
    page[:30] = 90
    for name, picture in (("night", night), ("sky", sky), ("slide", slide), ("page with a coloured header", page)):
        assert measure([plane(np.float32(picture) + k) for k in range(3)]).border(0, 1500) == FULL, name
    assert measure([np.full((180, 320), 16, np.uint8)] * 3).border(0, 1500) == FULL
    passing = [plane(barred(320, 180, (24, 24, 0, 0), seed=k)) if k < 2 else plane(scene(seed=k)) for k in range(6)]
    assert measure(passing).border(0, 3000) == FULL


def test_fade_in_keeps_the_bars() -> None:
    full = barred(320, 180, (24, 24, 0, 0))
    frames = [plane(16 + (full - 16) * min(1, k / 4)) for k in range(10)]
    assert measure(frames).border(0, 5000) == pytest.approx((0, 24 / 180, 1, 1 - 48 / 180), abs=0.01)


def test_bars_do_not_change_the_other_scores() -> None:
    content = scene(320, 132)
    bare = score(plane(content))
    boxed = score(plane(barred(320, 180, (24, 24, 0, 0), picture=content)))
    for name in ("sharpness", "brightness", "contrast"):
        assert boxed[name] == pytest.approx(bare[name], rel=0.08), name
    assert boxed["border"] == pytest.approx(48 / 180, abs=0.01)
    assert boxed["under_exposed"] < 0.01


def test_blank_share() -> None:
    rng = np.random.default_rng(0)
    flat = [plane(np.full((180, 320), tone) + rng.normal(0, 1, (180, 320))) for tone in (16, 120, 235)]
    assert score(*flat, plane(scene()))["blank"] == 0.75
    assert score(write(np.full((180, 320), 16, np.float32), "THE END", (120, 95), 0.6, 235))["blank"] == 0


def test_analysis_size_does_not_matter_much() -> None:
    """The same blurred scene at half the analysis size scores alike; sharpness is measured at one working size."""
    smooth = cv2.GaussianBlur(scene(), (0, 0), 4)
    half = cv2.resize(smooth, (160, 90), interpolation=cv2.INTER_AREA)
    full_size, half_size = score(plane(smooth)), score(plane(half))
    for name in ("brightness", "contrast"):
        assert half_size[name] == pytest.approx(full_size[name], rel=0.05)
    assert half_size["sharpness"] < 2 * full_size["sharpness"]


def test_clips_are_scored_apart_and_forgotten() -> None:
    bright, dark = plane(scene() + 60), plane(scene() - 60)
    meter = measure([bright] * 4 + [dark] * 4)
    assert meter.scores(0, 2000)["brightness"] > 0.6 > 0.3 > meter.scores(2000, 4000)["brightness"]
    later = meter.scores(2000, 4000)
    meter.forget(2000)
    assert meter.scores(2000, 4000) == later
    assert meter.scores(0, 2000)["samples"] == 0


@pytest.mark.parametrize("size", [(18, 320), (320, 19), (2, 2), (1, 320), (320, 320)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    found = score(*[rng.integers(16, 235, size, dtype=np.uint8) for _ in range(2)])
    assert 0 <= found["border"] <= 1
    assert np.isfinite(found["sharpness"])


@pytest.mark.parametrize(
    ("name", "crop"),
    [
        ("videos/chaplin.mp4", (0.112, 0, 0.776, 1)),
        ("videos/manifesto.mp4", (0.219, 0, 0.5625, 1)),
        ("videos/testvideo.mp4", FULL),
        ("panda/eibWo9t6pos.25.mp4", FULL),
    ],
)
def test_real_borders(name: str, crop: tuple[float, float, float, float]) -> None:
    """Measured by eye on full-size frames; the last two are dark scenes, one with a fade from black."""
    meter = QualityMeter(Quality(fps=1))
    with av.open(str(shared(name))) as container:
        for frame in container.decode(video=0):
            if frame.time > 10:
                break
            if meter.wants(frame.time * 1000):
                meter.push(frame.time * 1000, Shot(frame.reformat(320, 180, "gray").to_ndarray()))
    assert meter.border(0, 10_000) == pytest.approx(crop, abs=0.01)
