"""Two commits of a repository of recipes: the tables of each are made as it has them, and held against each other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from curation_assets.cli import main
from curation_assets_tests.sample_video import sample_video

RECIPE = """dataset: toy
source: {format: folder, path: films}
clips: {from: fixed, max_s: 1.0, min_s: 0.2}
subsets:
  hq:
    where: [keep, "duration_s >= 0.4"]
    exclude: [lists/bad.txt]
    export: {clips: {format: webdataset}}
"""


def git(folder: Path, *words: str) -> str:
    name = ["-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of a recipe and a list of ids in two commits; its videos lie beside them and are not in it, and the recipe has been changed since."""
    here = tmp_path / "mine"
    (here / "films").mkdir(parents=True)
    (here / "lists").mkdir()
    for number in range(2):
        (here / f"films/v{number}.mp4").write_bytes(sample_video(2.0, seed=number))
    (here / ".gitignore").write_text("films/\n")
    git(here, "init", "-q", "-b", "main")
    for recipe, excluded in ((RECIPE, ""), (RECIPE.replace("max_s: 1.0", "max_s: 0.6"), "v1\n")):
        (here / "toy.yaml").write_text(recipe)
        (here / "lists/bad.txt").write_text(f"# bad\n{excluded}")
        git(here, "add", "-A")
        git(here, "commit", "-q", "-m", f"without {excluded or 'nothing'}")
    (here / "toy.yaml").write_text("dataset: other words\n")
    monkeypatch.chdir(here)
    for variable in ("STORAGE", "RECIPES"):
        monkeypatch.delenv(f"CURATION_{variable}", raising=False)
    monkeypatch.setenv("CURATION_WORKERS", "1")
    return here


@pytest.mark.slow
def test_the_tables_of_two_commits_are_made_and_compared(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = git(repository, "status", "--short", "--ignored")
    words = ["compare", "--commits", "HEAD~1", "main", "--recipe", "toy.yaml", "--keep", "../kept", "--json"]
    assert main(words) == 1
    out, err = capsys.readouterr()
    told: dict[str, Any] = {t["table"]: t for t in map(json.loads, out.splitlines())}
    assert "without nothing: toy.yaml by the code that is installed" in err
    clips = told["clips"]
    assert (clips["rows_a"], clips["rows_b"], clips["moved"]) == (4, 8, 4), "those of 0.6 s that lie within one of 1 s"
    assert (clips["vanished"], clips["appeared"]) == (0, 4)
    assert clips["columns"]["end_ms"]["differ"] == 4
    judged = told["curated_clips"]["columns"]
    excluded = {c["clip"] for c in judged["drop_reason"]["largest"]}
    assert all(c.startswith("v1_") for c in excluded) or judged["drop_reason"]["differ"] == 4
    assert "clip_dataset" not in told, "exports are made where they are asked for"
    assert told["raw_shards"]["columns"] == told["dataset_index"]["columns"] == {}, "no path of the commits' checkout"
    assert git(repository, "status", "--short", "--ignored") == before
    made = {p: p.stat().st_mtime_ns for p in (repository.parent / "kept").glob("*/data/*/*.parquet")}
    assert len({p.parents[2] for p in made}) == 2
    assert main(words) == 1
    assert capsys.readouterr().out == out
    assert {p: p.stat().st_mtime_ns for p in made} == made, "what is there is not made again"
    assert main(["compare", "--commits", "HEAD", "HEAD", "--recipe", "toy.yaml", "--keep", "../kept"]) == 0


def test_what_cannot_be_compared_is_said(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository.parent / "out.yaml").write_text(RECIPE)
    for words, said in (
        (["--commits", "HEAD", "nosuch"], "nosuch: "),
        (["--commits", "HEAD~1", "HEAD", "--recipe", "mine.yaml"], "it has no recipe mine.yaml"),
        (["--commits", "HEAD~1", "HEAD", "--recipe", "../out.yaml"], "two commits of it say the same of it"),
        (["a", "b", "--videos", "films"], "--videos is for two commits: add --commits"),
    ):
        assert main(["compare", *words]) == 2
        assert said in capsys.readouterr().err
    (repository / "toy.yaml").write_text("dataset: toy\nsource: {format: nosuch, path: films}\n")
    git(repository, "commit", "-qam", "broken")
    assert main(["compare", "--commits", "HEAD", "HEAD~1", "--recipe", "toy.yaml"]) == 2
    said = capsys.readouterr().err
    assert "broken: its run ended with 2" in said
    assert "source.format" in said
