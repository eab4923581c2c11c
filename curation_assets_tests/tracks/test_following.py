"""The tracks of a shard: rows against the truth of generated videos, the account of every clip, kills, and the real detector."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest

from curation_assets.schemas import schema
from curation_assets.tracks.drawn_tracks import PALETTE, drawn_clips
from curation_assets.tracks.following import TrackInputs, track_shard
from curation_assets.tracks.object_detector import detector_identity, open_detector
from curation_assets.tracks.track_rows import centre_speed
from curation_assets.tracks.tracks import OnnxLayout, Tracks
from curation_assets_tests.fault_server import wait_until
from curation_assets_tests.moving_objects import (
    COMING_AND_GOING,
    CROSSING,
    HEIGHT,
    WIDTH,
    ColourDetector,
    Thing,
    encode,
    picture,
    truth,
)
from curation_assets_tests.shared_data import shared
from curation_resources.detectors.base import iou_matrix
from curation_resources.journal import Journal
from curation_resources.storage import Storage

CUT_MS = 2000
AFTER_CUT = (
    Thing((130, 60), (10, 0), colour=(220, 60, 60)),
    Thing((20, 170), (50, 0), (60, 40), colour=(60, 80, 220), label=2),
)
"""What follows the cut begins where an object of the same colour was just before: only the cut says that it is another one."""
PARAMS = Tracks(fps=8, batch=4)


def two_shots() -> bytes:
    """Two seconds of one scene, then two of another, at 25 frames per second."""
    return encode(
        (k / 25, picture(CROSSING, k / 25) if k < 50 else picture(AFTER_CUT, (k - 50) / 25)) for k in range(100)
    )


def clip_row(video: str, start: int, end: int, **other: Any) -> dict[str, Any]:
    row = dict.fromkeys(schema("clips").names)
    row.update(
        dataset="d",
        video_id=video,
        clip_id=f"{video}_{start}_{end}",
        status="ok",
        start_ms=start,
        end_ms=end,
        width=WIDTH,
        height=HEIGHT,
    )
    return {**row, **other}


def raw_row(video: str, data: bytes | None, tar: str, **other: Any) -> dict[str, Any]:
    row = dict.fromkeys(schema("raw_shards").names)
    size = None if data is None else len(data)
    row.update(dataset="d", video_id=video, status="ok", attempts=1, tar=tar, offset=0, size=size)
    return {**row, **other}


def tables(clips: Sequence[dict[str, Any]], raw: Sequence[dict[str, Any]]) -> tuple[pa.Table, pa.Table]:
    return (
        pa.Table.from_pylist(list(clips), schema=schema("clips").arrow),
        pa.Table.from_pylist(list(raw), schema=schema("raw_shards").arrow),
    )


@pytest.fixture
def shard(tmp_path: Path) -> tuple[pa.Table, pa.Table, Storage]:
    """Three videos of two clips each; one of them lies within another file."""
    storage, data = Storage(str(tmp_path)), two_shots()
    storage.write("a.mp4", data)
    storage.write("b.tar", b"x" * 512 + data + b"y" * 100)
    storage.write("c.mp4", data)
    clips = [clip_row(v, s, e) for v in "abc" for s, e in ((0, CUT_MS), (CUT_MS, 2 * CUT_MS))]
    raw = [raw_row("a", data, "a.mp4"), raw_row("b", data, "b.tar", offset=512), raw_row("c", data, "c.mp4")]
    return *tables(clips, raw), storage


def test_rows_are_the_truth(shard: tuple[pa.Table, pa.Table, Storage]) -> None:
    clips, raw, storage = shard
    table, stats = track_shard(TrackInputs(clips, raw), PARAMS, storage, ColourDetector(CROSSING), workers=2)
    assert table.schema.equals(schema("tracks").arrow)
    rows = table.to_pylist()
    assert [r["track_id"] for r in rows] == sorted(r["track_id"] for r in rows)
    assert (stats.clips, stats.skipped, stats.looked_at, stats.failed) == (6, 0, 6, {})
    assert (stats.tracks, stats.frames) == (len(rows), 6 * 16)
    assert stats.labels["a"] == 6
    for video in "abc":
        first = [r for r in rows if r["clip_id"] == f"{video}_0_{CUT_MS}"]
        assert sorted(r["label"] for r in first) == ["a", "b", "c"]
        assert [r["track_id"] for r in first] == [f"{video}_0_{CUT_MS}_{n:04d}" for n in range(3)]
        for row in first:
            number = "abc".index(row["label"])
            assert len(row["frame_ms"]) >= 14
            for time_ms, box in zip(row["frame_ms"], row["boxes"], strict=True):
                assert time_ms % 40 == 0
                assert 0 <= time_ms < CUT_MS
                seen = truth(CROSSING, time_ms / 1000)
                own = np.asarray(box, np.float32)
                own[2:] += own[:2]
                where = seen.boxes[seen.ids.index(number)].copy()
                where[2:] += where[:2]
                least = 0.3 if row["label"] == "c" else 0.8  # c passes behind the others.
                assert iou_matrix(own[None], where[None])[0, 0] > least


def test_facts_of_a_track(shard: tuple[pa.Table, pa.Table, Storage]) -> None:
    clips, raw, storage = shard
    params = PARAMS.model_copy(update={"min_length_s": 1.0, "min_area": 0.032})
    table, _ = track_shard(
        TrackInputs(clips, raw, keep={f"a_{CUT_MS}_{2 * CUT_MS}"}), params, storage, ColourDetector(AFTER_CUT)
    )
    moving = next(r for r in table.to_pylist() if r["label"] == "c")
    assert moving["motion"] == pytest.approx(50 / np.hypot(WIDTH, HEIGHT), rel=0.05)
    assert moving["area"] == pytest.approx(60 * 40 / (WIDTH * HEIGHT), rel=0.05)
    assert moving["length_s"] == pytest.approx((moving["end_ms"] - moving["start_ms"]) / 1000)
    assert moving["length_s"] > 1.7
    assert moving["large_enough"] == (moving["area"] >= 0.032)
    assert (moving["width"], moving["height"]) == (WIDTH, HEIGHT)
    assert moving["score"] == pytest.approx(0.9)
    assert moving["top_labels"][0] == "c"
    assert moving["top_scores_weighted"][0] == pytest.approx(0.81)
    assert moving["top_scores_std"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert moving["embedding"] is None
    assert "colour; bytetrack 8 fps" in moving["detector"]


def test_no_track_crosses_a_cut(shard: tuple[pa.Table, pa.Table, Storage]) -> None:
    clips, raw, storage = shard
    table, _ = track_shard(TrackInputs(clips, raw), PARAMS, storage, ColourDetector(CROSSING))
    for row in table.to_pylist():
        start, end = (int(v) for v in row["clip_id"].rsplit("_", 2)[1:])
        assert start <= row["start_ms"] <= row["end_ms"] < end
    whole = [clip_row("a", 0, 2 * CUT_MS)]
    together, _ = track_shard(TrackInputs(tables(whole, [])[0], raw), PARAMS, storage, ColourDetector(CROSSING))
    assert any(r["start_ms"] < CUT_MS <= r["end_ms"] for r in together.to_pylist()), (
        "the scene does not tempt the tracker"
    )


def test_only_clips_that_passed_are_decoded(shard: tuple[pa.Table, pa.Table, Storage]) -> None:
    clips, raw, storage = shard
    detector = ColourDetector(CROSSING)
    table, stats = track_shard(TrackInputs(clips, raw, keep={f"b_0_{CUT_MS}"}), PARAMS, storage, detector)
    assert (stats.looked_at, stats.skipped, detector.looked) == (1, 5, 16)
    assert set(table["clip_id"].to_pylist()) == {f"b_0_{CUT_MS}"}
    nothing, stats = track_shard(TrackInputs(clips, raw, keep=set()), PARAMS, storage, detector)
    assert (nothing.num_rows, stats.skipped, detector.looked) == (0, 6, 16)


def test_every_clip_is_accounted_for(tmp_path: Path) -> None:
    storage, data = Storage(str(tmp_path)), two_shots()
    storage.write("good.mp4", data)
    storage.write("html.mp4", b"<html>not found</html>" * 50)
    storage.write("short.mp4", data[:200])
    storage.write("changed.mp4", data)
    clips = [
        clip_row("good", 0, CUT_MS),
        clip_row("good", 900_000, 901_000),
        clip_row("html", 0, CUT_MS),
        clip_row("short", 0, CUT_MS),
        clip_row("gone", 0, CUT_MS),
        clip_row("changed", 0, CUT_MS),
        clip_row("unknown", 0, CUT_MS),
        {**clip_row("none", 0, 0), "status": "rejected", "error": "no video"},
    ]
    raw = [
        raw_row("good", data, "good.mp4"),
        raw_row("html", None, "html.mp4"),
        raw_row("short", data, "short.mp4"),
        raw_row("gone", data, "gone.mp4"),
        raw_row("changed", None, "changed.mp4", etag="another"),
    ]
    table, stats = track_shard(TrackInputs(*tables(clips, raw)), PARAMS, storage, ColourDetector(CROSSING), workers=3)
    assert stats.clips == 7
    assert stats.looked_at == 1
    assert stats.clips == stats.skipped + stats.looked_at + len(stats.failed)
    assert {c.split("_")[0] for c in stats.failed} == {"good", "html", "short", "gone", "changed", "unknown"}
    for clip, words in {
        "good_900000_901000": "no frame can be decoded",
        f"html_0_{CUT_MS}": "cannot be opened as media",
        f"gone_0_{CUT_MS}": "is gone",
        f"changed_0_{CUT_MS}": "has changed",
        f"unknown_0_{CUT_MS}": "not in raw_shards",
    }.items():
        assert words in stats.failed[clip]
    assert set(table["video_id"].to_pylist()) == {"good"}


class Stops(ColourDetector):
    """Fails after so many frames, as a run that is killed."""

    def __init__(self, things: Sequence[Thing], frames: int) -> None:
        super().__init__(things)
        self._frames = frames

    def detect(self, frames: Sequence[Any]) -> list[Any]:
        if self.looked >= self._frames:
            raise KeyboardInterrupt
        return super().detect(frames)


def test_a_stopped_run_goes_on_from_its_journal(shard: tuple[pa.Table, pa.Table, Storage]) -> None:
    clips, raw, storage = shard
    wanted, _ = track_shard(TrackInputs(clips, raw), PARAMS, storage, ColourDetector(CROSSING))
    with pytest.raises(KeyboardInterrupt), Journal(storage, "tracks/d-0", "f") as journal:
        track_shard(TrackInputs(clips, raw), PARAMS, storage, Stops(CROSSING, 40), journal=journal)
    again = ColourDetector(CROSSING)
    with Journal(storage, "tracks/d-0", "f") as journal:
        assert 1 <= len(journal.items) < 6
        left = 6 - len(journal.items)
        table, stats = track_shard(TrackInputs(clips, raw), PARAMS, storage, again, journal=journal)
    assert again.looked == 16 * left
    assert stats.resumed == 6 - left
    assert stats.looked_at == 6
    assert table.equals(wanted)


KILLED = """
import sys, time
import pyarrow.parquet as pq
from curation_assets.tracks.following import TrackInputs, track_shard
from curation_assets_tests.moving_objects import CROSSING, ColourDetector
from curation_assets_tests.tracks.test_following import PARAMS
from curation_resources.journal import Journal
from curation_resources.storage import Storage

class Stays(ColourDetector):
    def detect(self, frames):
        if self.looked > 2 * 16:  # of the third clip
            time.sleep(600)  # until it is killed
        return super().detect(frames)

root = sys.argv[1]
storage = Storage(root)
with Journal(storage, "tracks/d-0", "f") as journal:
    inputs = TrackInputs(pq.read_table(root + "/clips.parquet"), pq.read_table(root + "/raw.parquet"))
    track_shard(inputs, PARAMS, storage, Stays(CROSSING), journal=journal)
"""


def test_a_killed_process_loses_and_doubles_nothing(shard: tuple[pa.Table, pa.Table, Storage], tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    clips, raw, storage = shard
    wanted, _ = track_shard(TrackInputs(clips, raw), PARAMS, storage, ColourDetector(CROSSING))
    pq.write_table(clips, tmp_path / "clips.parquet")
    pq.write_table(raw, tmp_path / "raw.parquet")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).resolve().parents[2])
    wait_until(lambda: len(Journal(storage, "tracks/d-0", "f").items) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with Journal(storage, "tracks/d-0", "f") as journal:
        assert len(journal.items) == 2
        table, stats = track_shard(TrackInputs(clips, raw), PARAMS, storage, ColourDetector(CROSSING), journal=journal)
    assert stats.resumed == 2
    assert table.equals(wanted)
    assert len(set(table["track_id"].to_pylist())) == table.num_rows


def test_a_real_detector_follows_the_dog(tmp_path: Path) -> None:
    video = shared("videos/01_dog.mp4")
    params = Tracks(
        detector="onnx",
        model=str(shared("weights/FastestDet.onnx")),
        onnx=OnnxLayout(layout="fastestdet", size=352, bgr=True, letterbox=False),
        vocabulary="coco",
        confidence=0.3,
        device="cpu",
    )
    storage = Storage(str(tmp_path))
    clips, raw = tables([clip_row("dog", 0, 4000, width=1280, height=720)], [raw_row("dog", None, str(video))])
    table, stats = track_shard(TrackInputs(clips, raw), params, storage, open_detector(params))
    long = {r["label"] for r in table.to_pylist() if r["length_s"] > 2}
    assert long >= {"dog", "person"}
    assert stats.frames == 32
    assert [name for _, name in drawn_clips(table, raw, storage)] == ["dog_0_4000"]


def test_faces_need_no_download(tmp_path: Path) -> None:
    photo = cv2.imread(str(shared("faces/2008_001322.jpg")))[:, :, ::-1]
    wide = cv2.resize(photo, (500, 374))
    frames = ((k / 10, np.ascontiguousarray(np.roll(wide, -2 * k, axis=1))) for k in range(10))
    data = encode(frames)
    storage = Storage(str(tmp_path))
    storage.write("f.mp4", data)
    clips, raw = tables([clip_row("f", 0, 1000, width=500, height=374)], [raw_row("f", data, "f.mp4")])
    params = Tracks(device="cpu", fps=10)
    table, _ = track_shard(TrackInputs(clips, raw), params, storage, open_detector(params))
    rows = table.to_pylist()
    assert [r["label"] for r in rows] == ["face"] * 3
    assert all(len(r["frame_ms"]) == 10 and r["objectness"] is None and r["top_scores_weighted"] is None for r in rows)


def test_pictures_show_the_boxes_of_their_own_moment(shard: tuple[pa.Table, pa.Table, Storage]) -> None:
    clips, raw, storage = shard
    table, _ = track_shard(TrackInputs(clips, raw), PARAMS, storage, ColourDetector(CROSSING))
    drawn = drawn_clips(table, raw, storage, clips=4)
    assert len(drawn) == 4
    for data, clip_id in drawn:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)
        rows = [r for r in table.to_pylist() if r["clip_id"] == clip_id]
        moment = Counter(t for r in rows for t in r["frame_ms"]).most_common(1)[0][0]
        shown = [(n, r["boxes"][r["frame_ms"].index(moment)]) for n, r in enumerate(rows) if moment in r["frame_ms"]]
        number, (x, y, w, h) = shown[-1]
        foot = image[min(HEIGHT - 1, round(y + h)), round(x + w / 4) : round(x + 3 * w / 4)]
        assert np.abs(foot - PALETTE[number % len(PALETTE)]).mean() < 45
    assert drawn_clips(table.slice(0, 0), raw, storage) == []
    assert drawn_clips(table, raw.slice(0, 0), storage) == []


def test_faces_can_be_covered_before_objects_are_looked_for(tmp_path: Path) -> None:
    photo = cv2.resize(cv2.imread(str(shared("faces/2008_001322.jpg")))[:, :, ::-1], (500, 374))
    data = encode((k / 10, np.ascontiguousarray(np.roll(photo, -2 * k, axis=1))) for k in range(10))
    storage = Storage(str(tmp_path))
    storage.write("f.mp4", data)
    clips, raw = tables([clip_row("f", 0, 1000, width=500, height=374)], [raw_row("f", data, "f.mp4")])
    params = Tracks(
        detector="onnx", model=str(shared("weights/FastestDet.onnx")), vocabulary="coco", fps=10, device="cpu"
    )
    faces = open_detector(
        Tracks(device="cpu")
    )  # as a detector of objects, since it finds what must not be there any more
    seen = {
        blur: track_shard(TrackInputs(clips, raw), params.model_copy(update={"blur_faces": blur}), storage, faces)[
            0
        ].num_rows
        for blur in (False, True)
    }
    assert seen == {False: 3, True: 0}
    with pytest.raises(ValueError, match="would hide what the detector"):
        Tracks(blur_faces=True)


def test_appearance_is_refused_before_anything_is_decoded(shard: tuple[pa.Table, pa.Table, Storage]) -> None:
    clips, raw, storage = shard
    detector = ColourDetector(COMING_AND_GOING)
    with pytest.raises(ValueError, match="detector faces has no appearance features"):
        track_shard(TrackInputs(clips, raw), Tracks(appearance=True), storage, detector)
    assert detector.looked == 0


def test_identity_follows_content(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("cat\n")
    model = tmp_path / "m.onnx"
    model.write_bytes(b"one")
    params = Tracks(detector="onnx", model=str(model), vocabulary=str(names))
    first = detector_identity(params)
    names.write_text("dog\n")
    second = detector_identity(params)
    model.write_bytes(b"other")
    assert len({first, second, detector_identity(params)}) == 3
    assert detector_identity(Tracks()).startswith("centerface:")
    assert "org/model" in detector_identity(Tracks(detector="owlv2", model="org/model", vocabulary="coco"))


def test_small_facts() -> None:
    boxes = np.asarray([[0, 0, 10, 10], [30, 40, 10, 10]], float)
    assert centre_speed([0, 500], boxes, (60, 80)) == pytest.approx(1.0)
    assert centre_speed([0, 0], boxes, (60, 80)) is None
