"""What is known of many tables at once: the head of each, kept between looks, read again only when its file is another.

A head is the little of a table's footer that staleness is decided by. Footers are read one by one, listings by the thousand, so a
look lists the folders, and reads the footers of files whose tag (ETag, or inode, size and time) has changed. What is known is kept
in a small SQLite file, so that the next process need not start over.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from curation_resources.file_facts import etag_of
from curation_resources.provenance import Provenance, canonical_json
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.table_headers import TableHeader
from curation_resources.tables import READERS, TableStore

FORMAT = 5
"""Raised when other facts are kept; what an older format kept is forgotten."""
STATS = ("transient", "refused_urls", "errors", "failed", "faults", "span_words", "probe")
"""The stats that are kept."""
BATCH = 256
"""Footers that are read between two looks at the clock."""


@dataclass(frozen=True, slots=True)
class Head:
    """What staleness asks of a table.

    Attributes:
        tag: what changes when the file does.
        rows, fingerprint, content_hash: as in its header; 0 and empty if the file is no table.
        stats: `STATS` of its header, JSON, of assets for which they decide whether a table is retried; else empty.
        media: own tar -> bytes that it must have at least, JSON; empty if the table names none.
    """

    tag: str
    rows: int
    fingerprint: str
    content_hash: str
    stats: str = ""
    media: str = ""

    def header(self, asset: str, partition: str) -> TableHeader:
        """The header as far as it is kept: without what the table was made from."""
        stats = json.loads(self.stats) if self.stats else {}
        return TableHeader(asset, partition, self.rows, NOT_KEPT, self.fingerprint, self.content_hash, stats)


NOT_KEPT = Provenance("")


def listing(storage: Storage, folder: str) -> dict[str, str]:
    """Partition -> tag of the Parquet files directly in `folder`; empty if there is no such folder."""
    fs, name = storage.filesystem(folder)
    if isinstance(fs, LocalFileSystem):
        try:
            with os.scandir(name) as entries:
                found = {e.name: e.stat() for e in entries if _is_table(e.name) and e.is_file()}
        except FileNotFoundError:
            return {}
        return {n.removesuffix(".parquet"): f"{s.st_ino}-{s.st_size}-{s.st_mtime_ns}" for n, s in found.items()}
    try:
        entries = fs.ls(name, detail=True, refresh=True) if "s3" in str(fs.protocol) else fs.ls(name, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    files = {e["name"].rsplit("/", 1)[-1]: e for e in entries if e["type"] == "file"}
    return {n.removesuffix(".parquet"): etag_of(e) for n, e in files.items() if _is_table(n)}


def _is_table(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(".")


def cache_file(storage: Storage) -> Path | None:
    """Where the heads of a storage root are kept on this machine: below DAGSTER_HOME; None without one."""
    home = os.environ.get("DAGSTER_HOME")
    if not home or storage.scheme == "memory":
        return None
    return Path(home) / "cache" / f"heads-{hashlib.sha256(storage.root.encode()).hexdigest()[:16]}.sqlite"


class Heads:
    """The heads of a store's tables.

    Args:
        store: the tables.
        with_stats: assets of whose tables the stats are kept.
        file: where they are kept between processes; None is memory alone.
    """

    def __init__(self, store: TableStore, with_stats: Collection[str], file: Path | None = None) -> None:
        self.store, self._with_stats, self._file = store, frozenset(with_stats), file
        self._known: dict[str, dict[str, Head]] = {}
        self._slices: dict[str, tuple[str, dict[str, str]]] = {}
        if file is not None:
            self._load()

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """The file for a block. Where there is no room for it, or it is damaged, the block ends and nothing is kept beyond this process."""
        assert self._file is not None
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._file, timeout=30)
        except (OSError, sqlite3.Error):
            connection = sqlite3.connect(":memory:")
        try:
            with connection:
                yield connection
        except sqlite3.Error as error:
            if not isinstance(error, sqlite3.OperationalError):  # what lies in it is no such database
                self._file.unlink(missing_ok=True)
            self._file = None
        finally:
            connection.close()

    def _load(self) -> None:
        with self._database() as db:
            if db.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                db.execute("DROP TABLE IF EXISTS heads")
                db.execute("DROP TABLE IF EXISTS slices")
                db.execute(f"PRAGMA user_version = {FORMAT}")
            db.execute(
                "CREATE TABLE IF NOT EXISTS heads (asset TEXT, partition TEXT, tag TEXT, rows INTEGER, "
                "fingerprint TEXT, content_hash TEXT, stats TEXT, media TEXT, PRIMARY KEY (asset, partition)) WITHOUT ROWID"
            )
            db.execute(
                "CREATE TABLE IF NOT EXISTS slices (asset TEXT, shard TEXT, source TEXT, content_hash TEXT, "
                "PRIMARY KEY (asset, shard)) WITHOUT ROWID"
            )
            for asset, partition, *rest in db.execute("SELECT * FROM heads"):
                self._known.setdefault(asset, {})[partition] = Head(*rest)
            for asset, shard, source, content in db.execute("SELECT * FROM slices"):
                self._slices.setdefault(asset, (source, {}))[1][shard] = content
        if self._file is None:
            self._known.clear()
            self._slices.clear()

    def look(self, assets: Collection[str], seconds: float | None = None) -> int:
        """Lists the assets' tables and reads the footers of those that are new or changed.

        Args:
            assets: sharded assets.
            seconds: stop reading footers after so long; what was read is kept.

        Returns:
            How many footers are still to be read.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        with ThreadPoolExecutor(READERS) as pool:
            found = dict(zip(assets, pool.map(lambda a: listing(self.store.storage, a), assets), strict=True))
            gone: list[tuple[str, str]] = []
            todo: list[tuple[str, str, str]] = []
            for asset, files in found.items():
                known = self._known.setdefault(asset, {})
                gone += [(asset, k) for k in known.keys() - files.keys()]
                todo += [(asset, k, tag) for k, tag in files.items() if k not in known or known[k].tag != tag]
            for asset, key in gone:
                del self._known[asset][key]
            self._keep(gone, ())
            pending = iter(todo)
            left = len(todo)
            while batch := list(islice(pending, BATCH)):
                read = [(a, k, h) for (a, k, _), h in zip(batch, pool.map(self._read, batch), strict=True) if h]
                for asset, key, head in read:
                    self._known[asset][key] = head
                self._keep((), read)
                left -= len(batch)
                if deadline is not None and time.monotonic() > deadline:
                    break
        return left

    def _read(self, table: tuple[str, str, str]) -> Head | None:
        asset, key, tag = table
        try:
            header = self.store.header(asset, key)
        except StorageError:
            return Head(tag, 0, "", "")
        if header is None:
            return None
        kept = {k: header.stats[k] for k in STATS if k in header.stats} if asset in self._with_stats else {}
        stats = canonical_json(kept) if kept else ""
        media = self.store.media(header)
        return Head(
            tag,
            header.rows,
            header.fingerprint,
            header.content_hash,
            stats,
            canonical_json(dict(media)) if media else "",
        )

    def _keep(self, gone: Iterable[tuple[str, str]], read: Iterable[tuple[str, str, Head]]) -> None:
        gone = list(gone)
        rows = [(a, k, h.tag, h.rows, h.fingerprint, h.content_hash, h.stats, h.media) for a, k, h in read]
        if self._file is not None and (gone or rows):
            with self._database() as db:
                db.executemany("DELETE FROM heads WHERE asset = ? AND partition = ?", gone)
                db.executemany("INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def of(self, asset: str) -> Mapping[str, Head]:
        """Partition -> head, as of the last look."""
        return self._known.get(asset, {})

    def slices(
        self, asset: str, content_hash: str, compute: Callable[[], Iterable[tuple[str, str]]]
    ) -> Mapping[str, str]:
        """Shard -> content hash of its rows in an unpartitioned table, computed once for each content of that table."""
        if asset not in self._slices or self._slices[asset][0] != content_hash:
            self._slices[asset] = (content_hash, dict(compute()))
            if self._file is not None:
                with self._database() as db:
                    db.execute("DELETE FROM slices WHERE asset = ?", (asset,))
                    rows = [(asset, k, content_hash, v) for k, v in self._slices[asset][1].items()]
                    db.executemany("INSERT INTO slices VALUES (?, ?, ?, ?)", rows)
        return self._slices[asset][1]
