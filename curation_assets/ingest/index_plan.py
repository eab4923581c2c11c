"""What indexing a dataset found: its shards, and how many of its videos are new, back, changed or gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class IndexPlan:
    """What indexing a dataset found.

    Attributes:
        dataset: its name.
        new_shards: keys of shards that the previous index did not have, in order.
        shards: all keys, in order.
        rows_read: rows and lines of the source, duplicates and rejected ones included.
        present: videos that the source has, of a sample those that are in it.
        listed: videos that the source has, in a sample or not; None where no sample is made.
        added: those of them that are new.
        restored: those of them that were removed before.
        changed: those of them, neither added nor restored, whose record is another.
        removed: videos that the source no longer has, in all.
        rejected: rejected lines.
        secrets: videos whose full URL is in the side file.
        contradictions: column -> videos of which two rows say different things there; the first counts.
        forgotten: rows and lines that are left out, because they are of videos that were taken down.
        unsettled: files that may still be being written: what was known of them stays, and what is new of them is left for a later index.
        names_files: whether its rows name files in storage, which are looked at themselves.
        identity: what changes when the source's files do; None where that cannot be told.
        error: why the source could not be read; then the previous rows are kept as they are.
        passes: whether that lies with a network, so that trying again may help.
    """

    dataset: str
    new_shards: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    rows_read: int = 0
    present: int = 0
    listed: int | None = None
    added: int = 0
    restored: int = 0
    changed: int = 0
    removed: int = 0
    rejected: int = 0
    secrets: int = 0
    contradictions: Mapping[str, int] = field(default_factory=dict)
    forgotten: int = 0
    unsettled: int = 0
    names_files: bool = False
    identity: str | None = None
    error: str | None = None
    passes: bool = False
