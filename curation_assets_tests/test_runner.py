"""What `curation run` does not do: after a blocking check, and where there is nothing to work on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from dagster import (
    DagsterInstance,
    Definitions,
    InitResourceContext,
    ResourceDefinition,
    StaticPartitionsDefinition,
    asset,
)

from curation_assets.cli import main
from curation_assets.engine.plan import everything, plan
from curation_assets.orchestration.runs import execute
from curation_assets.outcome import Progress
from curation_assets.recipes import parse_recipe
from curation_assets.runner import _run_subsets


def test_subsets_of_a_blocked_dataset_are_not_made() -> None:
    recipes = {
        name: parse_recipe(
            f"dataset: {name}\nsource: {{format: folder, path: x}}\nsubsets: {{s: {{datasets: {datasets}}}}}", name
        )
        for name, datasets in (("one", []), ("two", ["three", "one"]))
    }
    progress = Progress(blocked={"one": "caption_scores: alignment"})
    steps = [s for s in plan(everything(recipes, []), []) if s.phase == "subsets"]
    _run_subsets(cast(Any, None), steps, recipes, progress)  # would fail if anything were run
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

    definitions = Definitions([clips], resources={"tables": ResourceDefinition(refuse)})
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        progress = Progress()
        assert not execute(definitions, instance, ["clips"], {}, progress, partition="a")
        assert len(progress.failures) == 1
        assert progress.failures[0].startswith("clips: ")
        assert "the database is away" in progress.failures[0]
        assert not execute(definitions, instance, ["clips"], {}, progress, partition="b")
        assert "the run could not be carried out" in progress.failures[1]
