"""Which split a source video is in: as the recipe lists it, else by a seeded hash of its id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from curation_assets.publish.curating.subset_tables import read_ids
from curation_assets.publish.subsets import Splits


def split_of(dataset: str, video_id: str, splits: Splits, given: Mapping[str, str]) -> str:
    """train, val or test of a source video: as listed, else by a seeded hash of its id, so that it never changes."""
    if video_id in given:
        return given[video_id]
    key = f"{splits.seed}".encode()
    digest = hashlib.blake2b(f"{dataset}/{video_id}".encode(), digest_size=8, key=key).digest()
    place = int.from_bytes(digest, "little") / 2.0**64
    return "train" if place < splits.train else "val" if place < splits.train + splits.val else "test"


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
