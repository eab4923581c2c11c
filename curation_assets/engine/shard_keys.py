"""The grammar of shard keys: `<dataset>-<nnnnn>`, counted from 0, zero-padded to at least five digits."""

from __future__ import annotations

import re

DIGITS = 5
_KEY = re.compile(r"(?P<dataset>[a-z0-9][a-z0-9_]*)-(?P<number>\d{5,18})", re.ASCII)


def shard_key(dataset: str, number: int) -> str:
    """The key of a dataset's shard: `shard_key("hdvila", 7)` is `hdvila-00007`.

    Raises:
        ValueError: the name or the number makes no key.
    """
    key = f"{dataset}-{number:0{DIGITS}d}"
    if number < 0 or not _KEY.fullmatch(key):
        raise ValueError(
            f"{dataset!r} and {number} make no shard key; a dataset is named with a-z, 0-9 and _, shards count from 0"
        )
    return key


def parse_shard_key(key: str) -> tuple[str, int]:
    """The dataset and the number of a shard: `hdvila-00007` is `("hdvila", 7)`.

    Raises:
        ValueError: `key` is not what `shard_key` writes.
    """
    match = _KEY.fullmatch(key)
    if match is None or (len(match["number"]) > DIGITS and match["number"].startswith("0")):
        raise ValueError(f"{key!r} is no shard key; one looks like hdvila-00007")
    return match["dataset"], int(match["number"])
