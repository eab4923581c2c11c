"""Storage that takes nothing more: a full disk, a quota, a file system that became read-only, a root that went away.

No further work is worth doing then, and no video or clip is at fault. What belongs here: telling this from other errors, in one sentence.
What does not: what a run does about it (`curation_assets.runner`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
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
        if error.errno in FULL:
            raise Unwritable(
                f"the storage root {root} is full ({os.strerror(error.errno or 0)}, writing {path}); make room, {KEPT}"
            ) from error
        if error.errno == errno.EROFS:
            raise Unwritable(
                f"the storage root {root} is read-only (writing {path}); make it writable, {KEPT}"
            ) from error
        raise


def gone(root: str) -> Unwritable:
    """A root that was there when the run began."""
    return Unwritable(f"the storage root {root} is gone; bring it back, {KEPT}")
