"""Text of clips: areas and places with known answers, real frames, and faults."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from curation_assets.schemas import schema
from curation_assets.scores.text_detection import (
    overlay_share,
    same_picture,
    sample_frames,
    score_text,
    union_area,
)
from curation_assets.scores.text_scores import Text
from curation_assets_tests.scores.text_pictures import backdrop, jpeg, page
from curation_assets_tests.shared_data import shared
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter, sample_key

Image = NDArray[np.uint8]
DEFAULTS, BOXES_ONLY = Text(), Text(words=False)


def shard(storage: Storage, clips: dict[str, list[Image | bytes]]) -> tuple[pa.Table, pa.Table]:
    """The tables `clips` and `frames` of clips of ten seconds with the given frames, evenly spread."""
    clip_rows, frame_rows = [], []
    writer = TarWriter(storage, "frames/test-00000", "t", 1 << 30)
    for name, pictures in clips.items():
        ids = {"dataset": "test", "video_id": name, "clip_id": f"{name}_0_10000"}
        clip_rows.append({**ids, "status": "ok", "start_ms": 0, "end_ms": 10_000})
        for k, picture in enumerate(pictures):
            data = picture if isinstance(picture, bytes) else jpeg(picture)
            time_ms = 1000 + 8000 * k // max(1, len(pictures) - 1)
            member = writer.add(sample_key(f"{name}_{time_ms}"), {"jpg": data})["jpg"]
            place = {"tar": member.tar, "offset": member.offset, "size": member.size, "sha256": member.sha256}
            frame_rows.append({**ids, "time_ms": time_ms, "frame": time_ms // 40, **place})
    writer.close()
    return (
        pa.Table.from_pylist(clip_rows, schema("clips").arrow),
        pa.Table.from_pylist(frame_rows, schema("frames").arrow),
    )


def run(
    folder: Path, clips: dict[str, list[Image | bytes]], params: Text = DEFAULTS, workers: int = 0
) -> dict[str, Any]:
    storage = Storage(str(folder))
    table, _ = score_text(*shard(storage, clips), storage, params, workers)
    assert table.schema.equals(schema("text_scores").arrow)
    return {row["video_id"]: row for row in table.to_pylist()}


def rectangle(left: float, top: float, width: float, height: float, turn: float = 0.0) -> NDArray[np.float64]:
    """Corners of a rectangle that is turned by so many radians about its centre."""
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    c, s = math.cos(turn), math.sin(turn)
    return corners @ np.array([[c, s], [-s, c]]) + (left + width / 2, top + height / 2)


def test_union_counts_overlaps_once_and_cuts_at_the_frame() -> None:
    one, two, apart = rectangle(0.1, 0.1, 0.4, 0.2), rectangle(0.3, 0.2, 0.4, 0.2), rectangle(0.8, 0.8, 0.4, 0.1)
    assert union_area(np.stack([one, two])) == pytest.approx(0.08 + 0.08 - 0.02)
    assert union_area(np.stack([one, two, two, apart])) == pytest.approx(0.14 + 0.02)
    assert union_area(np.stack([rectangle(0.4, 0.4, 0.2, 0.2, math.pi / 6)])) == pytest.approx(0.04)
    assert union_area(np.zeros((0, 4, 2))) == 0


@settings(max_examples=60)
@given(
    boxes=st.lists(
        st.tuples(*[st.integers(0, 60)] * 2, *[st.integers(1, 40)] * 2, st.sampled_from([0.0, 0.3, 1.2])), max_size=8
    )
)
def test_union_agrees_with_painting(boxes: list[tuple[int, int, int, int, float]]) -> None:
    polygons = np.array([rectangle(x / 100, y / 100, w / 100, h / 100, turn) for x, y, w, h, turn in boxes]).reshape(
        -1, 4, 2
    )
    ys, xs = (np.mgrid[0:400, 0:400] + 0.5) / 400
    inside = np.zeros(xs.shape, bool)
    for corners in polygons:
        edges = np.roll(corners, -1, axis=0) - corners
        inside |= np.all(
            [e[0] * (ys - c[1]) - e[1] * (xs - c[0]) >= 0 for c, e in zip(corners, edges, strict=True)], axis=0
        )
    assert union_area(polygons) == pytest.approx(inside.mean(), abs=0.01)


def lines(*boxes: tuple[float, float, float, float]) -> NDArray[np.float64]:
    return np.array([rectangle(*box) for box in boxes]).reshape(-1, 4, 2)


def test_overlay_share() -> None:
    subtitles = [lines((200, 340, 300, 24)), lines((250, 341, 200, 24)), lines((150, 340, 400, 25))]  # centred
    logo = [lines((600, 20, 60, 20))] * 3
    sign = [lines((100, 100, 120, 30)), lines((250, 100, 120, 30)), lines((400, 101, 120, 30))]  # passes by
    assert overlay_share(subtitles) == 1
    assert overlay_share(logo) == 1
    assert overlay_share(sign) == 0
    assert overlay_share([np.concatenate(k) for k in zip(logo, sign, strict=True)]) == pytest.approx(1200 / 4800)
    assert overlay_share([lines((20, 300 - 60 * k, 300, 24)) for k in range(3)]) == 0  # rolling credits
    assert overlay_share(logo[:1]) is None
    assert overlay_share([np.zeros((0, 4, 2))] * 3) is None


def test_three_samples_are_the_nearest() -> None:
    frames = [{"time_ms": t} for t in range(9000, -1, -500)]
    assert [f["time_ms"] for f in sample_frames(frames, 0, 10_000, "three")] == [1000, 5000, 9000]
    assert len(sample_frames(frames, 0, 10_000, "all")) == 19
    assert [f["time_ms"] for f in sample_frames(frames[:1], 0, 10_000, "three")] == [9000]
    assert sample_frames([], 0, 10_000, "three") == []


def test_same_picture_sees_one_digit_and_no_jpeg_noise() -> None:
    first, _ = page([("00:12", 600, 350, 12)])
    second, _ = page([("00:13", 600, 350, 12)])
    noise = np.random.default_rng(0).normal(0, 1.5, first.shape)
    noisy = np.clip(first + noise, 0, 255).round().astype(np.uint8)
    one, other, again = (cv2.imdecode(np.frombuffer(jpeg(p), np.uint8), 1) for p in (first, second, noisy))
    assert same_picture(one, again)
    assert not same_picture(one, other)
    assert not same_picture(first, first[:, :-1])


def test_subtitle_logo_and_passing_sign(tmp_path: Path) -> None:
    """A camera pans over a scene with a sign; the overlay stays in place."""
    wide = backdrop(1, width=1400)
    scene, _ = page([("BAKERY", 620, 120, 44)], wide)
    views = [np.ascontiguousarray(scene[:, x : x + 683]) for x in (150, 330, 560)]
    subtitled = [page([(text, 230, 335, 24), ("NEWS 24", 570, 20, 20)], view)[0]
                 for text, view in zip(("First of three lines", "First and second", "First again"), views, strict=True)]  # fmt: skip
    found = run(tmp_path, {"sign": views, "overlay": subtitled, "none": [backdrop(k) for k in range(3)]})

    assert found["sign"]["overlay"] == 0
    assert found["sign"]["text"] == "BAKERY"
    assert 0.4 < found["overlay"]["overlay"] < 0.6  # the sign is large
    assert {"First of three lines", "First and second", "First again", "NEWS 24", "BAKERY"} == set(
        found["overlay"]["text"].split("\n")
    )
    assert found["overlay"]["text_area"] > found["sign"]["text_area"] > 0.01
    assert found["none"]["text_area"] == 0
    assert found["none"]["text_boxes"] == []
    assert found["none"]["text"] == ""
    assert found["none"]["overlay"] is None


def test_area_and_polygons_of_known_lines(tmp_path: Path) -> None:
    picture, boxes = page([("Two lines of text", 60, 60, 40), ("that do not overlap", 120, 250, 40)])
    row = run(tmp_path, {"v": [picture]})["v"]
    expected = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes) / (683 * 384)
    assert row["text_area"] == pytest.approx(expected, rel=0.35)  # the detector leaves a margin around a line
    assert row["text_area_mean"] == row["text_area"]
    assert row["samples"] == 1
    for box, (left, top, right, bottom) in zip(row["text_boxes"], boxes, strict=True):
        xs, ys = np.array(box["polygon"]).reshape(4, 2).T
        assert (xs.min() * 683, xs.max() * 683) == pytest.approx((left, right), abs=8)
        assert (ys.min() * 384, ys.max() * 384) == pytest.approx((top, bottom), abs=12)
        assert box["time_ms"] == 1000


def test_unreadable_frames_are_recorded(tmp_path: Path) -> None:
    good, _ = page([("still here", 60, 60, 40)])
    found = run(
        tmp_path, {"half": [good, b"not a picture", good], "lost": [b"", b"\xff\xd8\xff", jpeg(good)[:40]], "bare": []}
    )
    assert found["half"]["text"] == "still here"
    assert found["half"]["samples"] == 2
    assert "not a picture that can be decoded" in found["half"]["error"]
    for name in ("lost", "bare"):
        assert found[name]["text_area"] is None
        assert found[name]["text"] is None
        assert found[name]["samples"] == 0
        assert found[name]["error"]


def test_missing_tar_and_changed_bytes_are_recorded(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    clips, frames = shard(storage, {"gone": [backdrop()], "changed": [backdrop()]})
    rows = frames.to_pylist()
    rows[0]["tar"] = "frames/test-00000/nowhere.tar"
    rows[1]["sha256"] = "0" * 64
    table, stats = score_text(clips, pa.Table.from_pylist(rows, frames.schema), storage, BOXES_ONLY, 0)
    errors = dict(zip(table["video_id"].to_pylist(), table["error"].to_pylist(), strict=True))
    assert "cannot be read" in errors["gone"]
    assert "SHA-256 differs" in errors["changed"]
    assert (stats.clips, stats.frames, stats.failed) == (2, 2, 2)


def test_processes_give_what_one_gives(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    pictures = [page([(f"clip number {k}", 100, 100, 30)], backdrop(k))[0] for k in range(4)]
    clips, frames = shard(storage, {f"v{k}": [p, p, p] for k, p in enumerate(pictures)})
    rejected = {**clips.to_pylist()[0], "clip_id": "v0_rejected", "status": "rejected"}
    clips = pa.concat_tables([clips, pa.Table.from_pylist([rejected], clips.schema)])
    alone, stats = score_text(clips, frames, storage, Text(), 0)
    pooled, _ = score_text(clips, frames, storage, Text(), 2)
    assert alone.drop_columns(["cpu_ms"]).equals(pooled.drop_columns(["cpu_ms"]))
    assert alone["text"].to_pylist() == [f"clip number {k}" for k in range(4)]
    assert (stats.clips, stats.frames, stats.repeated, stats.failed) == (4, 12, 8, 0)
    assert 0 < stats.cpu_ms_per_frame == pytest.approx(sum(stats.cpu_ms_of_clip.values()) / 4)
    assert max(alone["overlay"].to_pylist()) == 1


def test_boxes_only(tmp_path: Path) -> None:
    picture, _ = page([("words nobody asked for", 60, 60, 32)])
    row = run(tmp_path, {"v": [picture]}, BOXES_ONLY)["v"]
    assert row["text"] is None
    assert [box["text"] for box in row["text_boxes"]] == [None]
    assert row["text_area"] > 0.01


def _video_frame(name: str, second: float) -> Image:
    with av.open(str(shared(f"videos/{name}"))) as container:
        stream = container.streams.video[0]
        container.seek(int(second * 1_000_000))
        frame = next(f for f in container.decode(stream) if f.time >= second)
        scale = min(1.0, 384 / min(frame.width, frame.height))
        size = (round(frame.width * scale), round(frame.height * scale))
        return cv2.resize(frame.to_ndarray(format="bgr24"), size, interpolation=cv2.INTER_AREA)


def test_real_frames(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        {
            "screencast": [_video_frame("test_video.mp4", 60)],
            "counter": [_video_frame("counter.mp4", 0.55)],
            "title": [_video_frame("big_buck_bunny_0_30.webm", 20.5)],
            "dog": [_video_frame("01_dog.mp4", 3)],
        },
    )
    assert "data" in found["screencast"]["text"].lower() or "image" in found["screencast"]["text"].lower()
    assert found["counter"]["text"] == "Frame = 7\nPTS = 0.6s"
    assert "PEACH" in found["title"]["text"].upper()
    assert found["dog"]["text_area"] < 0.01 < found["title"]["text_area"]
