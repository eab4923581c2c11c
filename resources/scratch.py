"""Temporary files of this machine, in one locked folder for each process: whoever finds the lock free knows that their owner was killed."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

PREFIX = "curation-"
UNLOCKED = ".curation-new-"
"""How a folder is called until its owner has locked it."""
UNLOCKED_S = 3600.0
_owned: dict[int, tuple[Path, IO[bytes]]] = {}


def scratch_root() -> Path:
    """The folder of this process, made and locked when first asked for and removed when the process ends.

    The first of a process also removes the folders of processes that were killed.
    """
    held = _owned.get(os.getpid())
    if held is not None and held[0].is_dir():
        return held[0]
    parent = Path(tempfile.gettempdir())
    sweep_scratch(parent)
    new = Path(tempfile.mkdtemp(prefix=UNLOCKED, dir=parent))
    lock = open(new / "lock", "wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = new.rename(parent / f"{PREFIX}{new.name.removeprefix(UNLOCKED)}")
    _owned[os.getpid()] = (folder, lock)
    atexit.register(_close, os.getpid())
    return folder


def is_scratch(path: str) -> bool:
    """Whether a path is below the folder of this process."""
    held = _owned.get(os.getpid())
    return held is not None and Path(path).is_relative_to(held[0])


def _close(pid: int) -> None:
    if pid == os.getpid() and pid in _owned:
        folder, lock = _owned.pop(pid)
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def sweep_scratch(parent: Path) -> None:
    """Removes the folders whose owners are dead."""
    for stale in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), open(stale / "lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stale, ignore_errors=True)
    for stale in parent.glob(f"{UNLOCKED}*"):
        with contextlib.suppress(OSError):
            if time.time() - stale.stat().st_mtime > UNLOCKED_S:
                shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def scratch_folder(prefix: str) -> Iterator[str]:
    """A temporary folder, removed when the block ends, or by the next process if this one is killed."""
    with tempfile.TemporaryDirectory(prefix=prefix, dir=scratch_root()) as folder:
        yield folder


@contextmanager
def scratch_file() -> Iterator[BinaryIO]:
    """A temporary file with a name, open for writing and reading, likewise."""
    with tempfile.NamedTemporaryFile(dir=scratch_root()) as file:
        yield cast(BinaryIO, file)
