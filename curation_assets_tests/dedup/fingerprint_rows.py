"""Generated `clip_fingerprints` rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curation_assets.dedup.index import ShardInput
from curation_assets.schemas import schema

SECOND = 1000


def random_hashes(rng: np.random.Generator, count: int) -> list[int]:
    return [int(h) for h in rng.integers(0, 2**64, count, np.uint64)]


def near(rng: np.random.Generator, hashes: Iterable[int], bits: int) -> list[int]:
    """The hashes with so many random bits changed in each."""
    return [h ^ sum(1 << int(b) for b in rng.choice(64, bits, replace=False)) for h in hashes]


def clip(video: str, hashes: Sequence[int], **given: Any) -> dict[str, Any]:
    """A row: a hash a second from the start of the clip, unless `hash_ms` (from the clip's start) says otherwise."""
    start = given.pop("start_ms", 0)
    times = given.pop("hash_ms", range(0, SECOND * len(hashes), SECOND))
    duration = given.pop("duration_ms", SECOND * max(1, len(hashes)))
    row = {
        "dataset": "d",
        "video_id": video,
        "clip_id": f"{video}_{start}_{start + duration}",
        "hashes": list(hashes),
        "flipped_hashes": None,
        "blank": [False] * len(hashes),
        "center_hashes": None,
        "center_blank": None,
        "hash_ms": [start + t for t in times],
        "method": "phash",
        "height": 360,
        "duration_ms": duration,
        "quality": 1.0,
        "video_sha256": None,
        "start_ms": start,
    }
    return row | given


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    contract = schema("clip_fingerprints")
    ordered = sorted(rows, key=lambda r: tuple(r[k] for k in contract.key))
    return pa.Table.from_pylist([dict(r) for r in ordered], contract.arrow)


def shard(name: str, rows: Sequence[Mapping[str, Any]], version: str = "1") -> ShardInput:
    return ShardInput(name, version, lambda: table(rows))
