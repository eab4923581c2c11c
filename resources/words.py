"""Counts with their nouns, as messages have them."""

from __future__ import annotations

import re


def plural(count: int, one: str, many: str | None = None, commas: bool = False) -> str:
    """A count and what is counted: `plural(1, "row")` is `1 row`, `plural(0, "row")` is `0 rows`.

    Args:
        count: how many.
        one: what follows 1; more words than the noun where they agree with it, as in `clip is` and `clips are`.
        many: what follows every other number; None is `one` with an s.
        commas: whether thousands are set apart.
    """
    number = f"{count:,}" if commas else str(count)
    return f"{number} {one if count == 1 else f'{one}s' if many is None else many}"


def units(total: int, unit: str) -> str:
    """What is counted by progress, which names it in the plural: `units(1, "tables of hashes")` is `table of hashes`."""
    if total != 1:
        return unit
    noun, *more = re.split("(?= (?:of|that) )", unit, maxsplit=1)  # what follows says more of it: "shards that came"
    return "".join([re.sub("(?<=[cs]h)es$|(?<=x)es$|s$", "", noun), *more])
