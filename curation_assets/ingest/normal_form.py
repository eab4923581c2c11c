"""A shard's source videos in normal form, from its slice of the dataset index.

URLs are without their secrets, as in the index; `curation_assets.ingest.fetch_urls` says where the full ones are.
"""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from curation_assets.ingest.sources.rows import Words, canonical_json
from curation_assets.schemas import schema

STATUS = {"present": "ok", "rejected": "rejected", "removed": "removed"}
REMOVED = "no longer in the source"


def video_metadata_table(index_slice: pa.Table) -> pa.Table:
    """The `video_metadata` table of a shard.

    Args:
        index_slice: the shard's rows of `schema("dataset_index")`.

    Returns:
        A row for every row of the slice, sorted by video id. Spans are null where the source gives none. Of a rejected line,
        `extra` holds the `text` that was read.
    """
    rows = sorted((_row(row) for row in index_slice.to_pylist()), key=lambda row: row["video_id"].encode())
    return pa.Table.from_pylist(rows, schema=schema("video_metadata").arrow)


def _row(index: dict[str, Any]) -> dict[str, Any]:
    row = {
        "dataset": index["dataset"],
        "video_id": index["video_id"],
        "status": STATUS[index["status"]],
        "error": REMOVED if index["status"] == "removed" else index["error"],
        "source": index["source"],
        "line": index["line"],
    }
    if index["status"] == "rejected":
        return row | {"extra": canonical_json({"text": index["record"]})}
    record = orjson.loads(index["record"])
    spans = [_span(*span) for span in record.get("spans", [])]
    return row | {
        "url": record.get("url"),
        "title": record.get("title"),
        "caption": record.get("caption"),
        "captions": record.get("captions"),
        "licence": record.get("licence"),
        "spans": spans or None,
        "extra": canonical_json(record["extra"]) if "extra" in record else None,
    }


def _span(clip_id: str | None, start_ms: int, end_ms: int, words: Words | None = None) -> dict[str, Any]:
    said = words or {}
    captions = said.get("captions", [])
    return {
        "clip_id": clip_id,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "caption": captions[0] if captions else None,
        "captions": captions if len(captions) > 1 else None,
        "licence": said.get("licence"),
        "extra": canonical_json(said["extra"]) if said.get("extra") else None,
    }
