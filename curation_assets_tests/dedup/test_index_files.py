"""Damage in the index of duplicates: it is noticed whatever bit it hits, what it hit is made again, and the clusters are the same."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from curation_assets.dedup.clusters import build_clusters
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import ShardInput
from curation_assets.dedup.index_files import DamagedIndex, check_file, files_of, read_manifest
from curation_assets_tests.dedup.fingerprint_rows import clip, near, random_hashes, shard
from curation_assets_tests.dedup.test_clusters import INDEX
from curation_resources.content_hash import content_hash
from curation_resources.storage import Storage


@pytest.fixture
def shards() -> list[ShardInput]:
    rng = np.random.default_rng(3)
    frames = [random_hashes(rng, 5) for _ in range(3)]
    return [
        shard("d-00000", [clip("a", frames[0]), clip("b", frames[1]), clip("x", random_hashes(rng, 5))]),
        shard("d-00001", [clip("c", near(rng, frames[0], 3)), clip("e", frames[2])]),
        shard("d-00002", [clip("f", near(rng, frames[1], 3)), clip("g", near(rng, frames[2], 2))]),
    ]


def test_any_flipped_bit_of_the_index_is_noticed(tmp_path: Path, shards: list[ShardInput]) -> None:
    storage, params = Storage(str(tmp_path)), Dedup(survivor="first_seen")
    build_clusters(storage, INDEX, shards, params)
    manifest = read_manifest(storage, INDEX)
    assert manifest is not None
    digests = dict(files_of(manifest))
    assert {name.split("-")[0].split("/")[0] for name in digests} == {
        *("parts", "segments", "common", "matches", "chosen")
    }
    chance = np.random.default_rng(1)
    for name in [*digests, "manifest.json"]:
        path = tmp_path / INDEX / name
        whole = path.read_bytes()
        for bit in chance.integers(0, 8 * len(whole), 60):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(data)
            if name in digests:
                with pytest.raises(DamagedIndex):
                    check_file(storage, f"{INDEX}/{name}", digests[name])
            else:
                with suppress(DamagedIndex):
                    assert read_manifest(storage, INDEX) == manifest, "white space and the case of escapes say nothing"
        path.write_bytes(whole)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("which", ["part", "matches", "manifest", "gone", "all"])
def test_what_is_damaged_is_made_again_to_the_same_clusters(
    tmp_path: Path, shards: list[ShardInput], which: str, check: bool
) -> None:
    """The first seen of two copies is still the first seen; only with the whole manifest is that order gone, and all shards come
    anew. What nothing asks for is read, and made again, only if that is wanted."""
    storage, params = Storage(str(tmp_path)), Dedup(survivor="first_seen")
    for given in (shards[2:], shards[1:], shards):
        before = build_clusters(storage, INDEX, given, params).clusters
    manifest = read_manifest(storage, INDEX)
    assert manifest is not None
    files = {
        "part": [manifest["shards"]["d-00002"]["file"]],
        "matches": [manifest["matches"]],
        "manifest": ["manifest.json"],
        "gone": [manifest["shards"]["d-00001"]["file"], manifest["matches"]],
        "all": [f for f, _ in files_of(manifest)],
    }[which]
    for name in files:
        path = tmp_path / INDEX / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 8
        path.write_bytes(data)
        if which == "gone":
            path.unlink()
    after = build_clusters(storage, INDEX, shards, params, check=check)
    if which != "manifest":
        assert content_hash(after.clusters) == content_hash(before)
    assert after.clusters.num_rows == before.num_rows
    repaired = read_manifest(storage, INDEX)
    assert repaired is not None
    if not check:
        return
    for file, digest in files_of(repaired):
        check_file(storage, f"{INDEX}/{file}", digest)
