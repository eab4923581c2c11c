"""The Dagster instance of DAGSTER_HOME, opened so that several first runs at once do not collide.

Dagster makes its tables, and the limits of pools, when they are first needed; two processes that do so at the same moment end in errors of
the database. Here they are made beforehand: under a lock among the processes that share DAGSTER_HOME, and again where another machine was
faster.
"""

from __future__ import annotations

import fcntl
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from dagster import DagsterInstance, DagsterRunStatus, Definitions, OpDefinition, RunsFilter
from sqlalchemy import create_engine, inspect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from curation_assets.orchestration.compat import (
    INDEX_SHARD_NAME,
    EventLogStorage,
    SqlEventLogStorageMetadata,
    SqliteEventLogStorage,
)
from curation_assets.orchestration.errors import DatabaseUnusable
from curation_assets.orchestration.partitions import SHARDS
from curation_resources.unwritable import full_folder

AT_WORK = (DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING)
LOCK = ".curation.lock"
TRIES = 6
PAUSE_S = 0.5
"""Before the second try; it doubles with each, by chance up to twice as long, so that two that collided do not collide again."""

Result = TypeVar("Result")
Instance = DagsterInstance
"""What callers outside of this folder are handed, and hand on."""


def known_shards() -> list[str]:
    """Shard keys that the instance of DAGSTER_HOME knows, in the order in which they were registered; raises as `opened`."""
    with opened() as instance:
        return list(instance.get_dynamic_partitions(SHARDS.name or ""))


def runs_at_work(instance: Instance) -> list[str]:
    """Ids of the runs whose steps may be writing."""
    return [r.run_id for r in instance.get_runs(filters=RunsFilter(statuses=list(AT_WORK)))]


def last_ticks(instance: Instance) -> Iterator[tuple[str, float]]:
    """(name, time of the last tick) of every sensor and schedule that is switched on."""
    for state in instance.all_instigator_state():
        if not state.is_running:
            continue
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if ticks:
            yield state.instigator_name, ticks[0].timestamp


@contextmanager
def opened(pools: Iterable[str] = ()) -> Iterator[DagsterInstance]:
    """The instance with its tables made and with limits for `pools`.

    Raises:
        DatabaseUnusable: the database cannot be used, also when tried again; or no longer, within the block.
    """
    try:
        with _locked(Path(os.environ["DAGSTER_HOME"]) / LOCK):
            instance = insist(_complete)
            try:
                make_limits(instance, pools)
            except BaseException:
                instance.dispose()
                raise
        with instance:
            yield instance
    except Exception as error:
        if not isinstance(error, SQLAlchemyError) and not type(error).__module__.startswith("dagster_postgres"):
            raise
        raise _unusable(error) from error


def _unusable(error: Exception) -> DatabaseUnusable:
    """One sentence. Dagster's own error for PostgreSQL says only how often it tried; why stands in its cause."""
    home = os.environ["DAGSTER_HOME"]
    said = str(error if isinstance(error, SQLAlchemyError) else error.__cause__ or error)
    first = said.partition("\n")[0]
    where = f"Dagster's database cannot be used (storage in {home}/dagster.yaml)"
    return DatabaseUnusable(str(full_folder(said, home) or f"{where}: {first}"))


def _complete() -> DagsterInstance:
    """An instance that has made all its tables: asking each of its storages makes them."""
    instance = DagsterInstance.get()
    try:
        _finish_index(instance.event_log_storage)
        instance.get_runs_count()
        instance.get_dynamic_partitions("shards")
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.get_pool_limits()
        instance.all_instigator_state()
    except BaseException:
        instance.dispose()
        raise
    return instance


def _finish_index(storage: EventLogStorage) -> None:
    """Makes the tables that SQLite's index of events lacks. Dagster takes a file that is there for one that is complete, so that a first process
    that was killed, or found no room, would leave a DAGSTER_HOME in which nothing can ever run."""
    if not isinstance(storage, SqliteEventLogStorage):
        return
    engine = create_engine(storage.conn_string_for_shard(INDEX_SHARD_NAME), poolclass=NullPool)
    if set(SqlEventLogStorageMetadata.tables) <= set(inspect(engine).get_table_names()):
        return
    storage._initdb(engine, for_index_shard=True)
    storage.reindex_events()
    storage.reindex_assets()


def make_limits(instance: DagsterInstance, pools: Iterable[str]) -> None:
    """Gives each pool that has no limit the instance's default, if there is one.

    Two that do so at once: PostgreSQL refuses the second, and Dagster goes on in the transaction that the refusal has ended. What counts is
    that the limit is there in the end.
    """
    storage = instance.event_log_storage
    default = instance.global_op_concurrency_default_limit
    if not storage.supports_global_concurrency_limits or default is None:
        return
    for pool in pools:

        def make(pool: str = pool) -> None:
            limits = {limit.name: limit for limit in storage.get_pool_limits()}
            old = limits.get(pool)
            if old is not None and old.from_default and old.limit != default:
                storage.delete_concurrency_limit(pool)  # the instance file has another number now
                old = None
            if old is None:
                storage.initialize_concurrency_limit_to_default(pool)

        insist(make)


def insist(call: Callable[[], Result]) -> Result:
    """The result of `call`, which is tried again after errors of the database."""
    for attempt in range(TRIES - 1):
        try:
            return call()
        except SQLAlchemyError:
            time.sleep(PAUSE_S * 2**attempt * random.uniform(1, 2))
    return call()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock that the system gives up when the process ends, however it ends."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks; `insist` remains
            pass
        yield


def pools_of(definitions: Definitions) -> set[str]:
    """The pools that steps of the graph run in."""
    job = definitions.resolve_implicit_global_asset_job_def()
    return {node.pool for node in job.all_node_defs if isinstance(node, OpDefinition) and node.pool}
