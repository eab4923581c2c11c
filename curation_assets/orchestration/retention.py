"""How long Dagster keeps runs and their events: Dagster itself purges ticks of sensors and schedules alone.

Storage says what is up to date, so that runs and events are for people. Of runs that ended long ago everything goes but the latest
materialization of each partition, and the latest outcome of each check, which the UI shows for years; a run that has some of these keeps its
line in the list of runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as db
from dagster import DagsterEventType, DagsterInstance, DagsterRunStatus, RunsFilter

from curation_assets.orchestration.compat import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
    SqliteEventLogStorage,
)
from curation_assets.orchestration.taken_down import compact, sql_storage

ENDED = (DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
RUNS = 100
"""Runs that are purged in one transaction."""


@dataclass
class Purged:
    """What was removed, or would be.

    Attributes:
        runs: that ended long enough ago.
        removed: of these, runs of which nothing is kept.
        events: rows of the event log.
    """

    runs: int = 0
    removed: int = 0
    events: int = 0


class Unpurgeable(RuntimeError):
    """An instance whose events lie where this cannot reach them."""


def purge(instance: DagsterInstance, before: datetime, dry_run: bool = False) -> Purged:
    """Removes what is no longer needed of runs that ended before a time. One that is killed is gone on with by the next.

    Raises:
        Unpurgeable: events lie in another kind of storage than SQLite and PostgreSQL.
    """
    storage = sql_storage(instance)
    if storage is None:
        raise Unpurgeable("Dagster's events lie in a storage that cannot be purged from here")
    done = Purged()
    ended = list(_ended(instance, before))
    for runs in (ended[at : at + RUNS] for at in range(0, len(ended), RUNS)):
        with storage.index_connection() as connection:
            log = SqlEventLogStorageTable
            needed = _latest_materialization(log)
            mine = db.and_(log.c.run_id.in_(runs), ~needed)
            query = db.select(log.c.run_id).where(log.c.run_id.in_(runs), needed).distinct()
            kept_runs = {row[0] for row in connection.execute(query)}
            done.events += connection.execute(db.select(db.func.count()).select_from(log).where(mine)).scalar() or 0
            if not dry_run:
                of_events = AssetEventTagsTable.c.event_id.in_(db.select(log.c.id).where(mine))
                connection.execute(AssetEventTagsTable.delete().where(of_events))
                connection.execute(log.delete().where(mine))
                checks = AssetCheckExecutionsTable
                connection.execute(checks.delete().where(checks.c.run_id.in_(runs), _later_check(checks)))
        gone = [r for r in runs if r not in kept_runs]
        done.runs, done.removed = done.runs + len(runs), done.removed + len(gone)
        if not dry_run:
            for run in gone:
                instance.run_storage.delete_run(run)
            for run in runs:
                _drop_own(instance, storage, run, run in kept_runs)
    return done


def _ended(instance: DagsterInstance, before: datetime) -> Iterator[str]:
    """Ids of the runs that ended before a time and were not purged yet, oldest last."""
    cursor = None
    filters = RunsFilter(statuses=list(ENDED), updated_before=before)
    while records := instance.get_run_records(filters, limit=1000, cursor=cursor):
        yield from (r.dagster_run.run_id for r in records)
        cursor = records[-1].dagster_run.run_id


def _latest_materialization(log: Any) -> Any:
    """Whether a row of the event log is the latest materialization of its partition."""
    newer, made = log.alias(), DagsterEventType.ASSET_MATERIALIZATION.value
    later = db.exists().where(
        newer.c.asset_key == log.c.asset_key,
        newer.c.dagster_event_type == made,
        _same_partition(newer, log),
        newer.c.id > log.c.id,
    )
    return db.and_(db.func.coalesce(log.c.dagster_event_type, "") == made, ~later)  # lines of a log have no type


def _later_check(checks: Any) -> Any:
    """Whether there is a later outcome of the same check of the same partition."""
    newer = checks.alias()
    return db.exists().where(
        newer.c.asset_key == checks.c.asset_key,
        newer.c.check_name == checks.c.check_name,
        _same_partition(newer, checks),
        newer.c.id > checks.c.id,
    )


def _same_partition(one: Any, other: Any) -> Any:
    neither = db.and_(one.c.partition.is_(None), other.c.partition.is_(None))
    return db.or_(one.c.partition == other.c.partition, neither)


def _drop_own(instance: DagsterInstance, storage: SqlEventLogStorage, run: str, kept: bool) -> None:
    """Removes what lies by run: what its steps wrote to their output, and with SQLite a database of its events, which is emptied if the run is kept,
    since a web server may have it open."""
    if isinstance(storage, SqliteEventLogStorage):
        path = Path(storage.path_for_shard(run))
        if kept and path.exists():
            with storage.run_connection(run) as connection:
                connection.execute(SqlEventLogStorageTable.delete())
            compact(path)
        elif not kept:
            for ending in ("", "-wal", "-shm"):
                Path(f"{path}{ending}").unlink(missing_ok=True)
    with suppress(NotImplementedError):
        instance.compute_log_manager.delete_logs(prefix=[run])
