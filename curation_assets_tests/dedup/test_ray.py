"""The search on a Ray of two processes on this machine: the clusters of one process, and of pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.dedup.clusters import build_clusters
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.search import Means
from curation_assets_tests.dedup.fingerprint_rows import clip, near, random_hashes, shard
from curation_resources.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_clusters_are_those_of_one_process(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from curation_assets.dedup.ray_runner import on_ray

    rng = np.random.default_rng(0)
    rows = []
    for k in range(1500):
        frames = random_hashes(rng, 8)
        centre = {"center_hashes": random_hashes(rng, 8), "center_blank": [False] * 8}
        rows.append(clip(f"v{k:04d}", frames, **centre))
        if k % 4 == 0:
            copied = {"center_hashes": near(rng, centre["center_hashes"], 4), "center_blank": [False] * 8}  # type: ignore[call-overload]
            rows.append(clip(f"w{k:04d}", near(rng, frames, 4), height=240, **copied))
    shards = [shard("d-00000", rows[::2]), shard("d-00001", rows[1::2])]
    alone = build_clusters(Storage(str(tmp_path / "one")), "index", shards, Dedup(), means=Means(1))
    divided = build_clusters(
        Storage(str(tmp_path / "rounds")), "index", shards, Dedup(), means=Means(2, memory_bytes=200_000)
    )
    options = {"num_cpus": 2, "object_store_memory": 100_000_000, "_node_ip_address": "127.0.0.1"}
    try:
        means = Means(2, memory_bytes=200_000, runner=on_ray(**options))  # type: ignore[arg-type]
        spread = build_clusters(Storage(str(tmp_path / "ray")), "index", shards, Dedup(), means=means)
    finally:
        ray.shutdown()
    assert alone.clusters.num_rows >= 2 * 375
    assert divided.clusters.equals(alone.clusters)
    assert spread.clusters.equals(alone.clusters)
