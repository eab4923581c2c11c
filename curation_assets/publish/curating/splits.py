"""Which split a source video is in: as the recipe lists it, else by a seeded hash of its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from curation_assets.publish.curating.criteria import hash_order
from curation_assets.publish.curating.subset_tables import read_ids
from curation_assets.publish.subsets import Splits


def splits_of(videos: Sequence[tuple[str, str]], splits: Splits, given: Mapping[str, str]) -> list[str]:
    """train, val or test of source videos, (dataset, video_id) each: as listed, else by a seeded hash of the id, so that it never changes."""
    places = hash_order((f"{dataset}/{video}" for dataset, video in videos), splits.seed) / 2.0**64
    found = np.where(places < splits.train, "train", np.where(places < splits.train + splits.val, "val", "test"))
    return [given.get(v, s) for (_, v), s in zip(videos, found.tolist(), strict=True)] if given else found.tolist()


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
