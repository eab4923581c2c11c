"""What a file system says of a file, in the words of any of them: of which kind it is, what changes when a file does, when it was written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import fsspec


def is_uri(path: str) -> bool:
    """Whether `path` is absolute: a URI with a scheme or an absolute local path."""
    return "://" in path or os.path.isabs(path)


def is_object_store(fs: fsspec.AbstractFileSystem) -> bool:
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    return bool(protocols & {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})


def etag_of(info: Mapping[str, Any]) -> str:
    """What `Storage.etag` says of a file, from what fsspec says of it: so the entries of a listing need no further requests."""
    tag = info.get("ETag") or info.get("etag")
    if tag:
        return str(tag).strip('"')
    modified = info.get("mtime") or info.get("LastModified") or info.get("created") or 0
    if isinstance(modified, datetime):
        modified = modified.timestamp()
    stamp = f"{modified:.6f}" if isinstance(modified, int | float) else str(modified)
    return f"{info['size']}-{stamp}"


def modified_of(info: Mapping[str, Any]) -> float:
    """When an entry of a listing was written, seconds since 1970; 0 where the store does not say."""
    when = info.get("LastModified") or info.get("mtime") or info.get("created") or 0.0
    if isinstance(when, datetime):
        return when.timestamp()
    return float(when) if isinstance(when, int | float) else 0.0
