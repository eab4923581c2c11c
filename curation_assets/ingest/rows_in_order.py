"""Rows on disk, one file beside another in the same order: what a join would put together, with a few rows of each in memory.

What belongs here: going through files of rows that are numbered (`seq`), as the rows of a source are. What does not: what the rows say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.ingest.spilled_rows import SPILL_ROWS
from curation_resources.sealed_parquet import row_batches


class InOrder:
    """The rows of a file that are in the order of their `seq`, taken once, from the first to the last."""

    def __init__(self, path: Path) -> None:
        file = pq.ParquetFile(path)
        self.schema = file.schema_arrow
        self._batches = row_batches(file, SPILL_ROWS)
        self._held = next(self._batches, None)

    def before(self, seq: int) -> pa.Table:
        """Those before a number that were not taken before."""
        taken = []
        while self._held is not None:
            here = self._held.slice(0, int(np.searchsorted(self._held["seq"].to_numpy(), seq)))
            taken.append(here)
            self._held = self._held.slice(len(here))
            if len(self._held):
                break
            self._held = next(self._batches, None)
        return pa.Table.from_batches(taken, self.schema)


def picked(files: Sequence[Path], columns: Sequence[str], wanted: InOrder) -> Iterator[pa.Table]:
    """Rows of a source beside rows about them.

    Args:
        files: rows as they were spilled, numbered from 0 on from one file to the next.
        columns: what is read of them.

    Yields:
        The columns of `wanted`, then `columns`, in the order of `seq`.
    """
    begin = 0
    for file in map(pq.ParquetFile, files):
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            here = wanted.before(end)
            if len(here):
                found = file.read_row_group(group, list(columns)).take(pa.array(here["seq"].to_numpy() - begin))
                yield pa.table([*here.columns, *found.columns], names=[*here.column_names, *columns])
            begin = end


def with_records(rows: Iterable[pa.Table], records: InOrder) -> Iterator[pa.Table]:
    """`rows`, which are in the order of their `seq`, with another `record` where `records` has one."""
    for table in rows:
        seq = table["seq"].to_numpy()
        others = records.before(int(seq[-1]) + 1)
        mask = np.zeros(len(seq), bool)
        mask[np.searchsorted(seq, others["seq"].to_numpy())] = True
        record = pc.replace_with_mask(
            table["record"].combine_chunks(), pa.array(mask), others["record"].combine_chunks()
        )
        yield table.set_column(table.column_names.index("record"), "record", record)


def write(batches: Iterable[pa.RecordBatch], path: Path, form: pa.Schema) -> None:
    """Writes rows of `form` to a file as they come."""
    with pq.ParquetWriter(path, form, compression="lz4", use_dictionary=False) as writer:
        for batch in batches:
            writer.write_batch(batch.cast(form))


def view(database: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    """Makes the rows of a file known to the database under a name."""
    database.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM {parquet(path)}")


def ordered(
    database: duckdb.DuckDBPyConnection, tables: Iterator[pa.Table], form: pa.Schema, order: str
) -> Iterator[pa.RecordBatch]:
    """Rows of `form`, sorted by the database; nothing else may be asked of it meanwhile."""
    reader = pa.RecordBatchReader.from_batches(form, (b for table in tables for b in table.cast(form).to_batches()))
    database.register("unordered", reader)
    try:
        yield from database.sql(f"SELECT * FROM unordered ORDER BY {order}").to_arrow_reader(SPILL_ROWS)
    finally:
        database.unregister("unordered")


def parquet(path: Path) -> str:
    """A file as SQL reads it."""
    return f"read_parquet({text(str(path))})"


def text(value: str) -> str:
    """A SQL text literal."""
    return "'" + value.replace("'", "''") + "'"
