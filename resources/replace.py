"""Putting a file in the place of another only if that one is still what it was when it was read.

Locally and on network folders: a lock, a look, a rename. S3 has conditions of its own (`s3_uploads`). Elsewhere the look before the write
has to do: what another run writes in the same moment is then replaced.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)


class Whatever(Enum):
    """The only member stands for no condition."""

    ANY = "any"


ANY: Final = Whatever.ANY
Expected = str | None | Whatever
"""The tag of the file to be replaced; None if there must be none; ANY if it does not matter."""
_threads = threading.Lock()


class Superseded(OSError):
    """The file that was to be replaced is no longer the one that was read."""


def check(path: str, expected: Expected, now: str | None) -> None:
    """Raises `Superseded` if what is there now is not what was expected."""
    if expected is not ANY and now != expected:
        raise Superseded(f"{path} was written by another run in the meantime")


def stat_tag(entry: os.stat_result) -> str:
    """What changes when a local file is replaced or written to."""
    return f"{entry.st_ino}-{entry.st_size}-{entry.st_mtime_ns}"


def local_tag(path: str | Path) -> str | None:
    """`stat_tag` of a file; None if there is none."""
    try:
        return stat_tag(os.stat(path))
    except FileNotFoundError:
        return None


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Within the block no other process that asks for this lock has it. Where files cannot be locked, only this process's threads wait."""
    with _threads, open(lock, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            log.warning(
                "%s cannot be locked: two runs that write one table in the same moment are not told apart", lock
            )
        yield


def replace_local(scratch: Path, target: Path, expected: Expected, lock: Path) -> str:
    """Renames a finished file over another, durably, and returns its tag.

    Raises:
        Superseded: the other is not the expected one.
    """
    if expected is ANY:
        os.replace(scratch, target)
    else:
        with locked(lock):
            check(str(target), expected, local_tag(target))
            os.replace(scratch, target)
    sync_folder(target.parent)
    return local_tag(target) or ""


def sync_folder(folder: str | Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems do not sync folders, and need not
        pass
    finally:
        os.close(descriptor)
