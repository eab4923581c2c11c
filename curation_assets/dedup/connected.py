"""Clips that match each other, in groups of which one is held in memory at a time: who survives is decided within each set of clips that are connected.

Clips are connected by a match, by one fingerprint or by one source span. Connected ones come into one group, however many they are.

What belongs here: which clips are in which group, and their facts and matches one group after the other. What does not: choosing (`clusters`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.dedup.align import Matches
from curation_assets.dedup.bits import Ints
from curation_assets.dedup.library import Library
from curation_assets.dedup.table_spool import TableSpool
from curation_resources.compiled import compiled

FACTS: Final = (
    "dataset",
    "video_id",
    "clip_id",
    "height",
    "duration_ms",
    "quality",
    "seen",
    "exact",
    "signature",
)
"""What is read of the clips that are involved."""

CLIP_BYTES: Final = 2500
"""What is reckoned for a clip of a group while survivors are chosen (facts, matches, order, rows): twice to five times what was measured at a million clips."""

VECTOR_BYTES: Final = 4096
"""And for its mean embedding where pairs are confirmed by these: a thousand numbers."""

LEAST_CLIPS: Final = 64
MOST_GROUPS: Final = 256
READ_AT_ONCE: Final = 1 << 16

_RANGE_BITS: Final = 6
_RANGES: Final = 1 << _RANGE_BITS


def facts_of(library: Library, rows: Ints) -> pa.Table:
    """`FACTS` of some rows and the place of each one's shard."""
    return library.take("facts", rows, FACTS).append_column("shard", pa.array(library.shard_of(rows)))


def involved(library: Library, matches: Matches) -> Ints:
    """The rows that match another one or share a signature or a source span with one; ascending.

    Args:
        matches: accepted pairs, by signatures.
    """
    chosen = np.zeros(library.clips, np.bool_)
    ends = np.unique(np.concatenate([matches.short, matches.long]))
    for name in ("signature", "exact"):
        wanted = _repeated(library, name)
        if name == "signature":
            wanted = np.union1d(wanted, ends)
        chosen[library.rows_with(name, wanted)] = True
    return np.flatnonzero(chosen)


def _repeated(library: Library, name: str) -> NDArray[np.uint64]:
    """Values, other than 0, that more than one row has, sorted; those of all segments lie sorted, and a range of them is looked at at a time."""
    edges = np.arange(1, _RANGES, dtype=np.uint64) << np.uint64(64 - _RANGE_BITS)
    found = [np.empty(0, np.uint64)]
    ordered = [segment.arrays.read(f"{name}.sorted") for segment in library.segments]
    one = np.ones(1, np.uint64)
    bounds = [np.append(np.searchsorted(v, np.concatenate([one, edges])), len(v)) for v in ordered]
    for k in range(_RANGES):
        stretch = np.concatenate([found[0], *(v[b[k] : b[k + 1]] for v, b in zip(ordered, bounds, strict=True))])
        stretch.sort(kind="stable")
        found.append(np.unique(stretch[1:][stretch[1:] == stretch[:-1]]))
    return np.concatenate(found)


@compiled
def _components(count: int, a: Ints, b: Ints) -> Ints:
    """For each of so many nodes the first one of those that are connected with it by edges, int64 (count,)."""
    first = np.arange(count)
    for k in range(len(a)):
        x, y = a[k], b[k]
        while first[x] != x:
            first[x] = first[first[x]]
            x = first[x]
        while first[y] != y:
            first[y] = first[first[y]]
            y = first[y]
        if x < y:
            first[y] = x
        else:
            first[x] = y
    for k in range(count):
        first[k] = first[first[k]]
    return first


@dataclass(frozen=True)
class Groups:
    """Rows in groups.

    Attributes:
        rows: ascending.
        of_row: int64, the group of each.
        of_match: int64, that of each match.
        count: how many groups there are.
    """

    rows: Ints
    of_row: Ints
    of_match: Ints
    count: int


def groups(library: Library, rows: Ints, matches: Matches, most: int) -> Groups:
    """
    Args:
        rows: of the clips, ascending; all that are connected with one of them.
        matches: accepted pairs of them, by signatures.
        most: a group is closed once it has so many rows.
    """
    most = max(most, LEAST_CLIPS, -(-len(rows) // MOST_GROUPS))
    if len(rows) <= most:
        return Groups(rows, np.zeros(len(rows), np.int64), np.zeros(len(matches.short), np.int64), min(1, len(rows)))
    nodes, node = np.unique(library.of_rows("signature", rows), return_inverse=True)
    short, long = np.searchsorted(nodes, matches.short), np.searchsorted(nodes, matches.long)
    exact = library.of_rows("exact", rows)
    by_span = np.argsort(exact, kind="stable")
    span = exact[by_span]
    alike = np.flatnonzero((span[1:] == span[:-1]) & (span[1:] != 0))
    one, other = node[by_span[alike]], node[by_span[alike + 1]]
    first = _components(len(nodes), np.concatenate([short, one]), np.concatenate([long, other]))
    sizes = np.bincount(first[node], minlength=len(nodes))
    group = (np.cumsum(sizes) - sizes) // most
    return Groups(rows, group[first[node]], group[first[short]], int(group[-1]) + 1)


def facts_and_matches(
    library: Library, found: Groups, matches: Matches, folder: Path
) -> Iterator[tuple[pa.Table, Matches]]:
    """The facts of the clips of each group, with the places of their shards, and its matches.

    Args:
        folder: an empty folder of this machine, where the facts of several groups are put down: those of one lie anywhere in the parts.
    """
    if found.count <= 1:
        if found.count:
            yield facts_of(library, found.rows), matches
        return
    with TableSpool(folder) as spool:
        for low in range(0, len(found.rows), READ_AT_ONCE):
            high = low + READ_AT_ONCE
            spool.divide(facts_of(library, found.rows[low:high]), found.of_row[low:high])
        order = np.argsort(found.of_match, kind="stable")
        edges = np.searchsorted(found.of_match[order], np.arange(found.count + 1))
        for number in range(found.count):
            facts = spool.take(number)
            if facts is not None:
                yield facts, matches.take(order[edges[number] : edges[number + 1]])
