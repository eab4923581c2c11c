"""Samples of an installation: a share of each source's videos through the whole graph, in a storage root of its own within the whole one.

Which videos are in one is told by a hash of their ids: the same in every dataset and at any time, and those of a smaller share are among those of a
larger one. The root of a sample lies apart, so that what is global (near-duplicates, subsets) is of the sample alone there, and nothing of it is ever
read as the whole's. What belongs here: which videos, and where. What does not: what the whole would give (`curation_assets/projection.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from curation_assets.settings import SAMPLES
from curation_resources.storage import Storage
from curation_resources.storage_errors import READ_ERRORS
from curation_resources.tables import TableStore

LISTED = "listed.json"
"""In a sample's root: of how many videos of each dataset it is one."""
DIGITS = 13
"""Of the hexadecimal digest of an id that are compared: 52 bits, as many as a float holds exactly."""


@dataclass(frozen=True)
class VideoSample:
    """A share of the videos.

    Attributes:
        share: of all, above 0 and below 1.
    """

    share: float

    @property
    def _limit(self) -> str:
        return f"{round(self.share * 16**DIGITS):0{DIGITS}x}"

    def has(self, video_id: str) -> bool:
        """Whether a video is in it: its id's MD5, read as a fraction, is less than the share."""
        return hashlib.md5(video_id.encode(), usedforsecurity=False).hexdigest()[:DIGITS] < self._limit

    def condition(self, column: str) -> str:
        """`has` of a column of ids, in SQL as DuckDB reads it."""
        return f"substr(md5({column}), 1, {DIGITS}) < '{self._limit}'"


def whole(storage: Storage) -> Storage | None:
    """The root that a sample's root lies in; None where it is no sample's."""
    above, _, last = storage.root.rpartition(f"/{SAMPLES}/")
    return replace(storage, root=above) if above and last and "/" not in last else None


def whole_store(store: TableStore) -> TableStore:
    """The tables of the whole, of a sample's; of any others those themselves."""
    storage = whole(store.storage)
    return store if storage is None else TableStore(storage, store.contracts)


def samples_of(storage: Storage) -> list[float]:
    """The samples that lie in a root, by their shares."""
    found = []
    for name in storage.folders(SAMPLES):
        try:
            found.append(float(name))
        except ValueError:  # somebody else's
            continue
    return sorted(found)


def write_listed(storage: Storage, listed: Mapping[str, int]) -> None:
    """Keeps how many videos each source has, in and outside of the sample; datasets that are not named keep their numbers."""
    known = read_listed(storage)
    if known | dict(listed) != known:
        storage.write(LISTED, json.dumps(known | dict(listed), sort_keys=True).encode())


def read_listed(storage: Storage) -> dict[str, int]:
    """Dataset -> videos that its source has; empty before a sample was indexed."""
    try:
        return {name: int(count) for name, count in json.loads(storage.read(LISTED)).items()}
    except READ_ERRORS:
        return {}
