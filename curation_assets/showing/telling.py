"""Rows as lines of `curation explain`."""

from __future__ import annotations

from curation_assets.contracts.telling import Lines, Row
from curation_assets.showing.text import as_text
from curation_resources.tables import TableStore

IDS = ("dataset", "video_id", "clip_id", "track_id")
HIDDEN = frozenset({"row_fingerprint", "refine_fingerprint", *IDS})


def bytes_of(store: TableStore, row: Row) -> str:
    """Where the bytes of a row with `tar`, `offset` and `size` lie."""
    if row["tar"] is None:
        return "none"
    uri = store.storage.uri(row["tar"])
    return uri if row["size"] is None else f"{uri}, {row['size']} bytes from {row['offset'] or 0}"


def lines_of(row: Row, skip: set[str] | frozenset[str] = frozenset()) -> Lines:
    """The columns of a row that say something, but for ids and those left out."""
    return [
        (n, as_text(v)) for n, v in row.items() if n not in HIDDEN and n not in skip and v not in (None, [], "", "{}")
    ]
