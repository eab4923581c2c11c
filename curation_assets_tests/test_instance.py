"""What is made of a DAGSTER_HOME in which a first process was killed, or found no room; and what is said of a database that cannot be used."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.orchestration.instance import opened
from curation_assets_tests.faults.shipped import DEPLOY, INSTANCE_FILE


@pytest.mark.parametrize("made", ["", "CREATE TABLE event_logs (id INTEGER NOT NULL, PRIMARY KEY (id))"])
def test_an_index_of_events_that_was_not_finished_is_finished(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(INSTANCE_FILE, tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    index = tmp_path / "history/runs/index.db"
    index.parent.mkdir(parents=True)
    with sqlite3.connect(index) as connection:
        connection.execute(made)
    for _ in range(2):
        with opened(["cpu"]) as instance:
            instance.add_dynamic_partitions("shards", ["a-00000"])
            assert instance.get_dynamic_partitions("shards") == ["a-00000"]
            assert [p.name for p in instance.event_log_storage.get_pool_limits()] == ["cpu"]


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The shipped instance file of PostgreSQL, with the address of a server that is not there."""
    shutil.copy(DEPLOY / "dagster.postgres.yaml", tmp_path / "dagster.yaml")
    given = {"HOST": "127.0.0.1", "PORT": "1", "USERNAME": "a", "PASSWORD": "not to be said", "DB": "c"}
    for name, value in given.items():
        monkeypatch.setenv(f"DAGSTER_PG_{name}", value)
    for name, value in (("DAGSTER_HOME", "."), ("CURATION_STORAGE", "data"), ("CURATION_RECIPES", "recipes")):
        monkeypatch.setenv(name, str(tmp_path / value))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/toy.yaml").write_text("dataset: toy\nsource: {format: folder, path: ./videos}\n")
    return f"Dagster's database cannot be used (storage in {tmp_path}/dagster.yaml): "


def test_a_database_that_is_away_is_one_sentence(away: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dagster_postgres")
    assert main(["run", str(tmp_path / "recipes/toy.yaml")]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"curation: {away}")
    assert "refused" in said[0]
    assert "not to be said" not in said[0]
    assert main(["doctor"]) == 1
    assert away in capsys.readouterr().out
