"""What Dagster wrote down of the videos: events, their copies, and the logs of steps.

Events are for ever: Dagster has no way to change one, `wipe_asset_partitions` is not implemented by any of its storages (1.13), `wipe_assets`
leaves what each run's own SQLite file holds, and `delete_run` takes a run's materializations of all shards away. So rows are rewritten
where they lie, through the event storage's own connections, which both SQLite and PostgreSQL have: texts that name a video are replaced,
and so are all pictures of the shards and subsets concerned, since nothing says whose they are. Then the rewritten tables are reported by
new events, so that Dagster's data versions are those of the tables.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any, cast

import sqlalchemy as db
from dagster import DagsterInstance

from curation_assets.engine.heads import forget_heads
from curation_assets.engine.making import Outcome
from curation_assets.engine.shard_keys import parse_shard_key
from curation_assets.makers import MAKERS
from curation_assets.orchestration.compat import (
    AssetCheckExecutionsTable,
    AssetKeyTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
)
from curation_assets.orchestration.events import Pages, materialization
from curation_assets.recipes import Recipe, subsets
from curation_assets.registry import GATHERED
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS
from curation_assets.takedown.plan import Say, TakedownPlan, pattern
from curation_assets.takedown.tables import Done
from curation_resources.table_headers import SHEET_FILE
from curation_resources.tables import TableStore
from curation_resources.words import plural

NOTE = "removed with a video that was taken down"
SHOWN = frozenset(
    {"md_str", "text", "data", "description", "message", "user_message", "stack", "url", "fs_path", "label"}
)
"""Keys of an event's JSON whose values people read; what Dagster finds its way by (keys, partitions, tags) is left alone."""
PICTURE = "data:image/"
ROWS = 500
"""Rows that are read at a time."""


def forget_in_events(instance: DagsterInstance, plan: TakedownPlan, recipes: Mapping[str, Recipe], say: Say) -> bool:
    """Rewrites events that name the videos or show pictures of their shards. False if the instance's events lie where this cannot reach."""
    storage = sql_storage(instance)
    if storage is None:
        return False
    scrub = _Scrub(plan, recipes)
    total = _rewrite(storage.index_connection(), scrub)
    if storage.is_run_sharded:
        for run in cast("Any", storage).get_all_run_ids():
            total += _rewrite(storage.run_connection(run), scrub)
    say(f"Dagster's events: {total} rewritten")
    return True


def sql_storage(instance: DagsterInstance) -> SqlEventLogStorage | None:
    """The event storage, also where it is one of a composite."""
    storage: Any = instance.event_log_storage
    for _ in range(3):
        if isinstance(storage, SqlEventLogStorage):
            return storage
        storage = getattr(storage, "event_log_storage", None) or getattr(storage, "_event_log_storage", None)
    return None


class _Scrub:
    """Rewrites the JSON of an event."""

    def __init__(self, plan: TakedownPlan, recipes: Mapping[str, Recipe]) -> None:
        self._everywhere, self._own = pattern(plan, own=False), pattern(plan, own=True)
        drawing = {k for k, (r, s) in subsets(recipes).items() if plan.datasets & set(s.datasets or [r.dataset])}
        drawing |= {k for d in plan.datasets for k in {key for _, key in plan.fresh} if k.startswith(f"{d}-")}
        self._partitions = {*plan.shards, *drawing}

    def __call__(self, text: str, asset: str | None = None, partition: str | None = None) -> str | None:
        """The event without what it says and shows of the videos; None if it says nothing of them."""
        own = partition in self._partitions or (asset is not None and any(g in asset for g in GATHERED))
        if not own and PICTURE not in text and not self._everywhere.search(text) and not _escaped(text):
            return None
        event = json.loads(text)
        changed = self._walk(event, own or _names(event, self._partitions))
        return json.dumps(event) if changed else None

    def _walk(self, value: Any, own: bool, shown: bool = False) -> bool:
        changed = False
        items: Iterable[tuple[Any, Any]] = ()
        if isinstance(value, dict):
            items = list(value.items())
        elif isinstance(value, list):
            items = list(enumerate(value))
        for key, inner in items:
            read = shown or (isinstance(key, str) and key in SHOWN)
            if isinstance(inner, str):
                if read and self._is_gone(inner, own):
                    value[key] = NOTE
                    changed = True
            else:
                changed |= self._walk(inner, own, read)
            if shown and isinstance(key, str) and self._is_gone(key, own) and isinstance(value, dict):
                value[NOTE] = value.pop(key)
                changed = True
        return changed

    def _is_gone(self, text: str, own: bool) -> bool:
        return (own and (PICTURE in text or SHEET_FILE in text)) or bool(
            (self._own if own else self._everywhere).search(text)
        )


def _escaped(text: str) -> bool:
    """Whether the JSON writes some characters as escapes, so that words in it can only be found once it is read."""
    return "\\u" in text


def _names(event: Any, partitions: Iterable[str]) -> bool:
    """Whether an event without a partition column is of one of these partitions."""
    specific = (event.get("dagster_event") or {}).get("event_specific_data") if isinstance(event, dict) else None
    made = (specific or {}).get("materialization") or specific or {}
    return isinstance(made, dict) and made.get("partition") in set(partitions)


def _rewrite(connection: AbstractContextManager[Any], scrub: _Scrub) -> int:
    """Rewrites the events of one database in place: the log, the latest event of each asset, and those of checks."""
    total = 0
    with connection as conn:
        there = set(db.inspect(conn).get_table_names())
        log, keys, checks = SqlEventLogStorageTable, AssetKeyTable, AssetCheckExecutionsTable
        for table, column, extra in (
            (log, log.c.event, (log.c.asset_key, log.c.partition)),
            (keys, keys.c.last_materialization, (keys.c.asset_key,)),
            (checks, checks.c.evaluation_event, (checks.c.asset_key, checks.c.partition)),
        ):
            if table.name not in there:
                continue
            last = -1
            while True:
                query = db.select(table.c.id, column, *extra).where(table.c.id > last).order_by(table.c.id).limit(ROWS)
                rows = conn.execute(query).fetchall()
                for number, text, *named in rows:
                    new = scrub(text, *named) if text else None
                    if new is not None:
                        conn.execute(table.update().where(table.c.id == number).values({column.name: new}))
                        total += 1
                if len(rows) < ROWS:
                    break
                last = rows[-1][0]
    return total


def forget_in_home(home: Path, plan: TakedownPlan, say: Say) -> list[str]:
    """Rewrites text files below DAGSTER_HOME (logs of steps, values that were handed on) without lines that name the videos, and compacts SQLite
    files, whose free pages hold what was deleted. Returns files that name them still."""
    found, left = pattern(plan, own=True), []
    forget_heads(home)
    number = 0
    for path in sorted(_files(home)):
        if _is_sqlite(path):
            try:
                compact(path)
            except sqlite3.Error as error:
                left.append(f"{path} (cannot be compacted: {error})")
            continue
        data = path.read_bytes()
        text = data.decode("utf-8", "surrogateescape")
        if not found.search(text):
            continue
        if path.suffix in (".out", ".err", ".log", ".txt", ".json", ".jsonl", ""):
            kept = "".join(line for line in text.splitlines(keepends=True) if not found.search(line))
            path.write_bytes(kept.encode("utf-8", "surrogateescape"))
            number += 1
        else:
            left.append(str(path))
    say(f"{home}: {plural(number, 'log')} rewritten, databases compacted")
    return left


def _files(folder: Path) -> Iterator[Path]:
    for name, _, files in os.walk(folder):
        yield from (Path(name) / f for f in files if not f.endswith(("-wal", "-shm")))


def _is_sqlite(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def compact(path: Path) -> None:
    """Rewrites a database into as few pages as it needs, and empties its write-ahead log."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def report_again(
    instance: DagsterInstance, store: TableStore, recipes: Mapping[str, Recipe], done: Done, pages: Pages
) -> int:
    """Reports rewritten tables by events of their own, parents before children; how many."""
    order = list(SCHEMAS)
    number = 0
    for asset, partition in sorted(set(done), key=lambda d: (order.index(d[0]), d[1] or "")):
        header = store.header(asset, partition)
        parents = _parents(recipes, asset, partition)
        if header is None or parents is None:
            continue
        event = materialization(instance, store, Outcome(asset, header, None, []), partition, parents, pages)
        instance.report_runless_asset_event(event)
        number += 1
    return number


def _parents(recipes: Mapping[str, Recipe], asset: str, partition: str | None) -> dict[str, bool] | None:
    """Parents as the asset's own events name them; None if no recipe declares the partition any more."""
    if asset in SUBSET_ASSETS:
        declared = partition in subsets(recipes)
    else:
        declared = partition is None or parse_shard_key(partition)[0] in recipes
    if not declared:
        return None
    return MAKERS[asset].parents(recipes)[asset]
