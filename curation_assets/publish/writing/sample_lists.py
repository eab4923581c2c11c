"""The lists of a version whose samples are files: metadata.csv or metadata.parquet of all, and a Parquet table in the folder of each split.

What belongs here: their columns, and how they are written with a bounded number of rows in memory. What does not: what a record says, and which files are
beside them (`samples.py`).
"""

from __future__ import annotations

import csv
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.publish.curating.ordered_rows import regrouped
from curation_assets.publish.writing import spreadsheets
from curation_assets.publish.writing.sample_columns import cell, cell_type
from curation_resources.provenance import canonical_json
from curation_resources.scratch import scratch_root

LISTED = (
    "text",
    "split",
    "key",
    "dataset",
    "video_id",
    "clip_id",
    "track_id",
    "start_ms",
    "end_ms",
    "frames",
    "width",
    "height",
    "fps",
    "title",
    "url",
    "page_url",
    "licence",
    "channel",
    "source_sha256",
    "sha256",
    "record",
)
"""Columns of the lists after the file's name; `record` is all of it as JSON."""
LISTED_TYPES = {
    **dict.fromkeys(("start_ms", "end_ms", "frames", "width", "height"), pa.int64()),
    "fps": pa.float64(),
}
LISTING = pa.schema([("path", pa.string()), *((c, LISTED_TYPES.get(c, pa.string())) for c in LISTED)])
SPOOLED_ROWS = 1_000
GROUP_ROWS = 20_000
"""Rows of a row group: records are long."""


def listed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The columns `LISTED` of a record."""
    export, source = record["export"], record["source"]
    flat = {**source, **export, **{k: v for k, v in record.items() if not isinstance(v, dict)}}
    flat |= {"source_sha256": source.get("sha256"), "sha256": export.get("sha256"), "record": canonical_json(record)}
    return {name: flat.get(name) for name in LISTED}


class SampleLists:
    """The rows of the lists, on the local disk until all of their columns are known.

    Args:
        columns: further columns, name -> type, before the one that holds the JSON; complete when the last row is added.
    """

    def __init__(self, columns: Mapping[str, pa.DataType]) -> None:
        self._columns = columns
        self._scratch = TemporaryDirectory(prefix="lists-", dir=scratch_root())
        self._rows: list[dict[str, Any]] = []
        self._spools: list[Path] = []
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self._form = pa.schema([])

    def add(self, path: str, said: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Adds a sample.

        Args:
            path: of its file, split folder first.
            said: values of the further columns.
            record: its JSON.
        """
        more = {name: cell(said.get(name), kind) for name, kind in self._columns.items() if name not in LISTED}
        self._rows.append({**more, "path": path, **listed(record)})
        if len(self._rows) >= SPOOLED_ROWS:
            self._flush()

    @property
    def _now(self) -> pa.Schema:
        """The columns as far as they are known."""
        *columns, record = LISTING
        more = [pa.field(name, cell_type(kind)) for name, kind in self._columns.items() if name not in LISTED]
        return pa.schema([*columns, *more, record])

    def _flush(self) -> None:
        form = self._now
        if self._writer is None or form != self._form:
            self._end()
            self._spools.append(Path(self._scratch.name) / f"rows-{len(self._spools)}.arrow")
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writer, self._form = pa.ipc.new_file(str(self._spools[-1]), form, options=options), form
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=form))
        self._rows = []

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _tables(self) -> Iterator[pa.Table]:
        """All rows in the order in which they were added, with all columns."""
        form = self._now
        for spool in self._spools:
            with pa.OSFile(str(spool)) as source, pa.ipc.open_file(source) as file:
                for number in range(file.num_record_batches):
                    batch = file.get_batch(number)
                    known = set(batch.schema.names)
                    columns = [
                        batch[f.name].cast(f.type) if f.name in known else pa.nulls(batch.num_rows, f.type)
                        for f in form
                    ]
                    yield pa.table(columns, schema=form)

    def write(self, listing: str) -> Iterator[tuple[str, Path, int, str]]:
        """Writes the lists; name, local file, size and SHA-256 of each, which is gone when the next is asked for.

        Args:
            listing: csv or parquet: what the list of all samples is.
        """
        self._flush()
        self._end()
        with self._scratch, ExitStack() as open_files:
            whole = f"metadata.{listing}"
            lists: dict[str, _List] = {whole: open_files.enter_context(_opened(self._local(0), whole, self._now))}
            for table in self._tables():
                lists[whole].add(table if listing == "parquet" else _by_file(table))
                for split in pc.unique(table["split"]).to_pylist():
                    name = f"{split}/metadata.parquet"
                    mine = table.filter(pc.equal(table["split"], split))
                    names = pc.replace_substring(mine["path"], f"{split}/", "", max_replacements=1)
                    mine = _by_file(mine.set_column(0, "path", names))
                    if name not in lists:
                        lists[name] = open_files.enter_context(_opened(self._local(len(lists)), name, mine.schema))
                    lists[name].add(mine)
            open_files.close()
            for number, name in enumerate(lists):
                local = self._local(number)
                with open(local, "rb") as file:
                    yield name, local, local.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()

    def _local(self, number: int) -> Path:
        return Path(self._scratch.name) / f"list-{number}"


def _by_file(table: pa.Table) -> pa.Table:
    """`table` with the name that `datasets` has for the column of paths."""
    return table.rename_columns(["file_name", *table.column_names[1:]])


class _List(ABC):
    """A list that is written part by part."""

    def __enter__(self) -> _List:
        return self

    @abstractmethod
    def add(self, table: pa.Table) -> None:
        """Adds rows."""

    @abstractmethod
    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Ends it."""


class _ParquetList(_List):
    """A list as Parquet, in row groups of `GROUP_ROWS`."""

    def __init__(self, local: Path, form: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(local, form, compression="zstd")
        self._held: list[pa.Table] = [form.empty_table()]
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        self._held.append(table)
        self._rows += table.num_rows
        if self._rows > GROUP_ROWS:
            *groups, rest = regrouped(self._held, GROUP_ROWS)
            for group in groups:
                self._write(group)
            self._held, self._rows = [rest], rest.num_rows

    def _write(self, group: pa.Table) -> None:
        self._writer.write_table(group.combine_chunks(), row_group_size=GROUP_ROWS)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write(pa.concat_tables(self._held))
        self._writer.close()


class _CsvList(_List):
    """A list as CSV."""

    def __init__(self, local: Path, form: pa.Schema) -> None:
        self._file = open(local, "w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(["file_name", *form.names[1:]])

    def add(self, table: pa.Table) -> None:
        self._writer.writerows([spreadsheets.cell(v) for v in row.values()] for row in table.to_pylist())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._file.close()


def _opened(local: Path, name: str, form: pa.Schema) -> _List:
    return _CsvList(local, form) if name.endswith(".csv") else _ParquetList(local, form)
