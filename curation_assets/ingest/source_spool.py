"""A source read once to disk, so that all that needs every row at once can go over it again, and so that what was read outlives a run that fails later.

What belongs here: reading, leaving out what was taken down, and recognising what an earlier run has read. What does not: what the rows
mean for the index (`index_database.py`).
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.ingest.forgotten import Forgotten
from curation_assets.ingest.sources import (
    RejectedLine,
    Settling,
    SourceRow,
    Unsettled,
    UsualRows,
    read_many,
    read_source,
)
from curation_assets.ingest.spilled_rows import SPILL_ROWS, SPILLED, limited, spilled_tables
from curation_assets.recipes import Recipe
from curation_resources.storage import Storage

LEFT_OUT = b"curation.left_out"


@dataclass(frozen=True)
class Spooled:
    """A source on disk.

    Attributes:
        path: Parquet file of `SPILLED`.
        rows: how many it has.
        left_out: rows that are not in it because they are of videos that were taken down.
        unsettled: files that may still be being written, of which it has nothing.
    """

    path: Path
    rows: int
    left_out: int
    unsettled: tuple[Unsettled, ...] = ()


def spool(
    recipe: Recipe, storage: Storage | None, forgotten: Forgotten, settling: Settling | None, path: Path
) -> Spooled:
    """Reads the source of a recipe to `path`, which appears when all is read.

    Raises:
        SourceError: it cannot be read.
    """
    left_out, rows = 0, 0
    unsettled: list[Unsettled] = []

    def wanted() -> Iterator[SourceRow | RejectedLine | UsualRows]:
        nonlocal left_out
        read = read_source if recipe.source.limit is not None else read_many
        for row in read(recipe.source, storage, settling):
            if isinstance(row, Unsettled):
                unsettled.append(row)
            elif isinstance(row, UsualRows):
                kept = _not_forgotten(recipe.dataset, row, forgotten)
                left_out += len(row.records) - len(kept.records)
                yield kept
            elif forgotten.row(recipe.dataset, row):
                left_out += 1
            else:
                yield row

    begun = path.with_name(f"{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")
    try:
        with pq.ParquetWriter(
            begun, SPILLED, compression="lz4", use_dictionary=["source"], write_statistics=["seq"]
        ) as writer:
            for table in spilled_tables(limited(wanted(), recipe.source.limit)):
                writer.write_table(table, row_group_size=2 * SPILL_ROWS)
                rows += table.num_rows
            writer.add_key_value_metadata({LEFT_OUT: json.dumps(left_out).encode()})
        os.replace(begun, path)
    finally:
        begun.unlink(missing_ok=True)
    pa.default_memory_pool().release_unused()  # what comes now is the database's
    return Spooled(path, rows, left_out, tuple(unsettled))


def spooled(path: Path) -> Spooled | None:
    """What an earlier run has read to `path`; None if it has not."""
    try:
        metadata = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid):
        return None
    return Spooled(path, metadata.num_rows, json.loads(metadata.metadata[LEFT_OUT]))


def _not_forgotten(dataset: str, rows: UsualRows, forgotten: Forgotten) -> UsualRows:
    if not forgotten.digests:
        return rows
    named = zip(rows.video_ids.to_pylist(), rows.urls.to_pylist(), strict=True)
    kept = pa.array([not forgotten.row(dataset, SourceRow(video, url, rows.source, 0)) for video, url in named])
    return UsualRows(
        rows.source, *(column.filter(kept) for column in (rows.lines, rows.video_ids, rows.urls, rows.records))
    )
