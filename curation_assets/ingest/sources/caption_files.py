"""Captions that stand in a second file, joined to rows by id: several per id, in the file's order.

They are kept in a database on disk, so that memory does not grow with them.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from curation_assets.ingest.dataset_index import CaptionFile
from curation_assets.ingest.sources.files import find_files
from curation_assets.ingest.sources.records import LIST_ENDINGS, Asked, read_records
from curation_assets.ingest.sources.rows import RejectedLine, RowError, SourceError, clean_id
from curation_assets.ingest.sources.words import as_list, texts
from curation_resources.storage import Storage


class JoinedCaptions:
    """The captions of the recipe's `source.captions`. Use as a context manager: leaving removes the database.

    Raises:
        SourceError: a file is missing, damaged, or has a row that cannot be read; no caption is passed over in silence.
    """

    def __init__(self, params: CaptionFile, storage: Storage | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="captions-")
        self._database = sqlite3.connect(Path(self._folder.name) / "captions.db")
        self._database.execute("CREATE TABLE captions (id TEXT, entry INTEGER, text TEXT)")
        with self._database:
            self._database.executemany("INSERT INTO captions VALUES (?, ?, ?)", _entries(params, storage))
            self._database.execute("CREATE INDEX by_id ON captions (id)")

    def __enter__(self) -> JoinedCaptions:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        with contextlib.suppress(OSError):
            self._folder.cleanup()

    def of(self, key: str) -> list[str]:
        """The captions of an id, each once."""
        return list(dict.fromkeys(text for texts_ in self.lists_of(key) for text in texts_))

    def lists_of(self, key: str) -> list[list[str]]:
        """The captions of an id entry by entry: those of each record, or of each entry of a list."""
        rows = self._database.execute("SELECT entry, text FROM captions WHERE id = ? ORDER BY rowid", (key,))
        return [[text for _, text in group] for _, group in groupby(rows, key=lambda row: row[0])]


def _entries(params: CaptionFile, storage: Storage | None) -> Iterator[tuple[str, int, str]]:
    asked = Asked(
        {"source.captions.id": params.id, "source.captions.caption": params.caption}, params.id, params.records
    )
    entry = 0
    for file in find_files(params.path, LIST_ENDINGS, storage):
        for record in read_records(file, asked):
            if isinstance(record, RejectedLine):
                raise SourceError(f"{record.source}, {record.line}: {record.reason}; correct the file of captions")
            try:
                key = clean_id(record.cells.get(params.id))
            except RowError as error:
                raise SourceError(f"{file.name}, {record.number}: {error}; correct the file of captions") from error
            if key is None:
                raise SourceError(f"{file.name}, {record.number}: no id in {params.id!r}")
            for found in _lists(record.cells.get(params.caption)):
                entry += 1
                for text in found:
                    yield key, entry, text


def _lists(cell: Any) -> list[list[str]]:
    """The captions of a cell: of a list, each entry by itself."""
    items = as_list(cell)
    if items is None:
        return [texts(cell)]
    return [texts(item) for item in items]
