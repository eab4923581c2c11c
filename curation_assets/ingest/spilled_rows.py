"""Rows of a source on their way to disk: each with its number, the id it is first known by, and its record, or the reason why it is rejected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from curation_assets.ingest.index_records import record_of
from curation_assets.ingest.sources import RejectedLine, SourceRow, UsualRows
from curation_assets.ingest.sources.rows import RowError, excerpt, id_of_url, short_hash
from curation_resources.urls import public_url

SPILL_ROWS = 16_384
"""Rows that are collected before they are written to disk."""
REJECTED_PREFIX = "rejected-"
SPILLED = pa.schema(
    [
        ("seq", pa.int64()),
        ("video_id", pa.string()),
        ("location", pa.string()),
        ("uri", pa.string()),
        ("source", pa.string()),
        ("line", pa.int64()),
        ("record", pa.string()),
        ("error", pa.string()),
        ("secret", pa.string()),
    ]
)


def limited(
    rows: Iterable[SourceRow | RejectedLine | UsualRows], limit: int | None
) -> Iterator[SourceRow | RejectedLine | UsualRows]:
    """`rows` up to the first one of the video after the first `limit`. Memory grows with `limit`."""
    seen: set[str | None] = set()
    for row in rows:
        if limit is not None and isinstance(row, SourceRow):
            seen.add(row.location or row.video_id or id_of_url(row.url or ""))
            if len(seen) > limit:
                return
        yield row


def spilled_tables(rows: Iterable[SourceRow | RejectedLine | UsualRows]) -> Iterator[pa.Table]:
    """Rows as tables of what is spilled, of at least `SPILL_ROWS` rows but the last, numbered in order."""
    ready: list[pa.RecordBatch] = []
    held: list[tuple[Any, ...]] = []
    seq = 0
    for row in rows:
        if isinstance(row, UsualRows):
            if held:
                ready.append(_batch(held))
                held = []
            ready.append(_usual(seq, row))
            seq += len(row.records)
        else:
            held.append(_spilled(seq, row))
            seq += 1
        if len(held) + sum(b.num_rows for b in ready) >= SPILL_ROWS:
            yield pa.Table.from_batches([*ready, _batch(held)], SPILLED)
            ready, held = [], []
    if ready or held:
        yield pa.Table.from_batches([*ready, _batch(held)], SPILLED)


def _spilled(seq: int, row: SourceRow | RejectedLine) -> tuple[Any, ...]:
    if isinstance(row, RejectedLine):
        return _rejected(seq, row)
    try:
        return _accepted(seq, row)
    except RowError as error:
        return _rejected(seq, RejectedLine(row.source, row.line, excerpt(row.url or ""), str(error)))


def _usual(seq: int, rows: UsualRows) -> pa.RecordBatch:
    count = len(rows.records)
    given = {
        "seq": pa.array(np.arange(seq, seq + count)),
        "video_id": rows.video_ids,
        "source": pa.repeat(rows.source, count),
        "line": rows.lines,
        "record": rows.records,
    }
    return pa.record_batch([given.get(f.name, pa.nulls(count, f.type)) for f in SPILLED], schema=SPILLED)


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True) if rows else [()] * len(SPILLED)
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, SPILLED, strict=True)], schema=SPILLED)


def _accepted(seq: int, row: SourceRow) -> tuple[Any, ...]:
    record = record_of(row)
    video_id = row.video_id or id_of_url(row.url or "")
    uri = None
    if row.location is not None:
        media = row.extra.get("media", {"tar": row.url, "offset": None})
        uri = media["tar"] if media["offset"] is None else f"{media['tar']}#{media['offset']}"
    secret = row.url if row.url and public_url(row.url) != row.url else None
    if secret and row.location is not None:
        raise RowError(
            "its location holds a password or a signature, which tables must not; correct `source.path` and give credentials through the environment"
        )
    return seq, video_id, row.location, uri, row.source, row.line, record, None, secret


def _rejected(seq: int, line: RejectedLine) -> tuple[Any, ...]:
    video_id = REJECTED_PREFIX + short_hash(f"{line.source}\n{line.text}")
    return seq, video_id, None, None, line.source, line.line, line.text, line.reason, None
