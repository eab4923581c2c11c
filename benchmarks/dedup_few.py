"""What one hash of many costs where few clips are new: `python -m benchmarks.dedup_few --clips 1000000 --new 30000 --bits 17`.

Hashes of one kind as `benchmarks.dedup` generates them. The bits of a key follow from the number of clips (15 at a million, 17 at three, 18 or 19 at ten); given apart from
it they say what a larger index costs, without its size: what counts is how many new hashes there are, and how many tables.

Prints CPU nanoseconds for each hash, the least of several times: to group the hashes, to go through them once for a table, and for all tables together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.dedup import LEAST, MOST, chains
from curation_assets.dedup import probe
from curation_assets.dedup.buckets import Side
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.search import Plan, Search, worth

TABLES = 3
"""So many tables are timed."""


def side(clips: int) -> Side:
    """Clips of 8 to 16 hashes, none of which is common."""
    rng = np.random.default_rng(5)
    counts = rng.integers(LEAST, MOST + 1, clips)
    hashes = np.concatenate([chains(rng, part) for part in np.array_split(counts, max(1, clips // 100_000))])
    none, nobody = np.empty(0, np.uint64), np.empty(0, np.uint32)
    start = np.append(0, np.cumsum(counts)).astype(np.int64)
    comparable, tie = counts.astype(np.int32), np.arange(clips, dtype=np.uint64)
    return Side(
        hashes, start, counts.astype(np.uint8), comparable, none, np.zeros(1, np.int64), nobody, nobody, tie, 0, 1
    )


def least(work: Callable[[], Any], times: int) -> float:
    """CPU seconds."""
    spent = []
    for _ in range(times):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--new", type=int, default=10_000, help="so many of them are new")
    parser.add_argument("--bits", type=int, default=15, help="bits of a key")
    parser.add_argument("--search", choices=("every_pair", "copies"), default="copies")
    options = parser.parse_args()
    held, params = side(options.clips), Dedup(search=options.search)
    fresh = np.arange(options.clips) >= options.clips - options.new
    search = Search(held, None, fresh, Plan.of(options.bits, "phash", params), worth(params, options.bits))
    hashes = len(held.hashes)
    grouping = 1e9 * least(search.prepared, 4) / hashes
    search = search.prepared()
    (many,) = search.many
    whole = many[0]
    each = []
    for table in range(TABLES):
        place = probe.place_of(
            int(search.plan.key(table).mask), search.bits, int(held.start[-1] - held.start[-options.new - 1])
        )
        few = probe.lines(held, fresh, place)
        gone = (few, place, whole, np.uint64(search.bits), search.worth.distance)
        each.append(1e9 * least(lambda of=gone: probe.near_few(*of), 5) / hashes)  # type: ignore[misc]
    table_ns = sum(each) / TABLES
    print(
        f"{hashes} hashes in {len(whole.at) - 1} groups: {grouping:.1f} ns each to group, {table_ns:.1f} for each of {search.plan.count} tables, "
        f"{grouping + table_ns * search.plan.count:.0f} in all"
    )


if __name__ == "__main__":
    main()
