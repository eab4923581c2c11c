"""`curation list`, and words that mean a clip: the rows behind the counts, with what was measured beside the rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curation_assets.cli import main
from curation_assets.definitions import table_store
from curation_assets.settings import Settings
from curation_assets_tests.test_explain import commit
from curation_resources.tables import TableStore

RECIPE = """dataset: toy
source: {format: folder, path: films}
subsets:
  s: {where: [keep, "motion >= 0.01", "duration_s >= 2", "file_size > 5"], export: {embeddings: {}}}
  t: {where: "motion >= 0"}
"""
DROPPED = {
    "v_0_1000": "keep",
    "v_1000_4000": "motion >= 0.01",
    "v_4000_5000": "duration_s >= 2",
    "w_0_3000": "file_size > 5",
}
MOTION = {"v_0_1000": 0.5, "v_1000_4000": 0.0043, "v_4000_5000": 0.5, "w_0_3000": 0.5, "v_5000_9000": 0.5}


def span(clip: str) -> dict[str, Any]:
    video, start, end = clip.split("_")
    return {"video_id": video, "clip_id": clip, "start_ms": int(start), "end_ms": int(end)}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableStore:
    """Two videos with five clips, of which four were dropped, one by each rule; one that could not be fetched, and one that gave no clip."""
    made = table_store(Settings(storage=str(tmp_path / "data")))
    (tmp_path / "r.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    for name, value in (("STORAGE", str(tmp_path / "data")), ("RECIPES", "r.yaml")):
        monkeypatch.setenv(f"CURATION_{name}", value)
    index = [
        {
            "video_id": v,
            "source": f"films/{v}.mp4",
            "status": "present",
            "record": json.dumps({"url": f"https://host/{v}"}),
        }
        for v in ("gone", "short", "v", "w")
    ]
    commit(made, "dataset_index", index, None)
    videos = [{"video_id": v, "size": s, "duration_ms": 9000} for v, s in (("short", 9), ("v", 9), ("w", 4))]
    failed = {"video_id": "gone", "status": "failed", "error_class": "gone", "error": "the host says 404"}
    commit(made, "raw_shards", [*videos, failed])
    nothing = {"video_id": "short", "clip_id": "short_rejected_0", "status": "rejected", "error": "shorter than min_s"}
    commit(made, "clips", [*(span(c) for c in MOTION), nothing])
    judged = [
        {**span(c), "motion": m, "keep": c != "v_0_1000", "selected": c not in DROPPED, "drop_reason": DROPPED.get(c)}
        | {"split": None if c in DROPPED else "train"}
        for c, m in MOTION.items()
    ]
    commit(made, "curated_clips", judged, "toy-s")
    commit(made, "embedding_dataset", [{**span("v_5000_9000"), "sample_key": "v_5000_9000x"}], "toy-s")
    return made


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["list", *words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("store")
def test_each_dropped_clip_has_the_rule_and_what_it_has_there(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {r["clip_id"]: r for r in listed(capsys, "dropped")}
    assert {c: r["why"] for c, r in rows.items()} == DROPPED
    values = {c: r["values"] for c, r in rows.items()}
    assert values["v_1000_4000"] == {"motion": pytest.approx(0.0043)}
    assert values["v_4000_5000"] == {"duration_s": 1.0}, "worked out from the span"
    assert values["w_0_3000"] == {"file_size": 4}, "of a table that the subset's does not repeat"
    assert values["v_0_1000"] == {"keep": False}


@pytest.mark.usefixtures("store")
def test_a_rule_or_a_column_that_it_names_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    for why in ("motion >= 0.01", "motion>=0.01", "motion"):
        assert [r["clip_id"] for r in listed(capsys, "dropped", "--why", why)] == ["v_1000_4000"]
    assert main(["list", "dropped", "--why", "sharpness"]) == 2
    assert "nothing is listed for that; there are keep, motion >= 0.01" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_what_failed_is_said_once_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys, "failed")
    assert [(r["table"], r["video_id"], r["why"], r["error"]) for r in rows] == [
        ("raw_shards", "gone", "gone", "the host says 404"),
        ("clips", "short", "rejected", "shorter than min_s"),
    ]
    assert [r["video_id"] for r in listed(capsys, "failed", "--why", "gone")] == ["gone"]


@pytest.mark.usefixtures("store")
def test_what_was_selected_has_its_sample_and_all_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = listed(capsys, "selected")
    assert (row["clip_id"], row["split"], row["sample_key"]) == ("v_5000_9000", "train", "v_5000_9000x")
    assert main(["list", "dropped", "--parquet", "d.parquet", "r.yaml", "--subset", "s"]) == 0
    assert set(pq.read_table(tmp_path / "d.parquet")["clip_id"].to_pylist()) == set(DROPPED)
    capsys.readouterr()
    assert main(["list", "dropped", "--subset", "t"]) == 2, "it was not judged"
    assert main(["list", "dropped", "--subset", "u"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "curation: toy-t was not judged yet; `curation run` does it",
        "curation: --subset u: no recipe declares it; there are toy-s, toy-t",
    ]


@pytest.mark.parametrize(
    ("word", "title", "because"),
    [
        ("v_5000_9000x", "video v of toy", "sample v_5000_9000x of embedding_dataset toy-s"),
        (
            "shard-00001/v_5000_9000x.clip_embeddings.npy",
            "video v of toy",
            "sample v_5000_9000x of embedding_dataset toy-s",
        ),
        ("w.mp4", "video w of toy", "its file is films/w.mp4"),
        ("films/w.mp4", "video w of toy", "its file is films/w.mp4"),
        ("https://host/w", "video w of toy", "its address is https://host/w"),
        ("file://{here}/films/a%20b%231.mp4", "video own of toy", "its file is {here}/films/a b#1.mp4"),
        ("file://localhost{here}/films/a b#1.mp4", "video own of toy", "its file is {here}/films/a b#1.mp4"),
        ("a b#1.mp4", "video own of toy", "its file is {here}/films/a b#1.mp4"),
        ("films/a b#1.mp4", "video own of toy", "its file is {here}/films/a b#1.mp4"),
        ("in/c.mp4", "video far of toy", "its file is s3://bucket/in/c.mp4"),
        ("./films/../films/a b#1.mp4", "video own of toy", "its file is {here}/films/a b#1.mp4"),
        (
            "https://youtu.be/dQw4w9WgXcQ?t=3",
            "video dQw4w9WgXcQ of toy",
            "its id is that of https://youtu.be/dQw4w9WgXcQ?t=3",
        ),
    ],
)
def test_explain_knows_samples_files_and_addresses(
    word: str, title: str, because: str, store: TableStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"video_id": "own", "source": "list.csv", "record": json.dumps({"url": f"{tmp_path}/films/a b#1.mp4"})}
    far = {"video_id": "far", "source": "list.csv", "record": json.dumps({"url": "s3://bucket/in/c.mp4"})}
    tube = {
        "video_id": "dQw4w9WgXcQ",
        "source": "list.csv",
        "record": json.dumps({"url": "https://www.youtube.com/watch?v=dQw4w9WgXcQ"}),
    }
    rows = store.read("dataset_index", None).to_pylist()
    commit(store, "dataset_index", [*rows, *({"status": "present", **r} for r in (own, far, tube))], None)
    word, because = word.format(here=tmp_path), because.format(here=tmp_path)
    assert main(["explain", word, "r.yaml"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == title
    assert f"asked for  {because}" in lines


@pytest.mark.usefixtures("store")
def test_explain_has_the_value_beside_the_rule_and_says_what_it_does_not_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["explain", "v_1000_4000"]) == 0
    assert "v_1000_4000  dropped by: motion >= 0.01; it has motion 0.0043" in capsys.readouterr().out
    assert main(["explain", "mp4"]) == 2
    assert "no published sample, and no file or address of a source" in capsys.readouterr().err
