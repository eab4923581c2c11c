"""Samples: which videos, apart from the whole, and what they say of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation_assets.cli import main
from curation_assets.engine.samples import VideoSample, samples_of, whole, write_listed
from curation_assets.ingest.forgotten import add_tombstones, id_key, read_forgotten
from curation_assets.ingest.indexing import IndexWorkspace, plan_index
from curation_assets.projection import PerVideo, project
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.ingest.test_indexing import recipe
from curation_assets_tests.look import small_root
from curation_assets_tests.sample_video import sample_video
from curation_resources.storage import Storage


def sampled(folder: Path, source: dict[str, Any], share: float | None, whole: Path | None = None) -> tuple[Any, Path]:
    out = folder / f"index-{share}.parquet"
    sample = None if share is None else VideoSample(share)
    return plan_index(recipe(source, 3), None, out, workspace=IndexWorkspace(sample=sample, whole=whole)), out


def test_a_sample_has_the_same_videos_everywhere_and_a_larger_one_has_those_too(tmp_path: Path) -> None:
    ids = [f"video-{i:05d}" for i in range(4000)]
    (tmp_path / "a.txt").write_text("\n".join([*ids, ids[7], ""]))
    (tmp_path / "b.txt").write_text("\n".join([*reversed(ids[1000:]), ""]))
    found: dict[tuple[str, float], set[str]] = {}
    for name in "ab":
        for share in (0.02, 0.1):
            plan, out = sampled(tmp_path, {"format": "ids", "path": str(tmp_path / f"{name}.txt")}, share)
            table = pq.read_table(out)
            found[name, share] = set(table["video_id"].to_pylist())
            assert plan.listed == (4000 if name == "a" else 3000)
            assert plan.present == table.num_rows
            assert plan.shards == tuple(dict.fromkeys(table["shard"].to_pylist())), "its shards are filled like any"
    assert found["a", 0.1] == {i for i in ids if VideoSample(0.1).has(i)}
    assert found["a", 0.02] < found["a", 0.1]
    assert found["b", 0.1] == found["a", 0.1] & set(ids[1000:])
    assert 320 <= len(found["a", 0.1]) <= 480, "four deviations"


def test_files_are_called_in_a_sample_as_in_the_whole(tmp_path: Path) -> None:
    """The first file of a name keeps it alone; which was first is known by the index of the whole."""
    for n in range(12):
        (tmp_path / "films" / "x").mkdir(parents=True, exist_ok=True)
        (tmp_path / "films" / f"f{n}.mp4").write_bytes(bytes(n + 1))
    source = {"format": "folder", "path": str(tmp_path / "films")}
    _, before = sampled(tmp_path, source, None)
    for n in range(12):
        (tmp_path / "films" / "x" / f"f{n}.mp4").write_bytes(bytes(n + 20))
    later = tmp_path / "later.parquet"
    plan_index(recipe(source, 3), before, later)
    ids = set(pq.read_table(later)["video_id"].to_pylist())
    assert len(ids) == 24
    plan, out = sampled(tmp_path, source, 0.5, later)
    assert set(pq.read_table(out)["video_id"].to_pylist()) == {i for i in ids if VideoSample(0.5).has(i)}
    assert plan.listed == 24
    again = tmp_path / "again.parquet"
    plan = plan_index(recipe(source, 3), out, again, workspace=IndexWorkspace(sample=VideoSample(0.5), whole=later))
    assert (plan.added, plan.removed, plan.changed) == (0, 0, 0)


def test_a_sample_lies_in_the_whole_and_its_tombstones_are_the_wholes(tmp_path: Path) -> None:
    all_of_it = table_store(Settings(storage=str(tmp_path)))
    part = table_store(Settings(storage=str(tmp_path), sample=0.25))
    assert part.storage.root == f"{tmp_path}/.samples/0.25"
    assert whole(part.storage) == all_of_it.storage
    assert whole(all_of_it.storage) is None
    assert whole(Storage("s3://bucket/x/.samples/0.25")) == Storage("s3://bucket/x")
    add_tombstones(part, [id_key("toy", "v")], "")
    for store in (all_of_it, part):
        assert id_key("toy", "v") in read_forgotten(store)
    part.storage.write("x", b"")
    assert samples_of(all_of_it.storage) == [0.25]


POPULATIONS = {
    "clips of most": lambda random, n: random.poisson(4, n) * (random.random(n) < 0.9),
    "one in fifty": lambda random, n: (random.random(n) < 0.02).astype(float),
    "a few with very many": lambda random, n: np.where(random.random(n) < 0.3, random.lognormal(1, 1, n), 0.0),
    "none": lambda random, n: np.zeros(n),
}


@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_hold_the_total_as_often_as_they_say(name: str) -> None:
    """Of 300 samples of 80 of 2,000 videos, drawn from one population; three deviations below 95 % are allowed."""
    random = np.random.default_rng(7)
    population = POPULATIONS[name](random, 2000)
    held, values = 0, []
    for _ in range(300):
        sums = PerVideo()
        drawn = random.choice(population, 80, replace=False)
        sums.add(drawn[:50])
        sums.add(drawn[50:])
        found = sums.whole(80, 2000)
        assert drawn.sum() <= found.low + 1e-9
        assert found.low <= found.value <= found.high
        held += found.low <= population.sum() <= found.high
        values.append(found.value)
    assert held >= 300 * 0.95 - 3 * np.sqrt(300 * 0.95 * 0.05)
    assert abs(np.mean(values) - population.sum()) <= 0.1 * population.sum(), "without a bias"


def test_all_of_the_videos_leave_nothing_open() -> None:
    sums = PerVideo()
    sums.add(np.array([3.0, 0.0, 2.0]))
    found = sums.whole(4, 4)
    assert (found.low, found.value, found.high) == (5.0, 5.0, 5.0)


def test_what_the_whole_would_give_is_told_by_the_tables_of_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings(storage=str(tmp_path), sample=0.1)
    store = table_store(settings)
    small_root.fill(store)
    write_listed(store.storage, {"toy": 40})
    found = project(store, small_root.recipes()["toy"], settings)
    lines = {line.name: line for line in found.lines}
    assert (found.sampled, found.listed) == (4, 40)
    clips = lines["clips"]
    assert (clips.seen, clips.rows.value) == (16, pytest.approx(160))
    assert clips.rows.low <= 160 <= clips.rows.high
    assert clips.hours is not None
    assert clips.hours.value == pytest.approx(16 * 0.5 / 3600 * 10)
    copies = found.duplicates
    assert copies is not None
    assert (copies.seen, copies.between) == (2, 0)
    assert copies.least == pytest.approx(20)
    assert copies.most == pytest.approx(160), (
        "no more than there are clips: no pair of two videos among four says nothing of forty"
    )
    steps = found.subsets["toy-hq"]
    table = store.read("curated_clips", "toy-hq").to_pylist()
    where = small_root.recipes()["toy"].subsets["hq"].where
    for step, line in enumerate(steps):
        assert line.seen == sum(r["drop_reason"] not in where[:step] for r in table)
    assert steps[0].rows.low > 60, "four of four videos have clips: at least two of five do"
    assert steps[1].rows.low <= 14, "copies may be many more than a sample shows"
    (tmp_path / "r.yaml").write_text(f"{small_root.RECIPE}")
    monkeypatch.chdir(tmp_path)
    for variable, value in (("CURATION_STORAGE", str(tmp_path)), ("CURATION_RECIPES", "r.yaml")):
        monkeypatch.setenv(variable, value)
    assert main(["report", "toy", "--sample", "0.1"]) == 0
    said = capsys.readouterr().out
    assert "by 4 of its 40 videos" in said
    assert "subset toy-hq" in said
    assert main(["report", "toy", "--sample", "0.1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["listed"] == 40
    assert main(["report", "toy", "--sample", "0.2"]) == 2, "another sample"
    assert "run the recipe with --sample first" in capsys.readouterr().err
    for no_share in ("1.5", "1", "0", "nan"):
        assert main(["report", "toy", "--sample", no_share]) == 2
        assert f"--sample {no_share}: say a share" in capsys.readouterr().err
    assert "CURATION_SAMPLE" not in os.environ


@pytest.mark.slow
def test_a_sample_runs_through_the_graph_beside_the_whole_and_is_taken_down_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dagster import DagsterInstance

    (tmp_path / "films").mkdir()
    for n in range(8):
        (tmp_path / "films" / f"f{n}.mp4").write_bytes(sample_video(1.0 + n / 4))
    (tmp_path / "films" / "torn_1.mp4").write_bytes(b"nothing that can be played")
    assert VideoSample(0.5).has("torn_1")
    text = f"dataset: toy\nsource: {{format: folder, path: {tmp_path}/films}}\nclips: {{from: whole, min_s: 0.5}}\nsubsets: {{all: {{where: []}}}}\n"
    (tmp_path / "r.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    for variable, value in (("STORAGE", "data"), ("RECIPES", "r.yaml"), ("WORKERS", "1")):
        monkeypatch.setenv(f"CURATION_{variable}", value)
    assert main(["run", "r.yaml", "--sample", "0.5"]) == 0
    said = capsys.readouterr().out
    assert "of its 9 videos" in said
    assert "videos that fail" in said
    part, all_of_it = (table_store(Settings(storage=str(tmp_path / "data"), sample=s)) for s in (0.5, None))
    assert all_of_it.partitions("clips") == []
    assert not all_of_it.exists("dataset_index")
    assert main(["run", "r.yaml"]) == 0
    mine, ours = (s.read("clips", "toy-00000").to_pylist() for s in (part, all_of_it))
    assert mine == [r for r in ours if VideoSample(0.5).has(r["video_id"])]
    assert 0 < len(mine) < len(ours) == 8
    with DagsterInstance.from_config(str(tmp_path / ".dagster")) as instance:
        runs = instance.get_runs_count()
    with DagsterInstance.from_config(str(tmp_path / ".dagster/.samples/0.5")) as instance:
        assert instance.get_runs_count() > 0
    assert main(["stale", "--exit-code"]) == main(["stale", "--exit-code", "--sample", "0.5"]) == 0
    gone = mine[0]["video_id"]
    assert main(["forget", gone, "--yes"]) == 0
    for store in (part, all_of_it):
        assert gone not in store.read("clips", "toy-00000")["video_id"].to_pylist()
        assert gone not in store.read("dataset_index")["video_id"].to_pylist()
    assert main(["run", "r.yaml", "--sample", "0.5"]) == 0
    assert gone not in part.read("clips", "toy-00000")["video_id"].to_pylist()
    with DagsterInstance.from_config(str(tmp_path / ".dagster")) as instance:
        assert instance.get_runs_count() == runs
