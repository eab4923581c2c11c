"""Faults that are no property of a medium: storage that does not answer, memory that is short, a process that died, a time limit,
a device that fails.

A medium that is damaged stays so, and its row says it for good. What is named here may pass, so whoever notes it asks again. What belongs
here: telling the two apart. What does not: when it is asked again (`curation_assets.engine.making`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from curation_resources.media import MediaRef
from curation_resources.network_faults import OF_MEDIA, of_the_network, stays
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS, StorageError
from curation_resources.unwritable import FULL, Unwritable, full_folder

STORAGE, RESOURCE = "storage", "resource"
KINDS = (STORAGE, RESOURCE)
DISK = "disk"
"""A folder of this machine that every medium needs is full. It is never noted with one: the run stops (`stop_if_full`)."""
TRANSPORT = frozenset({"botocore", "aiobotocore", "aiohttp", "urllib3", "s3fs", "fsspec", "gcsfs", "adlfs"})
"""Packages whose errors say that storage did not answer as it should."""
CV2_NO_MEMORY = -4
"""`cv::Error::StsNoMem`."""
LONGEST_REASON = 300


@dataclass(frozen=True)
class Fault:
    """Why something could not be made of a medium now.

    Attributes:
        kind: storage (bytes could not be read or written), resource (memory, a process that died, a time limit, a device) or disk.
        reason: one sentence.
    """

    kind: str
    reason: str


class ReadFault(StorageError):
    """Bytes that are there could not be read."""


class DeviceFault(RuntimeError):
    """A device that computes, such as a GPU's encoder, does not take work or fails at it, for no reason of the medium's."""


def fault_of(error: BaseException) -> Fault | None:
    """The fault that an error stands for; None if it tells of the medium itself or of something else.

    Errors of ffmpeg are of the medium even where they are OSErrors too: it reads through streams of ours (`reading`), whose own faults are
    known, and says "input/output error" of files that end early. Pillow's are OSErrors as well, and most of them by no other name: its decoding is not
    to be asked about. A refusal of whom a package's code asks (a status such as 404) is none, though HTTP libraries make OSErrors of it.
    """
    if isinstance(error, Unwritable):
        return Fault(DISK, str(error))
    if _is_full(error):
        return Fault(DISK, str(full_folder(os.strerror(errno.ENOSPC))))
    package = type(error).__module__.split(".")[0]
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return Fault(RESOURCE, f"memory is short: {text}"[:LONGEST_REASON])
    if package == "cv2" and getattr(error, "code", 0) == CV2_NO_MEMORY:
        return Fault(RESOURCE, f"memory is short: {text}"[:LONGEST_REASON])
    if isinstance(error, BrokenProcessPool | DeviceFault):
        return Fault(RESOURCE, text[:LONGEST_REASON])
    if package in OF_MEDIA or (package not in TRANSPORT and stays(error)):
        return None
    if isinstance(error, (StorageError, *READ_ERRORS)) or package in TRANSPORT or of_the_network(error):
        return Fault(STORAGE, text[:LONGEST_REASON])
    return None


def _is_full(error: BaseException) -> bool:
    """Whether it comes from a disk that is full; of ffmpeg's errors too: what it reads has no such errors, so it was writing."""
    found: BaseException | None = error
    while found is not None and getattr(found, "errno", None) not in FULL:
        found = found.__cause__
    return found is not None


def stop_if_full(faults: Iterable[Fault]) -> None:
    """Raises Unwritable if one of the faults is of a full disk, so that nothing is committed and no medium loses one of its attempts."""
    for fault in faults:
        if fault.kind == DISK:
            raise Unwritable(fault.reason)


class WatchedStream:
    """A binary stream that remembers the first fault of its reads, because decoders take a read that fails for the end of the file.

    Attributes:
        fault: the error; None while every read went well.
    """

    mode = "rb"

    def __init__(self, inner: BinaryIO) -> None:
        self._inner = inner
        self.fault: BaseException | None = None

    def check(self) -> None:
        """Raises ReadFault if a read has failed."""
        if self.fault is not None:
            raise ReadFault(str(self.fault) or type(self.fault).__name__) from self.fault

    def read(self, size: int = -1) -> bytes:
        return cast(bytes, self._watch(self._inner.read, size))

    def readinto(self, buffer: Any) -> int:
        return cast(int, self._watch(cast(Any, self._inner).readinto, buffer))

    def seek(self, offset: int, whence: int = 0) -> int:
        return cast(int, self._watch(self._inner.seek, offset, whence))

    def tell(self) -> int:
        return self._inner.tell()

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        return self._inner.closed

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> WatchedStream:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _watch(self, call: Any, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except Exception as error:
            self.fault = self.fault or error
            raise


@contextmanager
def reading(storage: Storage, ref: MediaRef) -> Iterator[BinaryIO]:
    """`Storage.open_media` for a block; if a read fails in it, the block ends with ReadFault whatever was made of what had been read.

    The stream is a `WatchedStream`: a block that keeps results piece by piece asks `check_reads` before each.

    Raises:
        MediaChanged, StorageError: as `open_media`.
        ReadFault: see above.
    """
    with storage.open_media(ref) as inner:
        stream = WatchedStream(inner)
        try:
            yield cast(BinaryIO, stream)
        except Exception:
            stream.check()
            raise
        stream.check()


def check_reads(stream: BinaryIO) -> None:
    """Raises ReadFault if a read of a stream of `reading` has failed."""
    if isinstance(stream, WatchedStream):
        stream.check()
