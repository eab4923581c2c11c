"""Whether a storage root can be used, asked before anything depends on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ConnectionError as NoAnswer
from botocore.exceptions import HTTPClientError
from fsspec.implementations.local import LocalFileSystem

from curation_resources.file_facts import is_object_store
from curation_resources.storage_errors import READ_ERRORS, StorageError

if TYPE_CHECKING:
    from curation_resources.storage import Storage


def check_root(storage: Storage, writing: bool = True) -> None:
    """See `Storage.check`."""
    try:
        fs, name = storage.filesystem()
        if is_object_store(fs):
            bucket = name.split("/")[0]
            try:
                there = fs.exists(bucket) if storage.scheme != "s3" else bool(fs.call_s3("head_bucket", Bucket=bucket))
            except FileNotFoundError:
                there = False
            if not there:
                raise StorageError(
                    f"{storage.root}: there is no bucket {bucket!r}; create it, or correct CURATION_STORAGE"
                )
        elif isinstance(fs, LocalFileSystem):
            nearest = next(p for p in (Path(name), *Path(name).parents) if p.exists())
            if not nearest.is_dir():
                raise StorageError(f"{storage.root}: {nearest} is a file, not a folder; correct CURATION_STORAGE")
            if not os.access(nearest, os.X_OK):
                raise StorageError(
                    f"{storage.root}: {nearest} may not be read; correct its permissions or CURATION_STORAGE"
                )
            if writing and not os.access(nearest, os.W_OK):
                raise StorageError(
                    f"{storage.root}: {nearest} may not be written; correct its permissions or CURATION_STORAGE"
                )
    except (*READ_ERRORS, ImportError, ValueError) as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = f"; {_s3_hint(error)}" if storage.scheme == "s3" else ""
        raise StorageError(f"{storage.root} cannot be reached: {text}{hint}") from error


def _s3_hint(error: Exception) -> str:
    if isinstance(error, (NoAnswer, HTTPClientError)):
        return "correct CURATION_S3_ENDPOINT, or try again when it answers"
    return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or CURATION_S3_PROFILE and CURATION_S3_ENDPOINT"
