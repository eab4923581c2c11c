"""Old runs and their events are purged on the shipped instance files, and what the UI shows of tables stays."""

# no postponed annotations: Dagster looks at the type of `context`
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetRecordsFilter,
    DagsterInstance,
    MaterializeResult,
    RunsFilter,
    StaticPartitionsDefinition,
    asset,
    materialize,
)

from curation_assets.cli import main
from curation_assets.orchestration.retention import Purged, purge
from curation_assets_tests.deploy.conftest import DEPLOY
from curation_assets_tests.deploy.postgres import postgres

KEYS = ("a", "b")


@asset(partitions_def=StaticPartitionsDefinition(KEYS))
def table(context: AssetExecutionContext) -> MaterializeResult[None]:
    context.log.info("a line that nobody reads after a year")
    return MaterializeResult(metadata={"rows": 3})


@asset
def index() -> MaterializeResult[None]:
    return MaterializeResult(metadata={"rows": 1})


@contextmanager
def instance_of(file: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    shutil.copy(DEPLOY / file, home / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    if file == "dagster.local.yaml":
        with DagsterInstance.get() as instance:
            yield instance
        return
    with postgres() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with DagsterInstance.get() as instance:
            yield instance


def latest(instance: DagsterInstance) -> dict[str, list[tuple[str, object]]]:
    found = {}
    for name, key in (("table", "a"), ("table", "b"), ("index", None)):
        which = AssetRecordsFilter(AssetKey(name), asset_partitions=[key] if key else None)
        records = instance.fetch_materializations(which, limit=10).records
        events = [r.asset_materialization for r in records]
        found[f"{name} {key}"] = [
            (r.run_id, e.metadata["rows"].value) for r, e in zip(records, events, strict=True) if e
        ]
    return found


@pytest.mark.parametrize("file", ["dagster.local.yaml", "dagster.postgres.yaml"])
def test_runs_that_ended_long_ago_go_and_what_the_ui_shows_of_tables_stays(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with instance_of(file, tmp_path, monkeypatch) as instance:
        runs = [materialize([index], instance=instance).run_id]
        runs += [materialize([table], instance=instance, partition_key=k).run_id for k in ("a", "a", "b")]
        time.sleep(1.5)  # times of runs in SQLite have no fractions of a second
        recent = materialize([table], instance=instance, partition_key="b").run_id
        before = latest(instance)
        assert [len(found) for found in before.values()] == [2, 2, 1]
        first, last = (
            r.update_timestamp for r in instance.get_run_records(RunsFilter(run_ids=[runs[0], recent]), ascending=True)
        )
        assert purge(instance, first) == Purged()
        would = purge(instance, last, dry_run=True)
        assert latest(instance) == before
        assert instance.get_run_by_id(runs[1]) is not None

        done = purge(instance, last)

        assert done == would
        assert (done.runs, done.removed) == (4, 2), "the first of a, and that of b, which were made again since"
        assert done.events > len(runs)
        assert latest(instance) == {name: found[:1] for name, found in before.items()}
        there = [instance.get_run_by_id(r) is not None for r in (*runs, recent)]
        assert there == [True, False, True, False, True]
        assert len(instance.all_logs(runs[0])) == (0 if instance.event_log_storage.is_run_sharded else 1)
        assert len(instance.all_logs(recent)) > 5
        assert set(instance.get_materialized_partitions(AssetKey("table"))) == set(KEYS)
        again = purge(instance, last)
        assert again.events == again.removed == 0
        if instance.event_log_storage.is_run_sharded:
            left = {p.stem for p in (tmp_path / "history/runs").glob("*.db")} - {"index"}
            assert not left & {runs[1], runs[3]}
            assert not (tmp_path / "storage" / runs[1]).exists()


def test_the_command_purges_the_instance_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with instance_of("dagster.local.yaml", tmp_path, monkeypatch) as instance:
        materialize([index], instance=instance)
    assert main(["purge", "--dry-run"]) == 0
    assert "0 runs ended more than 90 days ago: 0 events would be removed" in capsys.readouterr().out
    assert main(["purge", "--days", "0"]) == 2
    assert "--days" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["dagster.local.yaml", "dagster.postgres.yaml", "dagster.cluster.yaml"])
def test_ticks_are_kept_for_a_while_in_every_shipped_instance(file: str) -> None:
    for of in ("sensor", "schedule"):
        days = yaml.safe_load((DEPLOY / file).read_text())["retention"][of]["purge_after_days"]
        assert {"skipped", "success", "failure"} <= set(days)
        assert all(0 < d <= 30 for d in days.values())
