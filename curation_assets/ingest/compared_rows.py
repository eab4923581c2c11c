"""What a source lists beside what is known of it, paired and numbered in order: each as long as the source, of which a few rows are in memory.

What belongs here: passes over all videos that the database cannot make in memory that is set. It sorts on disk, but a running sum over
sixty million rows, and a join of as many with as many, need more than 448 MB (DuckDB 2.0). What does not: what the numbers mean (`index_database.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.ingest.spilled_rows import SPILL_ROWS

FIRST = pa.schema([("video_id", pa.string()), ("seq", pa.int64()), ("rejected", pa.bool_())])
KNOWN = pa.schema([("number", pa.int64()), ("was", pa.string()), ("digest", pa.uint64())])
COMPARED = pa.schema([*FIRST, *KNOWN])
"""A listed video, its first row in the source, and what is known of it: null where it is new."""
GONE = pa.schema([FIRST.field("video_id"), *KNOWN])


def compare(database: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Makes `compared` and `gone` (what is known and no longer listed) of `firsts` and `known`, in which each video is at most once."""
    rows = database.sql(
        """
        SELECT video_id, seq, rejected, NULL::BIGINT AS number, NULL::VARCHAR AS was, NULL::UBIGINT AS digest FROM firsts
        UNION ALL SELECT video_id, NULL, NULL, number, was, digest FROM known
        ORDER BY video_id, seq NULLS LAST
        """
    )
    both, one = folder / "compared.parquet", folder / "gone.parquet"
    with (
        pq.ParquetWriter(both, COMPARED, compression="lz4") as compared,
        pq.ParquetWriter(one, GONE, compression="lz4") as gone,
    ):
        for listed, not_listed in paired(rows.to_arrow_reader(SPILL_ROWS)):
            compared.write_table(listed)
            gone.write_table(not_listed)
    for name, path in (("compared", both), ("gone", one)):
        database.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM read_parquet('{path}')")


def paired(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Rows of `COMPARED` and of `GONE`.

    Args:
        batches: of `COMPARED`'s columns, by `video_id`: a listed video with nulls for what is known, or what is known with nulls for `seq`, a listed
            one first.
    """
    held = COMPARED.empty_table()
    for batch in batches:
        rows = pa.concat_tables([held, pa.Table.from_batches([batch]).select(COMPARED.names)]).combine_chunks()
        pairs = _pairs(rows)
        # The last row's other half may be in the next batch.
        end = len(rows) if len(rows) > 1 and pairs[-2] else len(rows) - 1
        yield _split(rows, pairs, end)
        held = rows.slice(end)
    yield _split(held, _pairs(held), len(held))


def _pairs(rows: pa.Table) -> np.ndarray:
    """bool (rows,): whether the next row is of the same video."""
    ids, pairs = rows["video_id"], np.zeros(len(rows), bool)
    if len(rows) > 1:
        pairs[:-1] = pc.equal(ids.slice(0, len(ids) - 1), ids.slice(1)).to_numpy()
    return pairs


def _split(rows: pa.Table, pairs: np.ndarray, end: int) -> tuple[pa.Table, pa.Table]:
    is_listed = pc.is_valid(rows["seq"]).to_numpy()[:end]
    listed = np.flatnonzero(is_listed)
    first = rows.select(FIRST.names).take(listed)
    known = rows.select(KNOWN.names).take(pa.array(listed + 1, mask=~pairs[listed]))
    gone = rows.select(GONE.names).take(np.flatnonzero(~is_listed & ~np.roll(pairs, 1)[:end]))
    return pa.table([*first.columns, *known.columns], schema=COMPARED), gone.cast(GONE)


def place(database: duckdb.DuckDBPyConnection, folder: Path, last: int, taken: int, videos_per_shard: int) -> None:
    """Makes `placed` of `compared`: in the order of `seq`, the nth new video gets place `taken + n` counted from the first one of shard `last`."""
    path, nth = folder / "placed.parquet", 0
    ordered = database.sql(f"SELECT {', '.join(COMPARED.names)} FROM compared ORDER BY seq")
    with pq.ParquetWriter(path, COMPARED, compression="lz4") as writer:
        for rows in ordered.to_arrow_reader(SPILL_ROWS):
            is_known, rejected = (np.asarray(c) for c in (pc.is_valid(rows["number"]), rows["rejected"]))
            counted = nth + np.cumsum(~is_known & ~rejected)
            number = last + np.maximum(taken + counted - 1, 0) // videos_per_shard
            numbers = pc.coalesce(rows["number"], pa.array(number, pa.int64()))
            placed = rows.set_column(COMPARED.get_field_index("number"), COMPARED.field("number"), numbers)
            writer.write_batch(placed.cast(COMPARED))
            nth = int(counted[-1])
    database.execute(f"CREATE OR REPLACE TEMP VIEW placed AS SELECT * FROM read_parquet('{path}')")
