"""Finished rows go into tars, and each tar has a ledger beside it, `<token>-<nnnnn>.rows.parquet`, by which the next run takes them over.

A run that is killed so loses little. Once the table is committed, tars and ledgers that it does not name are the caller's to remove.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from curation_assets.ingest.fetch_attempt import FetchedVideo
from curation_assets.ingest.fetch_rows import Row, table_of_rows
from curation_assets.ingest.forgotten import Forgotten
from curation_resources import sealed_parquet
from curation_resources.provenance import canonical_json
from curation_resources.storage import Storage
from curation_resources.tars import TarWriter, new_token, sample_key

CHECKPOINT_S = 600.0
"""A tar is closed and its rows are written down at least this often, seconds."""
LEDGER_SUFFIX = ".rows.parquet"
TARS_KEY = b"curation.tars"


def _whole_tars(rows: Sequence[Row], storage: Storage, sizes: Mapping[str, int] | None = None) -> set[str]:
    """Of the tars that `rows` lie in, those that are there and as long as they have to be."""
    ends: Counter[str] = Counter()
    for row in rows:
        if row["status"] == "ok" and row["tar"] and row["etag"] is None:
            ends[row["tar"]] = max(ends[row["tar"]], (row["offset"] or 0) + (row["size"] or 0))
    whole = set()
    for tar, end in ends.items():
        with contextlib.suppress(FileNotFoundError):
            size = storage.size(tar)
            if size >= end and (sizes is None or sizes.get(tar) == size):
                whole.add(tar)
    return whole


def rows_with_media(rows: Sequence[Row], storage: Storage, sizes: Mapping[str, int] | None = None) -> dict[str, Row]:
    """Rows by video_id, without those whose bytes are no longer there."""
    whole = _whole_tars(rows, storage, sizes)
    return {r["video_id"]: r for r in rows if r["status"] != "ok" or r["etag"] is not None or r["tar"] in whole}


def rows_of_killed_runs(storage: Storage, folder: str) -> dict[str, Row]:
    """Rows that runs which did not come to their end have written down, by video_id."""
    found: dict[str, Row] = {}
    for name in storage.list(folder):
        if name.endswith(LEDGER_SUFFIX):
            try:
                table = sealed_parquet.read_bytes(storage.read(f"{folder}/{name}"))
                sizes = json.loads((table.schema.metadata or {}).get(TARS_KEY, b"{}"))
            except ValueError:
                continue  # not one of ours, or damaged: its videos are fetched again
            found |= rows_with_media(table.to_pylist(), storage, sizes)
    return found


def adoptable(rows: Mapping[str, Row], forgotten: Forgotten) -> dict[str, Row]:
    """Rows of killed runs without those that were taken down since, or may have been: they are made again, and refused."""

    def may_be(row: Row) -> bool:
        return (
            row["size"] is not None
            and forgotten.of_size(row["size"])
            and (row["sha256"] is None or forgotten.same_bytes(row["sha256"]))
        )

    return {v: r for v, r in rows.items() if not may_be(r)}


class CheckpointedTars:
    """Puts finished rows into tars and, each time a tar is closed, writes down what is in it."""

    def __init__(self, storage: Storage, folder: str, tar_bytes: int, checkpoint_s: float) -> None:
        self.storage, self.folder, self.checkpoint_s = storage, folder, checkpoint_s
        self.writer = TarWriter(storage, folder, new_token(), tar_bytes)
        self.bytes = 0
        self._pending: list[Row] = []
        self._checkpoints = 0
        self._last = time.monotonic()

    def add(self, done: FetchedVideo, metadata: Row) -> Row:
        """The finished row; its media are in a tar now."""
        row = done.row
        if done.media is not None:
            row = row | self._store(done.media, done.extension, row, metadata)
        if not done.kept:
            self._pending.append(row)
        rolled = done.media is not None and self.writer.bytes_in_tar == 0
        if rolled or time.monotonic() - self._last >= self.checkpoint_s:
            self.checkpoint()
        return row

    def _store(self, media: Path, extension: str, row: Row, metadata: Row) -> Row:
        """Writes a sample as video2dataset does (video, json, txt) and says where the video lies."""
        said = {
            k: row[k]
            for k in ("video_id", "url", "page_url", "title", "channel", "upload_date", "licence", "subtitles")
        }
        said |= {
            "caption": metadata["caption"],
            "spans": metadata["spans"],
            "info": json.loads(row["info"]) if row["info"] else None,
        }
        text = metadata["caption"] or row["title"]
        with open(media, "rb") as stream:
            members: dict[str, bytes | BinaryIO] = {extension: stream, "json": canonical_json(said).encode()}
            if text:
                members["txt"] = text.encode("utf-8", "replace")
            written = self.writer.add(sample_key(row["video_id"]), members)[extension]
        self.bytes += written.size
        return dataclasses.asdict(written)

    def checkpoint(self) -> None:
        """Closes the open tar and writes down the rows since the last time."""
        self.writer.roll()
        self._last = time.monotonic()
        if not self._pending:
            return
        tars = {r["tar"] for r in self._pending if r["tar"] in self.writer.tars}
        sizes = {tar: self.storage.size(tar) for tar in tars}
        table = table_of_rows(self._pending).replace_schema_metadata({TARS_KEY: json.dumps(sizes).encode()})
        with self.storage.publish(f"{self.folder}/{self.writer.token}-{self._checkpoints:05d}{LEDGER_SUFFIX}") as file:
            sealed_parquet.write_table(table, file)
        self._checkpoints += 1
        self._pending = []
