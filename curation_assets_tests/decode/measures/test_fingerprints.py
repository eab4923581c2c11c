"""Fingerprints: equal to imagededup's hashes, blind to bars, covering the course of a clip in bounded memory."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.decode.measures import fingerprints, still
from curation_assets.decode.measures.content import content_box
from curation_assets.decode.measures.course import CELLS
from curation_assets.decode.measures.fingerprints import Fingerprinter, changes
from curation_assets.decode.measures.picture_hashes import METHODS, SIDE
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets_tests.shared_data import shared
from curation_resources.torchvision_ops import ensure_torchvision

Luma = NDArray[np.uint8]


def _scene(shape: tuple[int, int], seed: int) -> Luma:
    """A picture with structure at every scale, full contrast."""
    rng = np.random.default_rng(seed)
    picture = sum(
        cv2.resize(rng.random((n, n)).astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
        for n in (3, 7, 15)
    )
    return np.asarray(cv2.normalize(picture, None, 10, 240, cv2.NORM_MINMAX), np.uint8)


def _print(params: Dedup, frames: list[tuple[int, Luma]]) -> Fingerprinter:
    printer = Fingerprinter(params)
    for time_ms, luma in frames:
        if printer.wants(time_ms):
            printer.push(time_ms, luma)
    return printer


def _distance(a: int, b: int) -> int:
    return (a ^ b).bit_count()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_hashes_equal_imagededup(method: str) -> None:
    ensure_torchvision()
    from imagededup import methods

    encoder = {"phash": methods.PHash, "dhash": methods.DHash, "ahash": methods.AHash, "whash": methods.WHash}[method](
        verbose=False
    )
    photos = [cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in sorted(shared("faces").glob("*.jpg"))]
    pictures = np.array([cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in photos], np.uint8)
    for picture, value in zip(pictures, METHODS[method](pictures).tolist(), strict=True):
        resized = {
            "phash": picture,
            "dhash": cv2.resize(picture, (9, 8), interpolation=cv2.INTER_AREA),
            "ahash": np.round(picture.reshape(8, 4, 8, 4).mean(axis=(1, 3))).astype(np.uint8),
            "whash": picture.repeat(8, axis=0).repeat(8, axis=1),
        }[method]
        assert f"{value:016x}" == encoder.encode_image(image_array=resized)


def test_first_hash_is_near_imagededup_of_the_frame() -> None:
    ensure_torchvision()
    from imagededup.methods import PHash

    frame = np.asarray(cv2.imread(str(shared("faces/2007_007763.jpg")), cv2.IMREAD_GRAYSCALE), np.uint8)
    row = _print(Dedup(), [(0, frame)]).rows(0, 40)
    assert _distance(row["hashes"][0], int(PHash(verbose=False).encode_image(image_array=frame), 16)) <= 4


@pytest.mark.parametrize(("top", "side", "tone"), [(0, 80, 16), (40, 0, 0), (30, 60, 235)])
def test_bars_do_not_change_the_hash(top: int, side: int, tone: int) -> None:
    noise = np.random.default_rng(0)
    frames = [(k * 100, _scene((180, 320), k)) for k in range(12)]
    barred = []
    for time_ms, luma in frames:
        bars = cv2.copyMakeBorder(luma, top, top, side, side, cv2.BORDER_CONSTANT, value=(tone,)).astype(np.int16)
        barred.append((time_ms, np.clip(bars + noise.integers(-2, 3, bars.shape), 0, 255).astype(np.uint8)))
    plain, stripped = (_print(Dedup(), f).rows(0, 1200) for f in (frames, barred))
    assert plain["hash_ms"] == stripped["hash_ms"]
    assert max(map(_distance, plain["hashes"], stripped["hashes"])) <= 4


@pytest.mark.parametrize("sky", [4, 9])
def test_a_flat_sky_beside_a_bar_keeps_its_tone_and_its_place(sky: int) -> None:
    """At first the sky is as flat as the bar, and pictures are cut without it; clouds come later, and show where the picture began."""
    shown = np.clip(_scene((180, 320), 8), 0, 150)
    shown[:sky] = 200
    clouds = shown.copy()
    clouds[:sky, ::8] = 100
    barred = [
        (k * 100, np.asarray(cv2.copyMakeBorder(p, 30, 30, 0, 0, cv2.BORDER_CONSTANT, value=(16,)), np.uint8))
        for k, p in enumerate([shown] * 17 + [clouds] * 3)
    ]
    row = _print(Dedup(), barred).rows(0, 2000)
    assert row["content_box"]["y"] == pytest.approx(30 / 240)
    cells, fine = (cv2.resize(shown, (n, n), interpolation=cv2.INTER_AREA).astype(int) for n in (CELLS, still.SIDE))
    course = np.frombuffer(row["course"], np.uint8).reshape(-1, CELLS, CELLS)
    assert np.abs(course[:4].mean(axis=0) - cells).max() < 8
    assert np.abs(still.picture(row["still"]) - fine).mean() < 2


def test_a_border_known_from_elsewhere_is_used_too() -> None:
    textured = np.random.default_rng(1).integers(0, 255, (180, 480)).astype(np.uint8)
    inner = _scene((180, 320), 5)
    textured[:, 80:400] = inner
    row = _print(Dedup(), [(0, textured)]).rows(0, 40, (80 / 480, 0, 320 / 480, 1))
    assert _distance(row["hashes"][0], _print(Dedup(), [(0, inner)]).rows(0, 40)["hashes"][0]) <= 6


def test_dim_beginning_is_hashed_like_the_rest() -> None:
    """A fade from black: black frames are blank, dim ones have the hash of the bright picture, also at its dim edges."""
    scene = _scene((180, 320), 3)
    frames = [(k * 100, np.asarray(16 + (scene.astype(np.float32) - 16) * k / 20, np.uint8)) for k in range(1, 21)]
    row = _print(Dedup(step=0), [(0, np.full((180, 320), 16, np.uint8)), *frames]).rows(0, 2100)
    clear = [h for h, blank in zip(row["hashes"], row["blank"], strict=True) if not blank]
    assert row["blank"][0]
    assert not row["blank"][-1]
    distances = [_distance(h, clear[-1]) for h in clear]
    assert max(distances) <= Dedup().agree
    assert np.median(distances) <= 6


@given(
    st.lists(st.tuples(st.integers(0, 2**64 - 1), st.booleans()), max_size=60), st.integers(0, 16), st.integers(1, 8)
)
def test_changes_cover_every_hash(samples: list[tuple[int, bool]], step: int, at_least: int) -> None:
    hashes = np.array([h for h, _ in samples], np.uint64)
    blank = np.array([b for _, b in samples], np.bool_)
    kept = changes(hashes, blank, step, at_least)
    assert sorted(set(kept.tolist())) == kept.tolist()
    assert len(kept) >= min(at_least, len(samples))
    for i in range(len(samples)):
        near = [
            k
            for k in kept.tolist()
            if blank[k] == blank[i] and (blank[i] or _distance(samples[k][0], samples[i][0]) <= step)
        ]
        assert near, "every frame's hash lies within `step` of a kept one"


def test_three_spread_hashes_of_a_still_clip() -> None:
    scene = _scene((90, 160), 1)
    row = _print(Dedup(), [(k * 40, scene) for k in range(100)]).rows(0, 4000)
    assert len(row["hashes"]) == 3
    assert row["hash_ms"][0] < 1000
    assert row["hash_ms"][2] > 3000


@settings(max_examples=20)
@given(st.sampled_from([(1, 1), (1, 64), (64, 1), (3, 200), (320, 20)]))
def test_odd_shapes_and_empty_clips(shape: tuple[int, int]) -> None:
    printer = _print(Dedup(flipped=True), [(0, np.zeros(shape, np.uint8)), (500, np.full(shape, 200, np.uint8))])
    assert all(printer.rows(0, 1000)["blank"])
    nothing = printer.rows(2000, 3000)
    assert nothing["hashes"] == nothing["blank"] == nothing["hash_ms"] == nothing["flipped_hashes"] == []


def test_mirrored_hashes_are_those_of_the_mirrored_video() -> None:
    frames = [(k * 300, _scene((180, 320), k)) for k in range(4)]
    mirrored = [(t, np.ascontiguousarray(f[:, ::-1])) for t, f in frames]
    one, other = (_print(Dedup(flipped=True), f).rows(0, 1200) for f in (frames, mirrored))
    assert max(map(_distance, one["flipped_hashes"], other["hashes"])) <= 2


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "MAX_PICTURES", 100)
    scenes = [_scene((45, 80), k) for k in range(50)]
    printer = _print(Dedup(), [(k * 100, scenes[k % 50]) for k in range(3000)])
    row = printer.rows(0, 300_000)
    assert 30 <= len(row["hashes"]) <= 100
    assert max(np.diff(row["hash_ms"])) < 300_000 / 20, "what is dropped is dropped evenly"


def test_content_box_of_flat_and_framed_pictures() -> None:
    assert content_box(np.full((90, 160), 30, np.uint8)) is None
    framed = np.full((90, 160), 16, np.uint8)
    framed[10:80, 40:120] = _scene((70, 80), 0)
    x, y, w, h = content_box(framed) or (0, 0, 0, 0)
    assert (x, y, w, h) == pytest.approx((0.25, 1 / 9, 0.5, 7 / 9), abs=0.02)
