"""Storage that takes nothing more: a full disk, a quota, a file system that became read-only, a root that went away; and other folders of
this machine that a run cannot do without, when they are full.

No further work is worth doing then, and no video or clip is at fault. What belongs here: telling this from other errors, in one sentence.
What does not: what a run does about it (`curation_assets.runner`).
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation_resources.scratch import PREFIX, is_scratch

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
FULL_WORDS = ("no space left on device", "disk is full", "disk quota exceeded")
"""How the system, SQLite and what is built on them say it where no error number comes along."""
ALSO = ("disk i/o error", "unable to open database file")
"""What SQLite says of a full disk too, and of others."""
NO_ROOM = 1 << 20
"""Bytes; where less is free, it was the room that was wanting."""
LONGEST = 200
"""Characters of an error that are quoted."""
OWN = re.compile(rf"{PREFIX}[a-z0-9_]{{8}}")
"""Names that `tempfile.mkdtemp` makes of the prefix."""
UNWRITABLE = "unwritable"
"""In the metadata of a failed step: it failed for this, and nothing else need be tried."""
KEPT = "then run again: what was committed is kept"


class Unwritable(OSError):
    """A storage root takes nothing more; the message names it and what to do."""


@contextmanager
def writing(root: str, path: str) -> Iterator[None]:
    """Within the block, an error that says that a root takes nothing more becomes `Unwritable`.

    Args:
        root: the storage root.
        path: what is written, relative to it.
    """
    try:
        yield
    except Unwritable:
        raise
    except OSError as error:
        if error.errno in FULL and is_scratch(root):
            raise full_folder(os.strerror(error.errno or 0)) or error from error
        if error.errno in FULL:
            raise Unwritable(
                f"the storage root {root} is full ({os.strerror(error.errno or 0)}, writing {path}); make room, {KEPT}"
            ) from error
        if error.errno == errno.EROFS:
            raise Unwritable(
                f"the storage root {root} is read-only (writing {path}); make it writable, {KEPT}"
            ) from error
        raise


@contextmanager
def making(root: str) -> Iterator[None]:
    """Within the block, whatever keeps a storage root from being made becomes `Unwritable`."""
    with writing(root, "the folder itself"):
        try:
            yield
        except OSError as error:
            if error.errno in FULL or error.errno == errno.EROFS:
                raise
            why = os.strerror(error.errno or 0)
            raise Unwritable(f"the storage root {root} cannot be made ({why}); make it, or name another one") from error


def has_room(folder: Path) -> bool:
    """Whether more than `NO_ROOM` is free where a folder lies."""
    return shutil.disk_usage(folder).free > NO_ROOM


def gone(root: str, known: str = "") -> Unwritable:
    """A root that was there when the run began, or of which something is `known`, as a clause."""
    return Unwritable(f"the storage root {root} is gone; bring it back, {KEPT}{known and f' ({known})'}")


def full_folder(said: str, home: str | None = None) -> Unwritable | None:
    """What an error that is none of the storage root says of a full disk; None if it says nothing of the kind.

    Which folder it was is told by where less room is left, as the error seldom names it.

    Args:
        said: the error's text.
        home: the folder of the orchestrator's records, if that is a possible place.
    """
    lines = [line.strip() for line in said.splitlines()]
    plain = [line for line in lines if any(words in line.lower() for words in FULL_WORDS)]
    maybe = [line for line in lines if any(words in line.lower() for words in ALSO)]
    if not plain and not maybe:
        return None
    scratch = Path(tempfile.gettempdir())
    if OWN.fullmatch(scratch.name):  # a command's own folder, below the one that was named
        scratch = scratch.parent
    names = {scratch: "the folder for temporary files {} (TMPDIR) is full ({}); make room, or name another in TMPDIR"}
    if home:
        names[Path(home)] = "the folder of records {} (DAGSTER_HOME) is full ({}); make room"
    free = {folder: shutil.disk_usage(folder).free if folder.is_dir() else 0 for folder in names}
    folder = min(names, key=lambda f: (free[f], f != scratch))
    if not plain and free[folder] > NO_ROOM:
        return None
    return Unwritable(f"{names[folder].format(folder, (plain or maybe)[0][:LONGEST])}, {KEPT}")
