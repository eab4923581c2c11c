"""Checks of tables beside their contract: how one is declared, and those that several tables share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.storage_errors import StorageError
from curation_resources.words import plural

MEDIA_SAMPLE = 8
"""Entries of a table whose bytes are read back and hashed,"""
MEDIA_BYTES = 64_000_000
"""and how many bytes they may be together: large entries are left out."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check on one table."""

    check: str
    passed: bool
    description: str
    blocking: bool = True
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A check beside the contract, of the table of one partition.

    Attributes:
        name: as the UI shows it.
        description: what holds if it passes.
        blocking: whether a failure can stop what comes after; the finding says whether it does.
        judge: (table, its stats, storage) -> the finding.
        columns: those of the table that it reads, which alone it is given.
        sampled: whether rows from all over a large table are enough for it.
        counted: some rows -> what the check needs to know of them, a few rows; `judge` is given these of all parts of the table, which is never in
            memory as a whole then.
    """

    name: str
    description: str
    blocking: bool
    judge: Callable[[pa.Table, Mapping[str, Any], Storage], Finding]
    columns: tuple[str, ...]
    sampled: bool = False
    counted: Callable[[pa.Table], pa.Table] | None = None


def outcomes(table: pa.Table) -> dict[str, int]:
    """Status -> rows; a table without a status is all ok."""
    if "status" not in table.column_names:
        return {"ok": table.num_rows}
    return {t["values"]: t["counts"] for t in pc.value_counts(table["status"]).to_pylist()}


def failed_rows(table: pa.Table) -> dict[str, int]:
    """`failed`: how many rows there are of what could not be made; nothing of a table whose rows say of no error."""
    if "error" not in table.column_names:
        return {}
    if "status" in table.column_names:
        return {"failed": outcomes(table).get("failed", 0)}
    return {"failed": table.num_rows - table["error"].null_count}


def media_sample(table: pa.Table) -> list[dict[str, Any]]:
    """A few rows from all over a table that lie in tars and are not large."""
    known = table.filter(pc.is_valid(table["offset"]))
    small = known.filter(pc.less_equal(known["size"], MEDIA_BYTES // MEDIA_SAMPLE))
    step = max(1, small.num_rows // MEDIA_SAMPLE)
    rows: list[dict[str, Any]] = small.take(
        pa.array(range(0, small.num_rows, step), pa.int64())[:MEDIA_SAMPLE]
    ).to_pylist()
    return rows


def _media(table: pa.Table, stats: Mapping[str, Any], storage: Storage) -> Finding:
    known = table.filter(pc.and_(pc.is_valid(table["tar"]), pc.is_valid(table["sha256"])))
    rows = media_sample(known)
    for row in rows:
        try:
            data = storage.read_media(MediaRef(row["tar"], row["offset"], row["size"]))
        except StorageError as error:
            return Finding("media", False, str(error))
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            place = f"{row['tar']} at {row['offset']}"
            return Finding(
                "media",
                False,
                f"the bytes of {row.get('clip_id') or row.get('video_id')} in {place} are not those that the table names; remove that file",
            )
    return Finding(
        "media",
        True,
        f"{plural(len(rows), 'entry', 'entries')} read back and found whole",
        metadata={"read": len(rows)},
    )


def media_check(key: str) -> Check:
    """The check that a sample of the tar entries that a table names holds the bytes whose hash it names.

    Args:
        key: the column that names the rows.
    """
    about = "Tar entries hold the bytes that the table names (a sample is read back)."
    return Check("media", about, True, _media, (key, "tar", "offset", "size", "sha256"), sampled=True)
