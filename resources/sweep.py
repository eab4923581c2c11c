"""Removing what dead runs left in a storage root outside the folders of partitions: unfinished local files and unfinished uploads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from curation_resources.owners import owner_alive
from curation_resources.presence import at_work_now, covers
from curation_resources.storage import TEMPORARY, Storage
from curation_resources.storage_errors import READ_ERRORS

ABANDONED_S = 3600.0
"""An unfinished file of another host that has not grown for this long is abandoned."""


def unfinished_files(storage: Storage) -> Iterator[str]:
    """Files of dead processes among the unfinished ones of a local root."""
    if not storage.is_local:
        return
    now = time.time()
    for name, (_, modified) in storage.entries(TEMPORARY).items():
        alive = owner_alive(name)
        if alive is False or (alive is None and now - modified > ABANDONED_S):
            yield f"{TEMPORARY}/{name}"


def unfinished_uploads(storage: Storage) -> Iterator[tuple[str, str]]:
    """(path, upload id) of multipart uploads below a root on S3 that no other run at work can own. The caller has none of its own."""
    fs, name = storage.filesystem()
    if "s3" not in str(fs.protocol):
        return
    bucket, prefix, _ = fs.split_path(name)
    prefix = f"{prefix}/" if prefix else ""
    found: list[Any] = []
    where: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    while True:
        answer = fs.call_s3("list_multipart_uploads", **where)
        found += answer.get("Uploads", [])
        if not answer.get("IsTruncated") or not answer.get("NextKeyMarker"):
            break
        where |= {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer.get("NextUploadIdMarker", "")}
    if not found:
        return
    living = at_work_now(storage)
    for upload in found:
        path = str(upload["Key"]).removeprefix(prefix)
        if not any(covers(cover, _partition(path)) for _, cover in living):
            yield path, str(upload["UploadId"])


def _partition(path: str) -> str | None:
    """The partition key of a path below the root; None of an unpartitioned table."""
    parts = path.split("/")
    return parts[1].removesuffix(".parquet") if len(parts) > 1 else None


def sweep_root(storage: Storage) -> None:
    """Removes what the two above find; called when a run begins and when it ends. What cannot be removed is left to the next."""
    for path in unfinished_files(storage):
        storage.remove(path)
    with contextlib.suppress(*READ_ERRORS, NotImplementedError):  # not every store lists uploads
        for path, upload in list(unfinished_uploads(storage)):
            fs, name = storage.filesystem(path)
            bucket, key, _ = fs.split_path(name)
            fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)
