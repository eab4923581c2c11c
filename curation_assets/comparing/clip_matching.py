"""Which clip of one root is which of another: the one of the same id, else the one of the same video whose span overlaps it most."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

LEAST_OVERLAP = 0.5
"""Least share of what two spans cover together that they must have in common: then no third can overlap either as much."""


def moved_clips(a: pa.Table, b: pa.Table) -> Mapping[str, str]:
    """Clip of b -> the clip of a that it is with other boundaries.

    Args:
        a, b: `video_id`, `clip_id`, `start_ms` and `end_ms` of the clips of a shard. Those whose id is in both are none of these.
    """
    left, right = (_alone(one, other) for one, other in ((a, b), (b, a)))
    pairs = []
    for video, own in left.items():
        for clip, start, end in own:
            for other, other_start, other_end in right.get(video, ()):
                common = min(end, other_end) - max(start, other_start)
                whole = max(end, other_end) - min(start, other_start)
                if common > 0 and common / whole >= LEAST_OVERLAP:
                    pairs.append((-common / whole, clip, other))
    found: dict[str, str] = {}
    taken: set[str] = set()
    for _, clip, other in sorted(pairs):
        if clip not in taken and other not in found:
            found[other] = clip
            taken.add(clip)
    return found


def _alone(one: pa.Table, other: pa.Table) -> dict[str, list[tuple[str, int, int]]]:
    """Video -> (id, start, end) of the clips of one that the other does not have by their ids."""
    known = one.filter(pc.and_(pc.is_valid(one["start_ms"]), pc.is_valid(one["end_ms"])))
    known = known.filter(pc.invert(pc.is_in(known["clip_id"], value_set=other["clip_id"].combine_chunks())))
    found: dict[str, list[tuple[str, int, int]]] = {}
    for row in known.select(["video_id", "clip_id", "start_ms", "end_ms"]).to_pylist():
        found.setdefault(row["video_id"], []).append((row["clip_id"], row["start_ms"], row["end_ms"]))
    return found
