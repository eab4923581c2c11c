"""The bytes of stored frames, for whoever looks at them: several of one tar are read in one range, each is held against its SHA-256.

What belongs here: reading. What does not: what is made of the bytes (`frame_reading.py`, text, captions, scores of one's own).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from curation_resources.faults import STORAGE, Fault
from curation_resources.media import MediaRef
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS, StorageError

GAP_BYTES, RANGE_BYTES = 128 << 10, 8 << 20
"""Places that lie no further apart are read in one range, of at most so many bytes: what lies between costs less than another call, or request."""


class Place(NamedTuple):
    """Where a frame is read.

    Attributes:
        tar, offset, size, sha256: the bytes.
        form: the format of an input that fits a model; None for the stored picture, a JPEG.
    """

    tar: str
    offset: int
    size: int
    sha256: str | None
    form: str | None = None

    @property
    def name(self) -> str:
        """As errors have it."""
        return f"frame at {self.tar}[{self.offset}:+{self.size}]"


def picture_of(row: Mapping[str, Any]) -> Place:
    """Where the picture of a row of `frames` lies."""
    return Place(row["tar"] or "", row["offset"] or 0, row["size"] or 0, row["sha256"])


def read_stored(storage: Storage, places: Sequence[Place]) -> Iterator[tuple[int, memoryview | Fault]]:
    """The bytes at each of `places`, with its index, in any order; or why they cannot be had now."""
    for i, data in _bytes(storage, places):
        place = places[i]
        if not isinstance(data, Fault) and place.sha256 and hashlib.sha256(data).hexdigest() != place.sha256:
            what = "is not the picture that was written there (SHA-256 differs); materialize frames again"
            yield i, Fault(STORAGE, f"{place.name} {what}")
        else:
            yield i, data


def _bytes(storage: Storage, places: Sequence[Place]) -> Iterator[tuple[int, memoryview | Fault]]:
    for run, end in _runs(places):
        first = places[run[0]]
        try:
            data = memoryview(storage.read_media(MediaRef(first.tar, first.offset, end - first.offset)))
        except (StorageError, *READ_ERRORS) as error:
            if len(run) == 1:
                yield run[0], Fault(STORAGE, f"{first.name} cannot be read: {error}")
                continue
            for i in run:  # one that is gone takes no other with it
                yield from ((i, part) for _, part in _bytes(storage, [places[i]]))
            continue
        for i in run:
            at = places[i].offset - first.offset
            yield i, data[at : at + places[i].size]


def _runs(places: Sequence[Place]) -> Iterator[tuple[list[int], int]]:
    """Indexes of places that are read together, by their offsets, and where the last of them ends."""
    run: list[int] = []
    end = 0
    for i in sorted(range(len(places)), key=lambda i: (places[i].tar, places[i].offset)):
        place = places[i]
        whole = max(end, place.offset + place.size)
        if run:
            first = places[run[0]]
            if place.tar != first.tar or place.offset > end + GAP_BYTES or whole - first.offset > RANGE_BYTES:
                yield run, end
                run, whole = [], place.offset + place.size
        run.append(i)
        end = whole
    if run:
        yield run, end
