"""Rows that come in any order, given out in the order of their key: a bucket sort on the local disk, a bounded number of rows in memory.

What belongs here: putting any rows in order. What does not: which rows (`writing/version_rows.py`), candidates and what is chosen of them
(`candidate_spool.py`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.grouped_rows import GroupedRows

BUCKET_ROWS = 200_000
"""Rows that are sorted in memory at a time, about; up to so many, nothing is written to disk."""
MAX_BUCKETS = 256
"""Files that are open at a time; beyond that, ranges grow."""
BATCH_ROWS = 32_768
"""Rows that are written and divided at a time."""
KEY_STRIDE = 256
"""Every so many rows, one key is noted for finding ranges of equal size."""


def bounds_of(noted: Iterable[str], rows: int, bucket_rows: int, most: int) -> list[str]:
    """Keys that divide rows into ranges of about `bucket_rows`, and at most `most` of them.

    Args:
        noted: keys of some of the rows, taken evenly.
        rows: how many there are.
    """
    keys, ranges = sorted(noted), min(most, math.ceil(rows / bucket_rows))
    return sorted({keys[len(keys) * n // ranges] for n in range(1, ranges)})


def buckets_of(keys: pa.Array, bounds: Sequence[str]) -> np.ndarray:
    """For each key, the range between `bounds` that it lies in; int64 (n,)."""
    encoded = keys.dictionary_encode()
    of_key = np.array([bisect_right(bounds, k) for k in encoded.dictionary.to_pylist()], np.int64)
    return of_key[encoded.indices.to_numpy()]


class OrderedRows:
    """Rows in the order of some columns.

    Args:
        folder: a local one that nothing else writes to, which the caller removes.
        form: columns of the rows.
        order: columns that decide it.
        ranged: how many of the first of them, which hold text, tell ranges of rows apart; rows that are equal in these are sorted together.

    Attributes:
        rows: how many there are.
    """

    def __init__(self, folder: Path, form: pa.Schema, order: Sequence[str], ranged: int) -> None:
        self._folder, self._form = folder, form
        self._order, self._ranged = [(name, "ascending") for name in order], list(order[:ranged])
        self._held: list[pa.Table] = []
        self._held_rows = self.rows = 0
        self._noted: list[str] = []
        self._spool: pa.ipc.RecordBatchFileWriter | None = None

    def add(self, table: pa.Table) -> None:
        """Adds rows, whose columns are those of the form."""
        noted = np.arange(-self.rows % KEY_STRIDE, table.num_rows, KEY_STRIDE)
        self._noted += self._keys(table.select(self._ranged).take(noted)).to_pylist()
        self._held.append(table)
        self._held_rows += table.num_rows
        self.rows += table.num_rows
        if self._held_rows >= (BATCH_ROWS if self._spool is not None else BUCKET_ROWS):
            self._flush()

    def _keys(self, table: pa.Table) -> pa.Array:
        return pc.binary_join_element_wise(*(table[name] for name in self._ranged), "\0").combine_chunks()

    def _flush(self) -> None:
        if self._spool is None:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._spool = pa.ipc.new_file(str(self._folder / "spool.arrow"), self._form, options=options)
        self._spool.write_table(self._together(), max_chunksize=BATCH_ROWS)
        self._held, self._held_rows = [], 0

    def _together(self) -> pa.Table:
        return pa.concat_tables([self._form.empty_table(), *self._held]).combine_chunks()

    def __iter__(self) -> Iterator[pa.Table]:
        """The rows in order, part by part, once; nothing is added after that."""
        if self._spool is None:
            yield self._together().sort_by(self._order)
            return
        if self._held:
            self._flush()
        self._spool.close()
        bounds = bounds_of(self._noted, self.rows, BUCKET_ROWS, MAX_BUCKETS)
        buckets = GroupedRows(self._folder, "bucket")
        spool = self._folder / "spool.arrow"
        with pa.OSFile(str(spool)) as source, pa.ipc.open_file(source) as file:
            for number in range(file.num_record_batches):
                table = pa.Table.from_batches([file.get_batch(number)])
                buckets.add(table, buckets_of(self._keys(table), bounds))
        buckets.close()
        spool.unlink()
        for number in range(len(bounds) + 1):
            yield buckets.read(number).sort_by(self._order)
            buckets.remove(number)


def regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of `rows` each, but for the last; one at least, which may be empty."""
    held: list[pa.Table] = []
    count, given = 0, False
    for table in tables:
        held.append(table)
        count += table.num_rows
        while count > rows:
            whole = pa.concat_tables(held)
            yield whole.slice(0, rows)
            held, count, given = [whole.slice(rows)], count - rows, True
    if held and (count or not given):
        yield pa.concat_tables(held)
