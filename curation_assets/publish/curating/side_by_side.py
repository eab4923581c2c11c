"""Two tables in order of dataset and video read beside each other, a part of both in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc


def videos_of(rows: pa.Table) -> pa.Array:
    """What says which video each row is of, in the order of dataset and video."""
    return pc.binary_join_element_wise(rows["dataset"], rows["video_id"], "\0").combine_chunks()


class Following:
    """A table in order of videos, given out as far as another in the same order has come.

    Args:
        batches: of the table, one at least.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held = pa.Table.from_batches([next(batches)]).replace_schema_metadata(None)

    def until(self, video: str) -> pa.Table:
        """The rows not given out yet of all videos up to one, itself among them."""
        found = [self._held.slice(0, 0)]
        while True:
            count = pc.sum(pc.less_equal(videos_of(self._held), video)).as_py() or 0
            found.append(self._held.slice(0, count))
            self._held = self._held.slice(count)
            following = next(self._batches, None) if not self._held.num_rows else None
            if following is None:
                return pa.concat_tables(found)
            self._held = pa.Table.from_batches([following]).replace_schema_metadata(None)

    def rest(self) -> Iterator[pa.Table]:
        """The rows not given out yet, part by part."""
        yield self._held
        yield from (pa.Table.from_batches([b]).replace_schema_metadata(None) for b in self._batches)


def whole_videos(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The rows of a table in order of videos, with all rows of a video in one part."""
    held: pa.Table | None = None
    for table in tables:
        rows = table if held is None else pa.concat_tables([held, table])
        videos = videos_of(rows)
        ends = pc.sum(pc.not_equal(videos, videos[-1])).as_py() or 0 if len(videos) else 0
        if ends:
            yield rows.slice(0, ends)
        held = rows.slice(ends)
    if held is not None and held.num_rows:
        yield held


def side_by_side(first: Iterator[pa.Table], second: Iterator[pa.RecordBatch]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Parts of both with whole videos; what only the second has beyond the last video of the first comes at the end.

    Args:
        first: parts, of which some may be empty.
        second: batches, one at least.
    """
    following, form = Following(second), None
    for rows in whole_videos(first):
        form = rows.slice(0, 0)
        yield rows, following.until(videos_of(rows)[-1].as_py())
    for rows in following.rest():
        if rows.num_rows:
            yield rows.slice(0, 0) if form is None else form, rows
