"""Whether a file of a source may still be being written.

What belongs here: the decision, file by file, from the time of its last change. What does not: what becomes of such a file (`dataset_index.py`, which
keeps what it knew of it), and when a source is looked at again (`source_watch.py`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settling:
    """A moment at which a source is read, and how long its files must have been left alone by then.

    Attributes:
        now: seconds since the epoch.
        seconds: `source.settle_s` of the recipe; 0 takes every file as it stands.
    """

    now: float
    seconds: float

    def settled(self, modified: float) -> bool:
        """Whether a file whose last change was then, as `SourceFile.modified`, counts as written.

        A time that is not known and one in the future say nothing of the file's age, so that they hold nothing back: objects of a store appear whole,
        and for the clock of a file server that is ahead the source sensor waits until two looks have found the same.
        """
        return not 0 <= self.now - modified < self.seconds


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A file of a source that may still be being written, or one with such a file beside it: what was known of it stays as it is.

    Attributes:
        source: what tables call the file.
        location: of the video in it, as `SourceRow.location`; None for a tar, which may hold many.
    """

    source: str
    location: str | None = None
