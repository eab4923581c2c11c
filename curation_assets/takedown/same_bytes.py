"""What tombstones of the bytes of videos hash, so that the same file does not come back under another id, path or address.

What belongs here: finding out what the bytes were, before anything is removed. What does not: who is refused because of it
(`ingest/fetch_attempt.py`, `ingest/fetch_ledgers.py`).
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pyarrow.compute as pc

from curation_assets.ingest.forgotten import bytes_keys
from curation_assets.registry import DOWNLOADS
from curation_assets.takedown.plan import Say, TakedownPlan
from curation_resources.media import MediaRef
from curation_resources.storage_errors import StorageError
from curation_resources.tables import TableStore

COLUMNS = ["dataset", "video_id", "status", "tar", "offset", "size", "sha256", "etag"]


def add_bytes(store: TableStore, plan: TakedownPlan, say: Say) -> None:
    """Adds to each video of the plan what its bytes are, unless it was added before. Videos that are referenced in place are read for it."""
    for shard in plan.shards:
        if not store.exists(DOWNLOADS, shard):
            continue
        table = store.read(DOWNLOADS, shard, columns=COLUMNS)
        table = table.filter(pc.and_(plan.of(table), pc.equal(table["status"], "ok")))
        rows = {(r["dataset"], r["video_id"]): r for r in table.to_pylist()}
        for position, video in enumerate(plan.videos):
            row = rows.get((video.dataset, video.video_id))
            if row is None or any(k.startswith("bytes ") for k in video.keys):
                continue
            try:
                found = bytes_keys(int(row["size"]), row["sha256"] or _read(store, row))
            except (OSError, StorageError) as error:
                say(
                    f"{video.video_id}: the same bytes under another name are not kept out, since they cannot be read: {error}"
                )
                continue
            plan.videos[position] = replace(video, keys=(*video.keys, *found))


def _read(store: TableStore, row: dict[str, Any]) -> str:
    """SHA-256 of a file that is referenced in place."""
    with store.storage.open_media(MediaRef(row["tar"], row["offset"], row["size"], row["etag"])) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
