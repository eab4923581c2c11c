"""Which split a source video is in: as the recipe lists it, else by a seeded hash of its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from curation_assets.publish.curating.places_of_ids import PlacesOfIds
from curation_assets.publish.curating.subset_tables import read_ids
from curation_assets.publish.subsets import Splits

SPLITS: Final = ("train", "val", "test")


class SplitOfVideos:
    """The split of source videos: as listed, else by a seeded hash of the id, so that it never changes.

    Args:
        splits: the section of the recipe.
        given: video_id -> split, from the recipe's lists.
    """

    def __init__(self, splits: Splits, given: Mapping[str, str]) -> None:
        self._splits, self._given, self._places = splits, given, PlacesOfIds(splits.seed)

    def of(self, dataset: str, videos: pa.Array) -> np.ndarray:
        """int8 (n,): for each video of a dataset, where in `SPLITS` its split stands."""
        places = self._places.of(videos, f"{dataset}/") / 2.0**64
        bounds = np.cumsum([self._splits.train, self._splits.val])
        found = np.searchsorted(bounds, places, side="right").astype(np.int8)
        if self._given:
            listed = [self._given.get(v) for v in videos.to_pylist()]
            for at in (i for i, split in enumerate(listed) if split is not None):
                found[at] = SPLITS.index(str(listed[at]))
        return found


def given_splits(splits: Splits) -> dict[str, str]:
    """video_id -> split, from the recipe's lists.

    Raises:
        ValueError: a video is in two lists.
    """
    given: dict[str, str] = {}
    for name, path in splits.lists.items():
        for video_id in read_ids([path]):
            if given.setdefault(video_id, name) != name:
                raise ValueError(
                    f"video {video_id!r} is in the lists of both {given[video_id]} and {name}; leave it in one"
                )
    return given
