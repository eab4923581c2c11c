"""The grammar of shard keys: `<dataset>-<nnnnn>`, the number zero-padded to at least five digits."""

from __future__ import annotations

import re

_KEY = re.compile(r"([a-z0-9][a-z0-9_]*)-(\d{5,})")


def shard_key(dataset: str, number: int) -> str:
    """Key of the dataset's shard with that number, counted from 0."""
    return f"{dataset}-{number:05d}"


def parse_shard_key(key: str) -> tuple[str, int]:
    """(dataset, number) of a shard key.

    Raises:
        ValueError: not a shard key.
    """
    match = _KEY.fullmatch(key)
    if match is None:
        raise ValueError(f"{key!r} is not a shard key; one looks like hdvila-00000")
    return match[1], int(match[2])
