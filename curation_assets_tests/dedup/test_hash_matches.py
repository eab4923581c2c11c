"""Pairs are compared in batches whose clips lie in few shards, and it does not matter in which."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.dedup import hash_matches
from curation_assets.dedup.clusters import build_clusters
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.hash_matches import batches
from curation_assets.dedup.search import Pairs, halves
from curation_assets_tests.dedup.fingerprint_rows import clip, near, random_hashes, shard
from curation_resources.content_hash import content_hash
from curation_resources.storage import Storage

SHARDS, CLIPS = 50, 1000


def _shards_read(parts: list[Pairs]) -> int:
    """How many shards are read if each batch reads those of its clips."""
    return sum(len(np.unique(np.concatenate(halves(part)) * SHARDS // CLIPS)) for part in parts)


def test_batches_have_each_pair_once_and_few_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_matches, "BATCH", 40)
    rng = np.random.default_rng(0)
    ends = np.sort(rng.integers(0, CLIPS, (4017, 2), np.uint64), axis=1)
    pairs = np.unique(ends[:, 0] << np.uint64(32) | ends[:, 1])
    count, parts = batches(pairs)
    found = list(parts)
    assert len(found) == count
    assert max(map(len, found)) <= 40
    assert np.array_equal(np.sort(np.concatenate(found)), pairs)
    by_first = [pairs[begin : begin + 40] for begin in range(0, len(pairs), 40)]
    assert _shards_read(found) < 0.6 * _shards_read(by_first)
    for few in (0, 1, 40):
        count, parts = batches(pairs[:few])
        assert [part.tolist() for part in parts] == [pairs[:few].tolist()] * count


def test_clusters_do_not_depend_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    originals = [random_hashes(rng, 5) for _ in range(60)]
    rows = [
        clip(f"v{k:03d}", frames, center_hashes=random_hashes(rng, 5), center_blank=[False] * 5)
        for k, frames in enumerate(originals)
    ]
    rows += [clip(f"w{k:03d}", near(rng, originals[int(rng.integers(60))], 3), height=720) for k in range(60)]
    given = [shard(f"d-{n:05d}", rows[n * 30 : n * 30 + 30]) for n in range(4)]
    expected = build_clusters(Storage(str(tmp_path / "a")), "index", given, Dedup(reversed=True))
    monkeypatch.setattr(hash_matches, "BATCH", 3)
    found = build_clusters(Storage(str(tmp_path / "b")), "index", given, Dedup(reversed=True))
    assert found.stats["pairs_compared"] > 60
    assert len(expected.clusters) > 60
    assert content_hash(found.clusters) == content_hash(expected.clusters)
    assert found.audit.equals(expected.audit)
