"""What the footers of many tables come to when they are counted together: sums that reports and estimates are made of, without holding the footers.

A tally is what a footer says in numbers. They are read once for each file and kept in a small SQLite file below DAGSTER_HOME, beside the heads, so that a second look at
33,000 shards lists folders and reads what has changed; memory grows with the shards of one asset alone. What belongs here: reading, keeping and adding numbers. What does
not: what they mean (components declare it) and how tables stand (`heads.py`, `staleness.py`).
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from curation_assets.engine.head_columns import NOT_KEPT
from curation_assets.engine.heads import BATCH, cache_path, listing
from curation_resources.provenance import canonical_json
from curation_resources.table_headers import TableHeader
from curation_resources.tables import READERS, TableStore

FORMAT = 1
"""Raised when other numbers are kept; what an older format kept is forgotten."""
TABLES = "tables"
"""Among the numbers of `summed`: of how many tables it is the sum."""


def numbers(stats: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers among a table's stats, and those by name (`errors`); all else, which may be long, is left out."""

    def number(value: Any) -> bool:
        return isinstance(value, int | float)

    return {
        k: v
        for k, v in stats.items()
        if number(v) or (isinstance(v, Mapping) and k == "errors" and all(map(number, v.values())))
    }


def summed(headers: Iterable[TableHeader]) -> TableHeader | None:
    """One header for all of them: rows, bytes and numbers added up; None for none."""
    asset, tables, rows, size = "", 0, 0, 0
    found: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for header in headers:
        asset, tables, rows, size = header.asset, tables + 1, rows + header.rows, size + (header.size or 0)
        own = dict(header.stats)
        errors.update(own.pop("errors", {}))
        found.update(own)
    stats = {**found, TABLES: tables} | ({"errors": dict(errors)} if errors else {})
    return TableHeader(asset, None, rows, NOT_KEPT, "", "", stats, size=size) if tables else None


class Tallies:
    """The numbers of a store's sharded tables.

    Args:
        store: the tables. One that passes over damaged tables has them asked for at every look.
        remember: whether to keep what is read for the next process on this machine.
    """

    def __init__(self, store: TableStore, remember: bool = True) -> None:
        self._store = store
        kept = cache_path(store.storage, "tallies") if remember else None
        self._db = _database(kept and kept.with_name(f"{kept.name}.sqlite"))
        self._looked: set[str] = set()

    def headers(self, asset: str, dataset: str | None = None) -> Iterator[TableHeader]:
        """Headers of an asset's tables, or of a dataset's, in order of partitions: rows, size and `numbers` of the stats, nothing else.

        Each asset is looked at once. Raises what the store's `header` does.
        """
        if asset not in self._looked:
            try:
                self._look(asset)
            except sqlite3.Error:  # no room, locked, or no such database: what it has is there in storage too
                self._db, self._looked = _database(None), set()
                self._look(asset)
            self._looked.add(asset)
        bounds = ("", "\U0010ffff") if dataset is None else (f"{dataset}-", f"{dataset}.")
        query = "SELECT partition, rows, size, numbers FROM tallies WHERE asset = ? AND partition >= ? AND partition < ? ORDER BY partition"
        for key, rows, size, kept in self._db.execute(query, (asset, *bounds)):
            yield TableHeader(asset, key, rows, NOT_KEPT, "", "", json.loads(kept), size=size)

    def _look(self, asset: str) -> None:
        files = listing(self._store.storage, asset)
        known = dict(self._db.execute("SELECT partition, tag FROM tallies WHERE asset = ?", (asset,)))
        with self._db:
            gone = ((asset, k) for k, tag in known.items() if files.get(k) != tag)
            self._db.executemany("DELETE FROM tallies WHERE asset = ? AND partition = ?", gone)
        todo = iter([(asset, k) for k, tag in files.items() if known.get(k) != tag])
        with ThreadPoolExecutor(READERS) as pool:
            while batch := list(islice(todo, BATCH)):
                found = [h for h in pool.map(lambda table: self._store.header(*table), batch) if h is not None]
                rows = [
                    (asset, h.partition, files[h.partition or ""], h.rows, h.size, canonical_json(numbers(h.stats)))
                    for h in found
                ]
                with self._db:
                    self._db.executemany("INSERT OR REPLACE INTO tallies VALUES (?, ?, ?, ?, ?, ?)", rows)


def _database(file: Path | None) -> sqlite3.Connection:
    """The file of a storage root; where it cannot be used, or there is none, one that SQLite keeps on disk while it is open."""
    try:
        if file is None:
            raise FileNotFoundError
        file.parent.mkdir(parents=True, exist_ok=True)
        return _with_tables(sqlite3.connect(file, timeout=30))
    except (OSError, sqlite3.Error) as error:
        if (
            file is not None
            and isinstance(error, sqlite3.DatabaseError)
            and not isinstance(error, sqlite3.OperationalError)
        ):
            file.unlink(missing_ok=True)  # what lies there is no database
        return _with_tables(sqlite3.connect(""))


def _with_tables(database: sqlite3.Connection) -> sqlite3.Connection:
    with database:
        if database.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
            database.execute("DROP TABLE IF EXISTS tallies")
            database.execute(f"PRAGMA user_version = {FORMAT}")
        database.execute(
            "CREATE TABLE IF NOT EXISTS tallies (asset TEXT, partition TEXT, tag TEXT, rows INTEGER, size INTEGER, numbers TEXT, "
            "PRIMARY KEY (asset, partition)) WITHOUT ROWID"
        )
    return database
