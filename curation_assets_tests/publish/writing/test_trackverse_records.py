"""TrackVerse's three published key sets are read alike, and what is written is what its first commit wrote."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from curation_assets.publish.writing.trackverse_records import (
    RecordError,
    key_set,
    read_records,
    to_record,
    write_records,
)

FIRST: dict[str, Any] = {
    "track_id": 7,
    "video_size": [720, 1280],
    "track_ts": [1.0, 1.125],
    "top10_lbl": [3, 1],
    "top10_desc": ["photo of a horse (also known as pony)", "photo of a dog"],
    "top10_cls": [[0.8, 0.1], [0.05, 0.01]],
    "top10_wcls": [[0.6, 0.08], [0.04, 0.02]],
    "frame_ts": [1.0, 1.0625, 1.125],
    "frame_bboxes": [[10, 20, 30, 40], [12, 20, 30, 40], [14.5, 20, 30, 40]],
    "frame_obj": [0.7, 0.8, 0.75],
    "frame_cls": [0.8, 0.82, 0.78],
    "frame_wcls": [0.56, 0.656, 0.585],
    "frame_lbl": [3, 3, 1],
    "frame_desc": ["photo of a horse (also known as pony)"] * 2 + ["photo of a dog"],
}
RELEASED = {
    **{k: v for k, v in FIRST.items() if not k.startswith("frame_") or k in ("frame_ts", "frame_bboxes")},
    "yid": "-abcDEF_123",
    "mp4_filename": "-a/-abcDEF_123-horse-0af1.mp4",
}
PIPELINE = {
    "yid": "-abcDEF_123",
    "tid": "0af1",
    "fn": "-a/-abcDEF_123-horse-0af1.mp4",
    "video_size": [720, 1280],
    "track_ts": FIRST["frame_ts"],
    "track_bbox": FIRST["frame_bboxes"],
    "top10_lbl": [3, 1],
    "top10_desc": ["horse", "dog"],
    "top10_logit_mu": [0.8, 0.1],
    "top10_logit_std": [0.05, 0.01],
    "top10_wlogit_mu": [0.6, 0.08],
    "top10_wlogit_std": [0.04, 0.02],
}
NAMES = ("cat", "dog", "bird", "horse")
ROW: dict[str, Any] = {
    "dataset": "d",
    "video_id": "vid/eo 1",
    "clip_id": "vid/eo 1_0_4000",
    "track_id": "vid/eo 1_0_4000_0002",
    "label": "horse",
    "score": 0.8,
    "top_labels": ["horse", "unicorn"],
    "top_scores": [0.8, 0.1],
    "top_scores_std": [0.05, 0.01],
    "top_scores_weighted": [0.6, 0.08],
    "top_scores_weighted_std": [0.04, 0.02],
    "start_ms": 1000,
    "end_ms": 1375,
    "frame_ms": [1000, 1125, 1250, 1375],
    "boxes": [[10.0, 20.0, 30.0, 40.0], [12.0, 20.0, 30.0, 40.0], [14.0, 20.0, 30.0, 40.0], [16.5, 20.0, 30.0, 40.0]],
    "box_scores": [0.8, None, 0.82, 0.78],
    "box_labels": ["horse", None, "horse", "dog"],
    "box_label_scores": [0.8, None, 0.82, 0.5],
    "objectness": [0.5, None, 0.5, 1.0],
    "length_s": 0.375,
    "area": 0.02,
    "motion": 0.1,
    "embedding": [0.5, 0.25],
    "width": 1280,
    "height": 720,
    "detector": "x",
}


def packed(*records: dict[str, Any]) -> io.BytesIO:
    return io.BytesIO(gzip.compress("".join(json.dumps(r) + "\n" for r in records).encode()))


@pytest.mark.parametrize(("name", "record"), [("first", FIRST), ("released", RELEASED), ("pipeline", PIPELINE)])
def test_all_key_sets_say_the_same(name: str, record: dict[str, Any]) -> None:
    assert key_set(record) == name
    (track,) = read_records(packed(record), "f")
    assert (track.width, track.height) == (1280, 720)
    assert track.times_ms == [1000, 1062, 1125]
    assert track.boxes == FIRST["frame_bboxes"]
    assert track.labels == ["horse", "dog"]
    assert (track.scores, track.scores_std) == ([0.8, 0.1], [0.05, 0.01])
    assert (track.weighted, track.weighted_std) == ([0.6, 0.08], [0.04, 0.02])
    assert track.video_id == (None if name == "first" else "-abcDEF_123")
    assert track.track_id == ("0af1" if name == "pipeline" else "7")
    if name == "first":
        assert track.objectness == [0.7, 0.8, 0.75]
        assert track.box_labels == ["horse", "horse", "dog"]
    else:
        assert track.filename == "-a/-abcDEF_123-horse-0af1.mp4"
        assert track.objectness is None


def test_a_record_of_the_subset_scripts_mixes_the_names() -> None:
    mixed = {k: v for k, v in PIPELINE.items() if "logit" not in k} | {k: FIRST[k] for k in ("top10_cls", "top10_wcls")}
    (track,), (plain,) = read_records(packed(mixed), "f"), read_records(packed(PIPELINE), "f")
    assert track == plain


def test_a_file_may_mix_them_and_need_not_be_packed() -> None:
    lines = "".join(json.dumps(r) + "\n\n" for r in (FIRST, PIPELINE, RELEASED))
    assert len(list(read_records(io.BytesIO(lines.encode()), "f"))) == 3


def test_corner_boxes() -> None:
    record = {**PIPELINE, "track_bbox": [[10, 20, 40, 60]] * 3}
    (track,) = read_records(packed(record), "f", corners=True)
    assert track.boxes == [[10, 20, 30, 40]] * 3


def test_what_is_written_has_the_first_commits_keys_and_comes_back() -> None:
    record = to_record(ROW, NAMES)
    assert set(FIRST) <= set(record)
    assert record["yid"] == "vid/eo 1"
    assert record["top10_lbl"] == [3, -1]
    assert record["frame_lbl"] == [3, 3, 1]
    assert record["frame_wcls"] == [0.4, 0.41, 0.5]
    assert record["track_ts"] == [1.0, 1.375]
    buffer = io.BytesIO()
    assert write_records(buffer, [ROW, ROW], NAMES) == 2
    buffer.seek(0)
    first, second = read_records(buffer, "f")
    assert first == second
    assert first.track_id == ROW["track_id"]
    assert first.times_ms == [1000, 1250, 1375]
    assert first.boxes == [ROW["boxes"][0], ROW["boxes"][2], ROW["boxes"][3]]
    assert first.ours["embedding"] == [0.5, 0.25]
    assert first.ours["clip_id"] == ROW["clip_id"]


def test_the_same_rows_give_the_same_bytes() -> None:
    one, other = io.BytesIO(), io.BytesIO()
    write_records(one, [ROW], NAMES)
    write_records(other, [ROW], NAMES)
    assert one.getvalue() == other.getvalue()


def test_a_detector_without_objectness() -> None:
    row = {**ROW, "objectness": None, "top_scores_weighted": None, "top_scores_weighted_std": None}
    record = to_record(row, NAMES)
    assert record["frame_obj"] == [1.0, 1.0, 1.0]
    assert record["top10_wcls"] == record["top10_cls"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(
            gzip.compress(b'{"a": 1}\n'), "line 1: not a TrackVerse record: it has neither frame_bboxes", id="no-boxes"
        ),
        pytest.param(
            gzip.compress(json.dumps(FIRST).encode() + b"\n[1"), "line 2: not a TrackVerse record", id="cut-json"
        ),
        pytest.param(
            gzip.compress(json.dumps({**FIRST, "frame_ts": [1.0]}).encode()), "1 time for 3 boxes", id="few-times"
        ),
        pytest.param(
            gzip.compress(json.dumps({k: v for k, v in FIRST.items() if k != "top10_desc"}).encode()),
            "no value 'top10_desc'",
            id="no-names",
        ),
        pytest.param(gzip.compress((json.dumps(FIRST) + "\n").encode() * 500)[:-20], "cut off", id="cut-gzip"),
        pytest.param(b"plain text", "line 1: not a TrackVerse record", id="plain-text"),
    ],
)
def test_bad_lines_name_file_and_line(data: bytes, words: str) -> None:
    with pytest.raises(RecordError, match=words) as error:
        list(read_records(io.BytesIO(data), "tracks.jsonl.gz"))
    assert str(error.value).startswith("tracks.jsonl.gz")
