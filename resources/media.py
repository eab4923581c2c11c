"""Bytes in storage by reference: a whole file, or a range of a tar, and the streams in which they are read."""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from curation_resources.file_facts import is_object_store
from curation_resources.storage_errors import MediaChanged, StorageError

if TYPE_CHECKING:
    from curation_resources.storage import Storage

SPOOL_BYTES = 64 * 1024 * 1024
"""Remote media up to this size are held in memory when opened; larger ones go to a temporary file."""


@dataclass(frozen=True)
class MediaRef:
    """Bytes in storage: a whole file, or a range of a tar.

    Attributes:
        tar: path relative to the storage root, or a URI.
        offset: first byte; None is the start of the file.
        size: number of bytes; None is up to the end.
        etag: what `Storage.etag` said when the reference was made; checked when it is opened. None is not checked.
    """

    tar: str
    offset: int | None = None
    size: int | None = None
    etag: str | None = None


class Spool(tempfile.SpooledTemporaryFile[bytes]):
    """A temporary file that says of itself that it is there to be read: PyAV writes to a file object of any other mode."""

    @property
    def mode(self) -> str:
        return "rb"


class RangeReader(io.RawIOBase):
    """A seekable view of `size` bytes of `inner` from `offset` on; position 0 is the first byte of the range."""

    def __init__(self, inner: BinaryIO, offset: int, size: int) -> None:
        self._inner, self._offset, self._size, self._at = inner, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        if wanted == 0:
            return 0
        self._inner.seek(self._offset + self._at)
        data = self._inner.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._inner.close()
        super().close()


def open_media(storage: Storage, ref: MediaRef) -> BinaryIO:
    """See `Storage.open_media`."""
    fs, name = storage.filesystem(ref.tar)
    try:
        if ref.etag is not None:
            now = storage.etag(ref.tar)
            if now != ref.etag:
                raise MediaChanged(
                    f"{ref.tar} has changed since it was registered ({ref.etag} then, {now} now); materialize dataset_index, then materialize raw_shards again (with curation/force if a list names the file)"
                )
        total = int(fs.size(name))
    except FileNotFoundError as error:
        raise StorageError(
            f"{ref.tar} is gone; put it back, or run `curation run`, which makes what names it again"
        ) from error
    offset = ref.offset or 0
    size = total - offset if ref.size is None else ref.size
    if offset + size > total:
        raise StorageError(f"{ref.tar} has {total} bytes, but bytes {offset} to {offset + size} are wanted")
    if isinstance(fs, LocalFileSystem):
        file = open(name, "rb")
        return (
            file
            if offset == 0 and size == total
            else cast(BinaryIO, io.BufferedReader(RangeReader(file, offset, size)))
        )
    spool = cast(BinaryIO, Spool(max_size=SPOOL_BYTES))
    for start in range(offset, offset + size, SPOOL_BYTES):
        spool.write(fs.cat_file(name, start=start, end=min(start + SPOOL_BYTES, offset + size)))
    spool.seek(0)
    return spool


def read_range(fs: fsspec.AbstractFileSystem, name: str, offset: int, size: int) -> bytes | None:
    """Bytes of a file in one call; None where the file system has no such call, or the file not so many.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(fs, LocalFileSystem):
        file = os.open(name, os.O_RDONLY)
        try:
            data = os.pread(file, size, offset)
        finally:
            os.close(file)
    elif is_object_store(fs):
        data = fs.cat_file(name, start=offset, end=offset + size)
    else:
        return None
    return data if len(data) == size else None
