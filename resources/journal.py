"""A journal of finished work: one JSON line per item, so that a run that is killed is continued and not begun again.

It lies in the storage folder of a partition while the partition is being made and is removed once its table is committed. Before each
line stands the BLAKE2b hash of it. Lines of other parameters (another fingerprint), one that was cut off by the kill and those whose bytes
are not those that were written are passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, BinaryIO

from curation_resources.storage import Storage

FLUSH_ITEMS = 50
FLUSH_SECONDS = 20.0
"""Where files cannot be appended to (object stores), so many items or seconds are gathered into one new object."""
SUFFIX = ".journal.jsonl"


def sealed_line(line: bytes) -> bytes:
    """A line that says whether it is whole: the BLAKE2b hash before it, a line feed behind it."""
    return hashlib.blake2b(line, digest_size=16).hexdigest().encode() + b" " + line + b"\n"


def unsealed(entry: bytes) -> bytes | None:
    """The line of `sealed_line`; None if this is not what was written. The line feed may be missing."""
    line = entry.removesuffix(b"\n")[33:]
    return line if sealed_line(line).removesuffix(b"\n") == entry.removesuffix(b"\n") else None


class Journal:
    """Finished items of one partition, by key. Threads may share it; a context manager.

    Args:
        storage: where it lies.
        folder: folder below the root, such as `tracks/demo-00000`.
        fingerprint: hash of everything that the items depend on; items of another one are not seen.

    Locally every item is on disk when `add` returns. Elsewhere items are gathered, and a kill costs the last few.
    """

    def __init__(self, storage: Storage, folder: str, fingerprint: str) -> None:
        self._storage, self._folder, self._fingerprint = storage, folder.rstrip("/"), fingerprint
        self._lock = threading.Lock()
        self._pending: list[bytes] = []
        self._flushed_at = time.monotonic()
        self._file: BinaryIO | None = None
        self.items: Mapping[str, Any] = dict(self._read())

    def _names(self) -> list[str]:
        return [n for n in self._storage.list(self._folder) if n.endswith(SUFFIX)]

    def _read(self) -> Iterator[tuple[str, Any]]:
        for name in self._names():
            for line in self._storage.read(f"{self._folder}/{name}").split(b"\n"):
                whole = unsealed(line)
                entry = {} if whole is None else json.loads(whole)
                if entry.get("fingerprint") == self._fingerprint:
                    yield entry["key"], entry["value"]

    def add(self, key: str, value: Any) -> None:
        """Records that `key` is finished with `value`, which must be JSON."""
        entry = {"fingerprint": self._fingerprint, "key": key, "value": value}
        line = sealed_line(json.dumps(entry, separators=(",", ":")).encode())
        with self._lock:
            self._pending.append(line)
            due = len(self._pending) >= FLUSH_ITEMS or time.monotonic() - self._flushed_at >= FLUSH_SECONDS
            if self._storage.is_local or due:
                self._flush()

    def _flush(self) -> None:
        data, self._pending = b"".join(self._pending), []
        self._flushed_at = time.monotonic()
        if not data:
            return
        if not self._storage.is_local:
            self._storage.write(self._new_name(), data)
            return
        if self._file is None:
            self._file = self._storage.open(self._new_name(), "wb")
        with self._storage.writing(self._folder):
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())

    def _new_name(self) -> str:
        return f"{self._folder}/{time.time_ns():020d}-{uuid.uuid4().hex[:8]}{SUFFIX}"

    def close(self) -> None:
        """Writes what is pending; items stay for the next run."""
        with self._lock:
            self._flush()
            if self._file is not None:
                self._file.close()
                self._file = None

    def remove(self) -> None:
        """Forgets everything; called when the partition's table is committed."""
        self.close()
        for name in self._names():
            self._storage.remove(f"{self._folder}/{name}")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
