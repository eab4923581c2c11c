"""Videos that are referenced where they lie: which of them are gone, or are other files than those that were registered.

What belongs here: asking file systems after them. What does not: tars and files of the storage root itself (`TableStore.lost_media`), and finding new files in
sources, which indexing does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem

from curation_assets.ingest.raw_shards import TABLE
from curation_resources.file_facts import is_uri
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.tables import READERS, TableStore

BATCH_ROWS = 65_536
"""Rows that are looked at at a time."""


@dataclass(frozen=True)
class LostReference:
    """A file that a table names and that is not there as it was.

    Attributes:
        video_id: of the first video in it.
        file: its path or URI.
        what: what is wrong.
    """

    video_id: str
    file: str
    what: str


class References:
    """Asks after the videos of shards.

    Args:
        store: the tables.
        remote: whether files of other machines are asked for too, a request each; local ones always are.

    Attributes:
        asked: files that were asked for so far.
        passed_over: files of other machines that were not.
    """

    def __init__(self, store: TableStore, remote: bool) -> None:
        self._store, self._remote = store, remote
        self.asked = self.passed_over = 0
        self._counting = Lock()

    def lost(self, shard: str) -> Iterator[LostReference]:
        """The files of a shard that are gone or have changed, in order of its rows; a file that holds many videos once.

        Raises:
            StorageError: the shard's table cannot be read.
        """
        seen: set[str] = set()
        with ThreadPoolExecutor(READERS) as pool:
            each = pool.map if self._remote else map
            for batch in self._store.batches(TABLE.asset, ["video_id", "tar", "etag"], BATCH_ROWS, shard):
                yield from filter(None, each(self._look, self._wanted(pa.Table.from_batches([batch]), seen)))

    def _wanted(self, rows: pa.Table, seen: set[str]) -> Iterable[tuple[str, str, str | None]]:
        for row in rows.filter(pc.is_valid(rows["tar"])).to_pylist():
            file = row["tar"]
            if not is_uri(file) or file in seen:
                continue
            seen.add(file)
            asked = self._remote or isinstance(self._store.storage.filesystem(file)[0], LocalFileSystem)
            with self._counting:  # shards are looked at side by side
                self.asked += asked
                self.passed_over += not asked
            if asked:
                yield row["video_id"], file, row["etag"]

    def _look(self, of: tuple[str, str, str | None]) -> LostReference | None:
        video_id, file, etag = of
        what = _wrong(self._store.storage, file, etag)
        return LostReference(video_id, file, what) if what else None


def _wrong(storage: Storage, file: str, etag: str | None) -> str:
    try:
        now = storage.etag(file)
    except FileNotFoundError:
        return "is gone"
    except READ_ERRORS as error:
        return f"cannot be asked for: {error}"
    return f"has changed since it was registered ({etag} then, {now} now)" if etag and now != etag else ""
