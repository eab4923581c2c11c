"""What `curation run` does not do: after a blocking check, and where there is nothing to work on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from dagster import (
    AssetSelection,
    DagsterInstance,
    Definitions,
    InitResourceContext,
    ResourceDefinition,
    StaticPartitionsDefinition,
    asset,
    define_asset_job,
)

import curation_assets as curation
from curation_assets.cli import main
from curation_assets.engine.plan import PlanStep, everything, plan
from curation_assets.orchestration.definitions import build_definitions
from curation_assets.orchestration.instance import opened
from curation_assets.orchestration.runs import execute_step
from curation_assets.outcome import Progress
from curation_assets.recipes import load_recipes, parse_recipe
from curation_assets.registry import INDEX
from curation_assets.runner import _run_subsets
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.sample_video import sample_video
from curation_resources.provenance import Provenance
from curation_resources.unwritable import Unwritable


def test_subsets_of_a_blocked_dataset_are_not_made() -> None:
    recipes = {
        name: parse_recipe(
            f"dataset: {name}\nsource: {{format: folder, path: x}}\nsubsets: {{s: {{datasets: {datasets}}}}}", name
        )
        for name, datasets in (("one", []), ("two", ["three", "one"]))
    }
    progress = Progress(blocked={"one": "caption_scores: alignment"})
    steps = [s for s in plan(everything(recipes, []), []) if s.phase == "subsets"]
    _run_subsets(cast(Any, None), lambda step: step, steps, recipes, progress)  # would fail if anything were run
    assert [f.split(":")[0] for f in progress.failures] == ["one-s", "two-s"]
    assert all("blocking check caption_scores: alignment" in f for f in progress.failures)


def test_a_source_without_videos_is_one_sentence_and_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (tmp_path / "lists.yaml").write_text(
        "dataset: lists\nsource: {format: ids, path: 'nowhere/*.txt'}\nsubsets: {all: {export: {clips: {}}}}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CURATION_STORAGE", str(tmp_path / "data"))
    monkeypatch.setenv("CURATION_RECIPES", "lists.yaml")
    assert main(["run", "lists.yaml"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "FAILED dataset_index: lists: nowhere/*.txt: no file matches; correct `source.path` of the recipe"
    ]
    assert not (tmp_path / "data/clip_dataset").exists()


def test_a_run_that_fails_outside_its_steps_is_a_failure(tmp_path: Path) -> None:
    """Before a step (a resource that cannot be made), and before the run (a partition that does not exist)."""

    def refuse(_: InitResourceContext) -> None:
        raise RuntimeError("the database is away")

    @asset(required_resource_keys={"tables"}, partitions_def=StaticPartitionsDefinition(["a"]))
    def clips() -> None:
        raise AssertionError("nothing runs")

    job = define_asset_job("publish", AssetSelection.assets("clips"))
    definitions = Definitions([clips], jobs=[job], resources={"tables": ResourceDefinition(refuse)})
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        progress = Progress()
        assert not execute_step(definitions, instance, PlanStep("subsets", ("clips",), ("a",)), {}, progress)
        assert len(progress.failures) == 1
        assert progress.failures[0].startswith("clips: ")
        assert "the database is away" in progress.failures[0]
        assert not execute_step(definitions, instance, PlanStep("subsets", ("clips",), ("b",)), {}, progress)
        assert "the run could not be carried out" in progress.failures[1]


CHEAP = "clips: {from: fixed, max_s: 0.3, min_s: 0}\nmotion: {fps: 4}\n"


def test_a_run_looks_at_what_is_behind_and_at_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also at what an earlier run has left beside a fresh table, and at what this instance of Dagster knows nothing of."""
    (tmp_path / "v").mkdir()
    for i in range(4):
        (tmp_path / "v" / f"v{i}.mp4").write_bytes(sample_video(seconds=0.3, size=(64, 36), seed=i))
    text = f"dataset: d\nsource: {{format: folder, path: {tmp_path}/v}}\nshard: {{videos: 1}}\n{CHEAP}"
    (tmp_path / "d.yaml").write_text(text)
    data = tmp_path / "data"
    for name, value in {"CURATION_STORAGE": str(data), "CURATION_WORKERS": "1"}.items():
        monkeypatch.setenv(name, value)

    def run(home: str, assets: str = "video_metadata,raw_shards,clips,frames") -> tuple[list[str], list[str]]:
        """What a run says of its steps over shards, and its last lines."""
        (tmp_path / home).mkdir(exist_ok=True)
        (tmp_path / home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / home))
        assert main(["run", str(tmp_path / "d.yaml"), "--select", assets]) == 0
        said = capfd.readouterr()
        steps = [line for line in said.err.splitlines() if line.startswith("d-")]
        return steps, [x for x in said.out.splitlines() if x.startswith(("made:", "up to date:"))]

    every, index = "video_metadata {0}, raw_shards {0}, clips {0}, frames {0}", "dataset_index"
    run("one", index)
    with DagsterInstance.from_config(str(tmp_path / "one")) as instance:
        (listed,) = instance.get_runs()
        assert listed.job_name == "index"
        origin = listed.remote_job_origin
        assert origin is not None, "or the UI's first page leaves it out"
        repository = origin.repository_origin
        assert (repository.code_location_origin.location_name, repository.repository_name, origin.job_name) == (
            "curation_assets.definitions",
            "__repository__",
            "index",
        )
    assert run("one")[1] == [f"made: {every.format(4)}"]
    before = {p: p.stat().st_mtime_ns for p in data.glob("*/*.parquet")}
    assert run("one") == ([], [f"up to date: {every.format(4)}"])
    (data / "frames/d-00001.parquet").unlink()
    assert run("one")[0] == ["d-00001: frames"]
    (data / "frames/d-00001.parquet").unlink()
    left = data / "frames/d-00002/0123456789ab-00007.tar"
    left.write_bytes(b"of a run that was killed")
    steps, lines = run("one")
    assert steps == ["d-00001 ... d-00002: frames"]
    assert lines == ["made: frames 1", "up to date: video_metadata 4, raw_shards 4, clips 4, frames 3"]
    assert not left.exists()
    run("two", index)
    steps, lines = run("two")
    assert steps == ["d-00000 ... d-00003: video_metadata, raw_shards, clips, frames"], "which knows of none"
    assert lines == [f"up to date: {every.format(4)}"]
    assert run("two") == ([], lines)
    now = {p: p.stat().st_mtime_ns for p in data.glob("*/*.parquet")}
    assert {p.name for p in now if now[p] != before.get(p)} == {"d-00001.parquet"}


def test_clusters_and_subsets_that_are_up_to_date_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A run with nothing to do reads the sources and starts nothing else; what lies beside a table, and what it uses, is looked at all the same."""
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "v.mp4").write_bytes(sample_video(seconds=0.3, size=(64, 36)))
    data, home = tmp_path / "data", tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    for name, value in {"CURATION_STORAGE": str(data), "CURATION_WORKERS": "1", "DAGSTER_HOME": str(home)}.items():
        monkeypatch.setenv(name, value)

    def run(rule: str = "keep", *more: str) -> list[str]:
        """What a run says of its steps, and what it says of the subset last."""
        subset = f"subsets: {{s: {{where: [{rule}], export: {{clips: {{format: folder, audio: false, cut: copy}}}}}}}}"
        source = f"dataset: d\nsource: {{format: folder, path: {tmp_path}/v}}\n"
        (tmp_path / "d.yaml").write_text(f"{source}{CHEAP}{subset}\n")
        assert main(["run", str(tmp_path / "d.yaml"), *more]) == 0
        said = capfd.readouterr()
        last.append(next(x for x in said.out.splitlines() if x.startswith("d-s: ")))
        return [x for x in said.err.splitlines() if x.startswith(("d-", "duplicate_clusters"))]

    def runs() -> int:
        with DagsterInstance.get() as instance:
            return instance.get_runs_count()

    last: list[str] = []
    both = "d-s: curated_clips, clip_dataset"
    assert [x for x in run() if "00000" not in x] == ["duplicate_clusters", both]
    before, files = runs(), {p: p.stat().st_mtime_ns for p in data.rglob("*") if p.is_file()}
    assert run() == []
    assert runs() == before + 1, "that of the index"
    assert last[1] == last[0], "which is in hand"
    now = {p: p.stat().st_mtime_ns for p in data.rglob("*") if p.is_file()}
    assert now.keys() == files.keys()
    unfinished = data / "clip_dataset/d-s/0123456789ab"
    unfinished.mkdir()
    (unfinished / "metadata.csv").write_text("of a run that was killed")
    assert run() == ["d-s: clip_dataset"]
    assert not unfinished.exists()
    assert run("motion >= 0") == [both], "under another rule"
    (manifest,) = data.glob("duplicate_clusters/**/manifest*")
    manifest.unlink()
    assert run("motion >= 0") == ["duplicate_clusters"]
    (data / "curated_clips/d-s.parquet").unlink()
    assert run("motion >= 0") == [both]
    assert run("motion >= 0") == []
    assert [x for x in run("motion >= 0", "--force") if "00000" not in x] == ["duplicate_clusters", both]


def test_a_sample_that_is_there_is_read_though_the_whole_was_emptied_and_none_is_begun_while_its_disk_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "v.yaml").write_text("dataset: v\nsource: {format: folder, path: videos}\n")
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "data"
    for name, value in (
        ("CURATION_STORAGE", root),
        ("CURATION_RECIPES", "v.yaml"),
        ("DAGSTER_HOME", tmp_path / "home"),
    ):
        monkeypatch.setenv(name, str(value))
    for sample in (None, 0.5):
        store = table_store(Settings(storage=str(root), sample=sample))
        store.commit("clips", "v-00000", schema("clips").empty(), Provenance("1"))
    assert main(["stale"]) == main(["stale", "--sample", "0.5"]) == 0
    shutil.rmtree(root / "clips")  # as `rm -r data/*` does: a sample's folder begins with a dot
    assert main(["stale"]) == 2
    assert main(["stale", "--sample", "0.5"]) == main(["verify", "--sample", "0.5"]) == 0
    capsys.readouterr()
    for command in ("verify", "run v.yaml"):  # of a share that has no folder of records yet
        assert main([*command.split(), "--sample", "0.25"]) == 2
        assert f"the storage root {root} is gone; bring it back" in capsys.readouterr().err
    root.rename(tmp_path / "away")
    assert main(["verify", "--sample", "0.5"]) == 2
    assert f"the storage root {root} is gone; bring it back" in capsys.readouterr().err
    assert not root.exists()


@pytest.mark.parametrize("has_tables", [True, False])
def test_who_may_not_look_into_the_folder_of_records_reads_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], has_tables: bool
) -> None:
    (tmp_path / "v.yaml").write_text("dataset: v\nsource: {format: folder, path: videos}\n")
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CURATION_STORAGE", str(root))
    monkeypatch.setenv("CURATION_RECIPES", "v.yaml")
    if has_tables:
        table_store(Settings.load()).commit("clips", "v-00000", schema("clips").empty(), Provenance("1"))
    # A name that is too long is refused as a folder without permission is, to the superuser too.
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ("x" * 300)))
    for command in ("report v", "verify", "list failed"):
        assert main(command.split()) == 0, command
        assert "curation: " not in capsys.readouterr().err
    with pytest.raises(OSError, match="File name too long"):
        Path(os.environ["DAGSTER_HOME"]).is_dir()


@pytest.mark.parametrize("left", ["an empty folder", "nothing"])
def test_a_root_whose_disk_is_away_is_not_taken_for_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left: str
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/dagster.yaml").write_text("telemetry: {enabled: false}\n")
    (tmp_path / "videos").mkdir()
    (tmp_path / "v.yaml").write_text("dataset: v\nsource: {format: folder, path: videos}\nsubsets: {s: {}}\n")
    monkeypatch.chdir(tmp_path)
    root, away = tmp_path / "data", tmp_path / "away"
    for name, value in (
        ("CURATION_STORAGE", root),
        ("CURATION_RECIPES", "v.yaml"),
        ("DAGSTER_HOME", tmp_path / "home"),
    ):
        monkeypatch.setenv(name, str(value))
    store = table_store(Settings(storage=str(root)))
    for shard in ("v-00000", "v-00001"):
        store.commit("clips", shard, schema("clips").empty(), Provenance("1"))
    assert main(["stale", "v.yaml"]) == 0
    root.rename(away)
    if left == "an empty folder":
        root.mkdir()
    commands = [
        "run v.yaml",
        "stale v.yaml",
        "doctor",
        "report",
        "report v",
        "plan",
        "list failed",
        "list dropped",
        "verify",
        "explain x",
        "captions",
        "look --serve 0",
        "pictures --serve 0",
        "pictures --redraw",
        "forget x",
        "forget",
        "remove w",
        "rename w v",
        "diff v.yaml v.yaml",
        "compare data data",
        "export-view lightly v-s view",
    ]
    for command in commands:
        assert main(command.split()) != 0, command
        said = "".join(capsys.readouterr())
        assert f"the storage root {root} is gone; bring it back" in said
        assert "it had 2 tables when it was looked at last" in said, command
    with curation.open("v.yaml", storage=root, home=tmp_path / "home") as mine:
        for ask in (mine.plan, lambda: mine.table("clips"), lambda: mine.shards("clips"), mine.run):
            with pytest.raises(Unwritable, match="is gone; bring it back"):
                ask()
    progress, settings = Progress(), Settings.load()
    definitions = build_definitions(settings, load_recipes("v.yaml"))
    with opened() as instance:  # as the UI's buttons do
        execute_step(definitions, instance, PlanStep("index", (INDEX,)), {}, progress)
    assert "is gone; bring it back" in "".join(progress.failures)
    assert not root.exists() or list(root.iterdir()) == []
    if left == "an empty folder":
        root.rmdir()
    away.rename(root)
    assert main(["stale", "v.yaml"]) == 0
    shutil.rmtree(root)
    shutil.rmtree(tmp_path / "home/cache")  # what the sentence says for one that was emptied on purpose
    assert main(["stale", "v.yaml"]) == 0
