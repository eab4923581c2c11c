"""What is known of many tables at once: the head of each, kept between looks, read again only when its file is another.

A head is the little of a table's footer that staleness is decided by. Footers are read one by one, listings by the thousand, so a
look lists the folders, and reads the footers of files whose tag (ETag, or inode, size and times) has changed. What is known is kept
in a file for each asset, so that the next process need not start over.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from curation_assets.engine.head_columns import Head, HeadColumns, Texts, keep, kept, strings, texts
from curation_assets.engine.samples import whole
from curation_assets.engine.standing import Fingerprints
from curation_assets.settings import SAMPLES
from curation_resources.file_facts import etag_of
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.tables import READERS, TableStore
from curation_resources.unwritable import gone
from curation_resources.words import plural

STATS = ("transient", "refused_urls", "errors", "failed", "faults", "span_words", "probe")
"""The stats that are kept."""
BATCH = 256
"""Footers that are read between two looks at the clock."""
HEXADECIMAL = np.array([f"{n:02x}".encode() for n in range(256)])
KEPT_EVERY = 8192
"""Footers after which what was read of an asset is kept, so that a process that is killed has not read them for nothing."""
HEADS = "heads"
"""Name of what is kept of a root's heads."""
SLICES = "slices-"
"""How names of files begin that keep hashes of slices."""
RACY_NS = 3_000_000_000
"""A file on disk that changed so shortly before it was listed may change again without another time, size and inode: clocks of file systems tick
every 4 ms, of some every two seconds. Its head is read again at the next look."""


@dataclass(frozen=True)
class Listed:
    """The tables of a folder.

    Attributes:
        names: their partitions, sorted.
        tags: of each, what changes when the file does.
    """

    names: list[str]
    tags: Texts


def listing(storage: Storage, folder: str) -> dict[str, str]:
    """Partition -> tag of the Parquet files directly in `folder`; empty if there is no such folder."""
    found = _listed(storage, folder, None)
    return dict(zip(found.names, strings(found.tags), strict=True))


def certain(storage: Storage, folder: str) -> Listed:
    """As `listing`, with an empty tag for what may change without changing it."""
    return _listed(storage, folder, time.time_ns() - RACY_NS)


def _listed(storage: Storage, folder: str, before: int | None) -> Listed:
    """The tables of a folder; on disk with an empty tag for those that changed at `before` (ns) or later."""
    fs, name = storage.filesystem(folder)
    if isinstance(fs, LocalFileSystem):
        names, tags, changed = _on_disk(name)
        return Listed(names, tags if before is None else np.where(changed < before, tags, b""))
    try:
        entries = fs.ls(name, detail=True, refresh=True) if "s3" in str(fs.protocol) else fs.ls(name, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        entries = []
    files = {e["name"].rsplit("/", 1)[-1]: e for e in entries if e["type"] == "file"}
    found = {n.removesuffix(".parquet"): etag_of(e) for n, e in files.items() if _is_table(n)}
    names = sorted(found)
    return Listed(names, texts([found[n] for n in names]))


def _on_disk(folder: str) -> tuple[list[str], Texts, NDArray[np.int64]]:
    """Partitions, sorted, the tag of each, and when the file or its inode changed last, ns. The inode's own time counts too, since a copy can set
    the file's. A tag is inode, size and both times in hexadecimal digits. Half a million files are asked for, so little is done for each."""
    found: list[str] = []
    facts: list[int] = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.endswith(".parquet") and name[0] != "." and entry.is_file():
                s = entry.stat()
                found.append(name[: -len(".parquet")])
                facts += (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
    numbers = np.array(facts if found else [], np.uint64).reshape(-1, 4)
    order = sorted(range(len(found)), key=found.__getitem__)
    numbers = numbers[order]
    tags = HEXADECIMAL[numbers.view(np.uint8)].view(f"S{8 * 2 * 4}").ravel()
    return [found[i] for i in order], tags, numbers[:, 2:].max(axis=1, initial=0).astype(np.int64)


def _is_table(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(".")


def cache_path(storage: Storage, what: str, home: str | Path | None = None) -> Path | None:
    """Where something that is known of a storage root is kept on this machine: below `home`, or DAGSTER_HOME; None without one."""
    home = home or os.environ.get("DAGSTER_HOME")
    if not home or storage.scheme == "memory":
        return None
    return Path(home) / "cache" / f"{what}-{hashlib.sha256(storage.root.encode()).hexdigest()[:16]}"


def reach(store: TableStore, writing: bool = True, home: Path | None = None) -> None:
    """What whoever uses a storage root asks before anything else: whether it can be reached, and whether its disk is there.

    Args:
        store: the tables.
        writing: whether it is to be written too.
        home: as for `check_disk`.

    Raises:
        StorageError: it cannot be reached.
        Unwritable: as `check_disk`.
    """
    check_disk(store.storage, home)
    store.storage.check(writing)


def check_disk(storage: Storage, home: Path | None = None) -> None:
    """Tells a folder whose disk is away from one in which nothing was made yet, by what this machine knows of it. Of a sample in which there is nothing
    the whole's root, in which it lies, is looked at too.

    Args:
        storage: the root.
        home: folder of the installation's records, in which that is kept; None is DAGSTER_HOME.

    Raises:
        Unwritable: the root is on this machine and empty or not there, and tables of it are known.
    """
    named = home or os.environ.get("DAGSTER_HOME")
    if not named or not storage.is_local:
        return
    above, records = whole(storage), Path(named)
    if above is not None and _is_empty(storage.root):
        _check_disk(
            above, cache_path(above, HEADS, records.parent.parent if records.parent.name == SAMPLES else records)
        )
    _check_disk(storage, cache_path(storage, HEADS, records))


def _check_disk(storage: Storage, folder: Path | None) -> None:
    """As `check_disk`; heads of tables are kept in `folder`."""
    if folder is None or not storage.is_local or not _is_empty(storage.root):
        return
    known = 0
    with suppress(OSError):  # whoever may not look into it knows of none
        files = (file for file in folder.glob("*.arrow") if not file.name.startswith(SLICES))
        known = sum(table.num_rows for file in files if (table := kept(file)) is not None)
    if known:
        raise gone(
            storage.root,
            f"it had {plural(known, 'table', commas=True)} when it was looked at last; if it was emptied on purpose, remove {folder}, "
            "which remembers them",
        )


def _is_empty(root: str) -> bool:
    """Whether nothing is in a folder, or it is not there. What begins with a dot is nobody's result."""
    try:
        with os.scandir(root) as entries:
            return all(entry.name.startswith(".") for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # whoever lists it says why it cannot be


def forget_heads(home: Path) -> None:
    """Removes all that is kept below a DAGSTER_HOME, of earlier versions too; it is read again when it is asked for."""
    shutil.rmtree(home / "cache", ignore_errors=True)


class Heads:
    """The heads of a store's tables.

    Args:
        store: the tables.
        with_stats: assets of whose tables the stats are kept.
        folder: where they are kept between processes; None is memory alone.
    """

    def __init__(self, store: TableStore, with_stats: Collection[str], folder: Path | None = None) -> None:
        # Not a run's own, which remembers headers of tables that others have replaced since.
        self.store = TableStore(store.storage, store.contracts)
        self._with_stats, self._folder = frozenset(with_stats), folder
        self._known: dict[str, HeadColumns] = {}
        self._slices: dict[str, tuple[str, dict[str, str]]] = {}
        self._names: list[str] = []
        self.fingerprints = Fingerprints()
        if folder is not None:
            with suppress(OSError):
                folder.with_name(f"{folder.name}.sqlite").unlink(missing_ok=True)  # of an earlier version

    def look(self, assets: Collection[str], seconds: float | None = None) -> int:
        """Lists the assets' tables and reads the footers of those that are new or changed.

        Args:
            assets: sharded assets.
            seconds: stop reading footers after so long, but for the first few; what was read is kept.

        Returns:
            How many footers are still to be read.

        Raises:
            Unwritable: as `check_disk`.
        """
        _check_disk(self.store.storage, self._folder)
        deadline = None if seconds is None else time.monotonic() + seconds
        left, begun = 0, False
        with ThreadPoolExecutor(READERS) as pool:
            # Threads wait for a bucket together; on disk they would wait for one another.
            side_by_side = map if self.store.storage.is_local else pool.map
            listings = side_by_side(lambda a: certain(self.store.storage, a), assets)
            for asset, files in zip(assets, listings, strict=True):
                before = self._load(asset)
                columns = before.changed(self._shared(files.names), files.tags)
                todo: list[tuple[str, str, str]] = []
                if len(columns) < len(files.names):
                    new = np.flatnonzero(columns.places(files.names) < 0).tolist()
                    todo = [(asset, files.names[i], files.tags[i].decode()) for i in new]
                if begun and deadline is not None and time.monotonic() > deadline:
                    left += len(todo)
                else:
                    begun = begun or bool(todo)
                    columns, unread = self._read_all(asset, columns, todo, pool, deadline)
                    left += unread
                self._known[asset] = columns
                if columns.tags is not before.tags:
                    self._keep(asset)
        return left

    def _shared(self, names: list[str]) -> list[str]:
        """The same list for all assets that have tables of the same partitions."""
        if names != self._names:
            self._names = names
        return self._names

    def _read_all(
        self,
        asset: str,
        columns: HeadColumns,
        todo: Sequence[tuple[str, str, str]],
        pool: ThreadPoolExecutor,
        deadline: float | None,
    ) -> tuple[HeadColumns, int]:
        """The heads with those of `todo`, as far as there is time; and how many are left."""
        pending, left, since, more = iter(todo), len(todo), 0, dict[str, Head]()
        while batch := list(islice(pending, BATCH)):
            more |= {n: h for (_, n, _), h in zip(batch, pool.map(self._read, batch), strict=True) if h}
            left, since = left - len(batch), since + len(batch)
            if since >= KEPT_EVERY:
                columns, more, since = columns.with_heads(more), {}, 0
                self._known[asset] = columns
                self._keep(asset)
            if deadline is not None and time.monotonic() > deadline:
                break
        return columns.with_heads(more), left

    def _read(self, table: tuple[str, str, str]) -> Head | None:
        asset, key, tag = table
        try:
            header = self.store.header(asset, key)
        except StorageError:
            return Head(tag, 0, "", "")
        if header is None:
            return None
        named = {k: header.stats[k] for k in STATS if k in header.stats} if asset in self._with_stats else {}
        stats = canonical_json(named) if named else ""
        media = self.store.media(header)
        said = canonical_json(dict(media)) if media else ""
        return Head(tag, header.rows, header.fingerprint, header.content_hash, stats, said)

    def _file(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder / f"{name}.arrow"

    def _load(self, asset: str) -> HeadColumns:
        if asset not in self._known:
            file = self._file(asset)
            table = None if file is None else kept(file)
            self._known[asset] = HeadColumns.of({}) if table is None else HeadColumns.of_table(table)
        return self._known[asset]

    def _keep(self, asset: str) -> None:
        file = self._file(asset)
        if file is not None and not keep(file, self._known[asset].table()):
            self._folder = None

    def of(self, asset: str) -> Mapping[str, Head]:
        """Partition -> head, as of the last look."""
        return self._load(asset)

    def columns(self, asset: str) -> HeadColumns:
        """As `of`, column by column."""
        return self._load(asset)

    def slices(
        self, asset: str, content_hash: str, compute: Callable[[], Iterable[tuple[str, str]]]
    ) -> Mapping[str, str]:
        """Shard -> content hash of its rows in an unpartitioned table, computed once for each content of that table."""
        file = self._file(f"{SLICES}{asset}")
        if asset not in self._slices and file is not None and (table := kept(file)) is not None and table.num_rows:
            names, hashes = table["shard"].to_pylist(), table["content_hash"].to_pylist()
            self._slices[asset] = table["source"][0].as_py(), dict(zip(names, hashes, strict=True))
        if asset not in self._slices or self._slices[asset][0] != content_hash:
            found = dict(compute())
            self._slices[asset] = content_hash, found
            if file is not None:
                source = pa.array([content_hash] * len(found)).dictionary_encode()
                shards, hashes = pa.array(list(found), pa.string()), pa.array(list(found.values()), pa.string())
                keep(file, pa.table({"shard": shards, "content_hash": hashes, "source": source}))
        return self._slices[asset][1]
