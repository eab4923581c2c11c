"""What a source lists beside what is known of it, video by video and numbered in order: each as long as the source, of which a few rows are in memory.

What belongs here: passes over all rows that the database cannot make in memory that is set. It sorts on disk, but a running sum over
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

from curation_assets.ingest.rows_in_order import view, write
from curation_assets.ingest.spilled_rows import SPILL_ROWS

FIRST = pa.schema([("video_id", pa.string()), ("seq", pa.int64()), ("rejected", pa.bool_())])
KNOWN = pa.schema([("number", pa.int64()), ("was", pa.string()), ("digest", pa.uint64())])
COMPARED = pa.schema([*FIRST, *KNOWN])
"""A listed video, its first row in the source, and what is known of it: null where it is new."""
GONE = pa.schema([FIRST.field("video_id"), *KNOWN])
MEMBER = pa.schema([("seq", pa.int64()), ("first", pa.int64())])
"""A row of a video that has several, and the first one of them."""
ROWS = pa.schema([*COMPARED, ("n", pa.int64())])
"""A row of the source (`n` 1, nulls for what is known), what is known of a video (`n` 0, null for `seq`), or both of one video put together."""


def compare(database: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Makes `compared` of `listed` and `known`, `gone` (what is known and no longer listed, by number) and `members` (by `seq`)."""
    rows = database.sql(
        """
        SELECT video_id, seq, error IS NOT NULL AS rejected, NULL::BIGINT AS number, NULL::VARCHAR AS was, NULL::UBIGINT AS digest, 1::BIGINT AS n
        FROM listed
        UNION ALL SELECT video_id, NULL, false, number, was, digest, 0 FROM known
        ORDER BY video_id, seq NULLS LAST
        """
    )
    forms = {"compared": COMPARED, "gone": GONE, "members": MEMBER}
    paths = {name: folder / f"{name}.parquet" for name in forms}
    writers = [pq.ParquetWriter(paths[name], form, compression="lz4") for name, form in forms.items()]
    try:
        for tables in by_video(rows.to_arrow_reader(SPILL_ROWS)):
            for writer, table in zip(writers, tables, strict=True):
                writer.write_table(table)
    finally:
        for writer in writers:
            writer.close()
    for name, order in (("gone", "number, video_id"), ("members", "seq")):
        ordered = folder / f"{name}-ordered.parquet"
        rows = database.sql(f"SELECT * FROM read_parquet($path) ORDER BY {order}", params={"path": str(paths[name])})
        write(rows.to_arrow_reader(SPILL_ROWS), ordered, forms[name])
        ordered.replace(paths[name])
    for name, path in paths.items():
        view(database, name, path)


def by_video(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[pa.Table, pa.Table, pa.Table]]:
    """Rows of `COMPARED`, of `GONE` and of `MEMBER`.

    Args:
        batches: of `ROWS`, by `video_id`, then `seq`, what is known of a video last.
    """
    held = ROWS.empty_table()
    for batch in batches:
        rows = pa.concat_tables([held, pa.Table.from_batches([batch]).select(ROWS.names)]).combine_chunks()
        starts = _starts(rows["video_id"])
        videos = _videos(rows, starts)
        # More of the last video may be in the next batch.
        yield _parted(videos.slice(0, len(videos) - 1), _further(rows, starts))
        held = videos.slice(len(videos) - 1)
    yield _parted(held, MEMBER.empty_table())


def _starts(ids: pa.ChunkedArray) -> np.ndarray:
    """int (videos,): the first row of each."""
    other = pc.not_equal(ids.slice(0, len(ids) - 1), ids.slice(1)).to_numpy()
    return np.flatnonzero(np.concatenate([[True], other])) if len(ids) else np.empty(0, np.int64)


def _videos(rows: pa.Table, starts: np.ndarray) -> pa.Table:
    """One row for each video: what its rows say together."""
    if not len(starts):
        return ROWS.empty_table()
    known = rows.select(KNOWN.names).take(np.append(starts[1:], len(rows)) - 1)
    first = rows.select(["video_id", "seq"]).take(starts)
    rejected = np.logical_or.reduceat(rows["rejected"].to_numpy(), starts)
    n = np.add.reduceat(rows["n"].to_numpy(), starts)
    return pa.table([*first.columns, pa.array(rejected), *known.columns, pa.array(n)], schema=ROWS)


def _further(rows: pa.Table, starts: np.ndarray) -> pa.Table:
    """The listed rows that are not the first ones of their videos."""
    seq = rows["seq"].combine_chunks()
    further = np.ones(len(rows), bool)
    further[starts] = False
    at = np.flatnonzero(further & pc.is_valid(seq).to_numpy(zero_copy_only=False))
    first = starts[np.searchsorted(starts, at, side="right") - 1]
    return pa.table([seq.take(at), seq.take(first)], schema=MEMBER)


def _parted(videos: pa.Table, further: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table]:
    listed = pc.is_valid(videos["seq"])
    first = videos.filter(pc.greater(videos["n"], 1))["seq"]
    members = pa.concat_tables([pa.table([first, first], schema=MEMBER), further])
    return videos.filter(listed).select(COMPARED.names), videos.filter(pc.invert(listed)).select(GONE.names), members


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
    view(database, "placed", path)
