"""Tables over all shards and of subsets without the rows of some videos: gone through row group by row group, since a subset may have a hundred million candidates, and the
lines of an index some gigabytes.

What belongs here: reading and writing such tables part by part. What does not: what a table says of itself then (`tables.py`, `exports.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_resources.tables import TableStore

KEY = ("dataset", "video_id")
Gone = Callable[[pa.Table], pa.ChunkedArray]
"""Rows -> which of them go."""


def rows_of(
    store: TableStore, gone: Gone, asset: str, key: str | None, columns: Sequence[str] = (), most: int | None = None
) -> pa.Table:
    """Some columns of the rows of a table that go, `KEY` among them; columns that it does not have are left out. With `most`, no more rows are looked for once there are so many."""
    form = store.form(asset, key)
    names = [n for n in dict.fromkeys([*KEY, *columns]) if n in form.names]
    found = [pa.schema([form.field(n) for n in names]).empty_table()]
    for rows in store.groups(asset, names, key):
        found.append(rows.filter(gone(rows)))
        if most is not None and sum(part.num_rows for part in found) >= most:
            break
    return pa.concat_tables(found)


def write_without(
    store: TableStore,
    gone: Gone,
    asset: str,
    key: str | None,
    path: Path,
    changed: Callable[[pa.Table], pa.Table] = lambda rows: rows,
) -> pa.Table:
    """Writes the other rows of a table to a local Parquet file, a row group at a time.

    Args:
        changed: the rows that stay, as they are written; as many, in the same order, with the same columns.

    Returns:
        The rows that went.
    """
    form = store.form(asset, key).remove_metadata()
    found = [form.empty_table()]
    with pq.ParquetWriter(path, form, compression="lz4") as writer:  # the commit compresses what it copies
        for rows in store.groups(asset, form.names, key):
            theirs = gone(rows)
            found.append(rows.filter(theirs))
            writer.write_table(changed(rows.filter(pc.invert(theirs))))
    return pa.concat_tables(found)
