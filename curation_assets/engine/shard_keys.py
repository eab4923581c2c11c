"""The grammar of shard keys: `<dataset>-<nnnnn>`, counted from 0, zero-padded to at least five digits; and of ranges of them, `FIRST..LAST`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

DIGITS = 5
TO = ".."
"""Between the first and the last shard of a range, both of which are in it."""
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


def dataset_of(key: str) -> str:
    """The dataset of a key that `shard_key` wrote. It is not looked at closely, so that half a million of them take a tenth of a second."""
    return key[: key.rindex("-")]


def named(given: Sequence[str], order: Sequence[str]) -> list[str]:
    """The shards that keys and ranges of keys name, as they are given.

    Args:
        given: `hdvila-00007`, or `hdvila-00007..hdvila-00019`.
        order: all shards that there are; a range has those between its ends in this order.

    Raises:
        LookupError: what is no shard, or a range whose ends are none or stand the wrong way round; its arguments are those that were given.
    """
    place = {key: i for i, key in enumerate(order)}
    found: list[str] = []
    wrong: list[str] = []
    for item in given:
        first, _, last = item.partition(TO)
        begin, end = place.get(first), place.get(last or first)
        if begin is None or end is None or end < begin:
            wrong.append(item)
        else:
            found += order[begin : end + 1]
    if wrong:
        raise LookupError(*wrong)
    return found


def ranged(keys: Sequence[str], order: Sequence[str]) -> Iterator[str]:
    """The keys as `named` takes them, those that follow each other in `order` as one range: a command line has no room for 33,000."""
    place = {key: i for i, key in enumerate(order)}
    begin = 0
    for end in range(1, len(keys) + 1):
        if end == len(keys) or place[keys[end]] != place[keys[end - 1]] + 1:
            yield keys[begin] if end - begin == 1 else f"{keys[begin]}{TO}{keys[end - 1]}"
            begin = end
