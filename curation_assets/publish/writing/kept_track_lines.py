"""What a published list of tracks and the one that follows it have in common: where the same candidates are judged again, the lines of tracks that stay selected
are taken over, and those of newly selected ones alone are made. How a line is made is the business of `track_lists.py`.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.publish.curating.splits import SPLITS
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

Line = TypeVar("Line")
AT_ONCE = 65_536
"""Candidates whose choice is looked at together."""


class OtherLines(ValueError):
    """A list does not have the lines that were selected when it was published; the message names it."""


def chosen_tracks(store: TableStore, key: str) -> np.ndarray:
    """uint8 (n,): for each candidate of the `curated_tracks` in force, in its order, 0 where it is not selected, 1 where it is in no split, else 2 and more by
    its split; a line may name the split."""
    parts = [np.zeros(0, np.uint8)]
    for rows in store.groups("curated_tracks", ["selected", "split"], key):
        splits = pc.fill_null(pc.index_in(rows["split"], value_set=pa.array(SPLITS, pa.string())), -1).to_numpy()
        parts.append(np.where(rows["selected"].to_numpy(), splits + 2, 0).astype(np.uint8))
    return np.concatenate(parts)


@dataclass(frozen=True)
class PublishedTracks:
    """The list that was published of a curated table, before its candidates were judged again.

    Attributes:
        path: of the list, a line for each track that was selected, in order.
        chosen: `chosen_tracks` of the table then.
    """

    path: str
    chosen: np.ndarray


class KeptLines:
    """The lines that a published list and the next one have in common.

    Args:
        storage: where the list lies.
        published: the list.
        now: `chosen_tracks` of the same candidates as they are judged now.

    Raises:
        OtherLines: there are not as many candidates.

    Attributes:
        new: bool (n,), for each candidate whether its line is to be made.
    """

    def __init__(self, storage: Storage, published: PublishedTracks, now: np.ndarray) -> None:
        if len(now) != len(published.chosen):
            raise OtherLines(f"{storage.uri(published.path)} was selected from other candidates")
        self._storage, self._published, self._now = storage, published, now
        self.new = (now > 0) & (now != published.chosen)

    def among(self, made: Iterator[Line], read: Callable[[bytes], Line]) -> Iterator[Line]:
        """All lines of the next list, in order.

        Args:
            made: those of `new`, in order.
            read: makes of a line of the published list what `made` has.

        Raises:
            OtherLines: the published list has other lines than were selected, or is damaged, or `made` has not one for each that is new.
        """
        path, before = self._published.path, self._published.chosen
        differs = OtherLines(f"{self._storage.uri(path)} does not have a line for each track that was selected")
        try:
            with self._storage.open(path) as packed, gzip.GzipFile(fileobj=packed) as lines:
                for start in range(0, len(self._now), AT_ONCE):
                    part = slice(start, start + AT_ONCE)
                    was, chosen, new = before[part] > 0, self._now[part] > 0, self.new[part]
                    some = was | chosen
                    for old, stays, fresh in zip(
                        was[some].tolist(), (chosen & ~new)[some].tolist(), new[some].tolist(), strict=True
                    ):
                        line = lines.readline() if old else b""
                        if old and not line:
                            raise differs
                        if stays:
                            yield read(line)
                        elif fresh:
                            found = next(made, None)
                            if found is None:
                                raise differs
                            yield found
                if lines.readline() or next(made, None) is not None:
                    raise differs
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise OtherLines(f"{self._storage.uri(path)} is damaged: {error}") from error
