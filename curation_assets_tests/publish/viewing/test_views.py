"""A subset laid out for other tools: every clip once, on its video, with its verdict; and their tags as labels."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest

from curation_assets.cli import main
from curation_assets.publish.viewing import laying_out
from curation_assets.publish.viewing.laying_out import TOOLS, VectorsFile
from curation_assets.publish.viewing.reading_back import label_of
from curation_assets.scores.label_file import LabelFile, Said
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.look.small_root import CLIPS, FILM, RECIPE, SHARDS, clips_of, commit, fill
from curation_resources.tables import TableStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TableStore:
    made = table_store(Settings(storage=str(tmp_path / "data")))
    fill(made)
    for number, shard in enumerate(SHARDS):
        rows = [
            {
                "video_id": v,
                "clip_id": c,
                "time_ms": s + t,
                "frame": 1,
                "model": "m",
                "embedding": pa.scalar([n + t / 100, 1.0]).as_py(),
            }
            for n, v, c, s in clips_of(number)
            for t in (100, 300)
        ]
        commit(made, "frame_embeddings", shard, rows)
    (tmp_path / "r.yaml").write_text(f"{RECIPE}labels: {{file: labels.jsonl}}\n")
    monkeypatch.chdir(tmp_path)
    for variable, value in (("STORAGE", "data"), ("RECIPES", "r.yaml")):
        monkeypatch.setenv(f"CURATION_{variable}", value)
    return made


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_view_has_each_candidate_as_a_span_of_its_video(
    store: TableStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-view", "lightly", "toy-hq", "view"]) == 0
    view, judged = tmp_path / "view", store.read("curated_clips", "toy-hq").to_pylist()
    clips = {line["clip"]: line for line in lines(view / "clips.jsonl")}
    assert clips.keys() == {r["clip_id"] for r in judged}
    for row in judged:
        said = clips[row["clip_id"]]
        assert said["verdict"] == ("kept" if row["selected"] else f"dropped: {row['drop_reason']}")
        assert (said["start_s"], said["end_s"]) == (row["start_ms"] / 1000, row["end_ms"] / 1000)
        assert said["scores"].get("motion") == row["motion"]
        assert (view / said["file"]).stem == said["video"]
    spans = json.loads((view / "spans.json").read_text())["database"]
    assert len(spans) == len({Path(f.name).stem for f in (view / "videos").iterdir()}) == 4
    assert all(v["subset"] and v["duration"] >= 2.0 and len(v["annotations"]) == CLIPS for v in spans.values())
    for found in (a for v in spans.values() for a in v["annotations"]):
        assert 0 <= found["segment"][0] < found["segment"][1]
    for video in (view / "videos").iterdir():
        assert video.read_bytes() == FILM, "the bytes of a tar"
        with av.open(str(video)) as opened:
            assert opened.streams.video
    vectors = np.load(view / "embeddings.npy")
    assert vectors.shape == (16, 2)
    means = {clip: n + 2 for shard in (0, 1) for n, _, clip, _ in clips_of(shard)}
    assert vectors[:, 0] == pytest.approx([means[line["clip"]] for line in lines(view / "clips.jsonl")])
    capsys.readouterr()
    assert main(["export-view", "lightly", "toy-hq", "view"]) == 2
    assert "view is not empty" in capsys.readouterr().err
    assert main(["export-view", "fiftyone", "toy-hq", "kept", "--selected", "--limit", "2"]) == 0
    assert [c["verdict"] for c in lines(tmp_path / "kept/clips.jsonl")] == ["kept", "kept"]
    assert (tmp_path / "kept/open_fiftyone.py").exists()
    assert main(["export-view", "lightly", "toy-new", "new"]) == 2
    assert "toy-new was not judged yet" in capsys.readouterr().err


@pytest.mark.usefixtures("store")
def test_tags_become_labels_and_are_taken_back_with_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export-view", "lightly", "toy-hq", "view"]) == 0
    assert main(["export-view", "lightly", "toy-hq", "view", "--read"]) == 2
    assert "with --tags in the environment of lightly first" in capsys.readouterr().err
    file, tags = LabelFile("labels.jsonl"), tmp_path / "view/tags.jsonl"
    file.add([Said("v0_0_500", "mine", True, "me"), Said("v1_0_500", "drop", True, "me")])

    def read(*said: tuple[str, str]) -> dict[str, set[str]]:
        tags.write_text("".join(json.dumps({"dataset": "toy", "clip": c, "tag": t}) + "\n" for c, t in said))
        assert main(["export-view", "lightly", "toy-hq", "view", "--read"]) == 0
        return {clip: set(own) for clip, own in LabelFile("labels.jsonl").labels().items() if own}

    assert read(("v0_0_500", "Bad cut!"), ("v1_0_500", "drop"), ("gone_0_1", "x"), ("v2_0_500", "!!")) == {
        "v0_0_500": {"mine", "bad_cut"},
        "v1_0_500": {"drop"},
    }
    assert "no label can be made of '!!'" in capsys.readouterr().out
    assert read(("v2_0_500", "keep")) == {"v0_0_500": {"mine"}, "v1_0_500": {"drop"}, "v2_0_500": {"keep"}}, (
        "what others said stays"
    )
    before = (tmp_path / "labels.jsonl").read_bytes()
    read(("v2_0_500", "keep"))
    assert (tmp_path / "labels.jsonl").read_bytes() == before, "what is said already is not said again"
    (tmp_path / "r.yaml").write_text(RECIPE)
    assert main(["export-view", "lightly", "toy-hq", "view", "--read"]) == 2
    assert "names no file of labels" in capsys.readouterr().err


def test_tags_as_words_that_rules_can_name() -> None:
    assert [label_of(t) for t in ("Keep", "bad cut", "2nd", "ÄÖ", "a" * 80)] == [
        "keep",
        "bad_cut",
        "tag_2nd",
        None,
        "a" * 64,
    ]


def test_vectors_are_written_as_they_come(tmp_path: Path) -> None:
    none = np.zeros(0, np.float32)
    given = [none, none, *np.random.default_rng(0).random((1200, 7), np.float32), none, np.ones(3, np.float32)]
    with VectorsFile(tmp_path / "v.npy") as file:
        for vector in given:
            file.add(vector)
    found = np.load(tmp_path / "v.npy")
    assert found.dtype == np.float32
    expected = np.stack([v if len(v) == 7 else np.full(7, np.nan, np.float32) for v in given])
    assert np.array_equal(found, expected, equal_nan=True)
    with VectorsFile(tmp_path / "none.npy") as file:
        file.add(none)
    assert not (tmp_path / "none.npy").exists()


@pytest.mark.parametrize("script", sorted(TOOLS.values()))
def test_scripts_of_views_need_nothing_of_this_package(script: str, tmp_path: Path) -> None:
    copy = shutil.copy(Path(laying_out.__file__).with_name(script), tmp_path)
    named = [n for n in ast.walk(ast.parse(Path(copy).read_text())) if isinstance(n, ast.Import | ast.ImportFrom)]
    modules = {a.name for n in named if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module or "" for n in named if isinstance(n, ast.ImportFrom)}
    assert not [m for m in modules if m.startswith("curation")]
    opened = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='opened')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", opened, copy], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
