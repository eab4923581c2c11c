"""What a component declares of how its tables are counted, summed up and told: by `curation report`, at the end of a run, by `curation explain`.

What belongs here: the shapes. What does not: the words of a table, which stand with its component, and the order in which they are said
(`report.py`, `outcome.py`, `explain.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation_resources.table_headers import TableHeader
    from curation_resources.tables import TableStore

Row = Mapping[str, Any]
Lines = list[tuple[str, str]]
"""Names and values, as `curation explain` prints them."""
Told = tuple[str, Lines]
"""A heading and its lines."""


class UnknownId(LookupError):
    """No table knows the id; the message says where was looked."""


@dataclass(frozen=True)
class Counted:
    """A line of the funnel of a dataset.

    Attributes:
        name: what is counted, in words.
        rows: the number in `stats` of a table that is summed up over all shards.
        duration: the number that is their length; empty where nothing is known of it.
        per_hour: how much of `duration` is an hour.
        row: column, and its value in the rows that count.
        length: columns of such a row whose milliseconds are its length: one, or its end and its start.
    """

    name: str
    rows: str
    duration: str = ""
    per_hour: float = 1.0
    row: tuple[str, Any] = ("status", "ok")
    length: tuple[str, ...] = ()


@dataclass(frozen=True)
class SummaryColumn:
    """A column of the table at the end of a run.

    Attributes:
        name: its head.
        value: what stands in it, of the tables of one shard or several; there is one at least.
    """

    name: str
    value: Callable[[Sequence[TableHeader]], Any]


def summed(name: str, *stats: str, shown: Callable[[float], Any] = int) -> SummaryColumn:
    """The sum of a number of the tables' `stats`, the first of `stats` that a table has, else of their rows."""

    def value(heads: Sequence[TableHeader]) -> Any:
        return shown(sum(next((h.stats[s] for s in stats if s in h.stats), 0 if stats else h.rows) for h in heads))

    return SummaryColumn(name, value)


@dataclass(frozen=True)
class Subject:
    """What `curation explain` was asked for: a video of one shard, or one of its clips.

    Attributes:
        store: the tables.
        shard, video_id: where the video is.
        clip: the clip; None for the whole video.
        rows: asset -> rows of its table that are of the clip, or of the video where there is no clip or the table knows none; empty without a table.
    """

    store: TableStore
    shard: str
    video_id: str
    clip: str | None
    rows: Callable[[str], Sequence[Row]]


Telling = Callable[[Subject], Iterator[Told]]
"""What a table says of a video or clip; it may read others to say it.

Raises:
    UnknownId: there is no such clip.
"""
