"""Where the columns of collections lie: a folder for each state of each collection, below the user's cache folder, bounded together.

A folder is named for the tables that it comes from, so what it has is never of others. Whoever uses one holds its lock; those that nobody uses go, the longest unused first, once
all together are too large. Where the cache cannot be written, columns lie in this process's temporary files. What belongs here: folders. What does not: a column
(`column_files.py`), what is in them (`candidates.py`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
import urllib.parse
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa

from curation_assets.look.column_files import ENDED_S, NEW, SUFFIX, ColumnWriter, DamagedColumn, KeptColumn, remove
from curation_resources.scratch import scratch_root

FORM = "1"
"""Of the files; another one is another folder."""
GIGABYTE = 1 << 30
LOCK = "in-use"
CACHE_GB = 64.0
"""What all folders may take, unless told."""


@dataclass(frozen=True)
class ColumnCache:
    """The folders of all collections.

    Attributes:
        root: where they lie; None is among this process's temporary files.
        most_bytes: what they may take together, but for those in use.
    """

    root: Path | None = None
    most_bytes: int = int(CACHE_GB * GIGABYTE)

    def folder(self, of: Sequence[str], version: str) -> ColumnFolder:
        """The folder of a state of a collection, made if it is not there; then those that are too many go.

        Args:
            of: names the collection: the storage root, its key.
            version: names what it was made from.
        """
        name = hashlib.sha256("\0".join((FORM, *of)).encode()).hexdigest()[:24]
        try:
            if self.root is None:
                raise PermissionError
            self.root.mkdir(parents=True, exist_ok=True)
            found = ColumnFolder(self.root / f"{name}-{version}")
        except OSError:  # it may not be written, or is full
            return ColumnFolder(Path(tempfile.mkdtemp(prefix="look-", dir=scratch_root())))
        self.sweep(name)
        return found

    def sweep(self, superseded: str = "") -> None:
        """Removes folders that nobody uses: other states of a collection, and the longest unused beyond `most_bytes`; and files that were never ended."""
        folders = []
        for folder in self.root.iterdir() if self.root is not None and self.root.is_dir() else ():
            with suppress(OSError):
                folders.append(((folder / LOCK).stat().st_mtime, folder, _bytes(folder)))
                for draft in folder.glob(f"{NEW}*"):
                    if time.time() - draft.stat().st_mtime > ENDED_S:
                        draft.unlink()
        total = sum(size for _, _, size in folders)
        for _, folder, size in sorted(folders):
            if (total > self.most_bytes or (superseded and folder.name.startswith(superseded))) and _removed(folder):
                total -= size


def _bytes(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder))


def _removed(folder: Path) -> bool:
    """Removes a folder that nobody uses; whether it was."""
    with suppress(OSError), open(folder / LOCK, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
        return True
    return False


class ColumnFolder:
    """The columns of a state of a collection. It is in use as long as this object is there.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        while True:
            path.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] = open(path / LOCK, "wb")
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            if (path / LOCK).exists():  # else somebody has removed it meanwhile
                break
            self._lock.close()
        self._open: dict[str, KeptColumn] = {}

    def close(self) -> None:
        """It is not in use any more; what was read of it may be used on."""
        self._lock.close()

    def file(self, name: str) -> Path:
        """Where a column lies, without suffix."""
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        return self.path / f"{urllib.parse.quote(name, safe='')[:60]}-{digest}"

    def column(self, name: str, rows: int) -> KeptColumn | None:
        """A column, if it is there and whole."""
        found = self._open.get(name)
        if found is None:
            path = self.file(name)
            if not Path(f"{path}{SUFFIX}").exists():
                return None
            try:
                found = self._open[name] = KeptColumn(path, rows)
            except DamagedColumn:
                self.drop(name)
        return found

    def drop(self, name: str) -> None:
        """Takes away a column that is damaged."""
        self._open.pop(name, None)
        remove(self.file(name))

    def writer(self, name: str, kind: pa.DataType, coded: bool = False) -> ColumnWriter:
        """What writes a column."""
        return ColumnWriter(self.file(name), kind, coded)

    def number(self, name: str) -> int | None:
        """A number that was noted; None if none was."""
        try:
            return int((self.path / f"{name}.number").read_text())
        except (OSError, ValueError):
            return None

    def note(self, name: str, number: int) -> None:
        """Notes a number."""
        (self.path / f"{name}.number").write_text(str(number))
