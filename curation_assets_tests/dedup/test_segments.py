"""What is kept of all clips beside the parts of shards: that an update which adds to it, and a search that is divided, end where all at once does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.dedup import cluster_rows, common, connected, grouped, hash_matches, index_segments, search
from curation_assets.dedup.arrays import PIECE, open_arrays, write_arrays
from curation_assets.dedup.clusters import build_clusters
from curation_assets.dedup.common import SharedHashes, count_all, looked_up
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import ShardInput, update_index
from curation_assets.dedup.index_files import DamagedIndex, read_manifest
from curation_assets.dedup.parts import BLOCKS, blocks_of, make_part
from curation_assets.dedup.search import Means, Search
from curation_assets_tests.dedup.fingerprint_rows import clip, near, random_hashes, shard, table
from curation_assets_tests.dedup.test_clusters import INDEX, _library
from curation_resources.storage import Storage


def _shards(seed: int, families: int, count: int) -> list[ShardInput]:
    """Clips with central hashes, windows and hashes that many show, in shards."""
    rng = np.random.default_rng(seed)
    cards = random_hashes(rng, 2)
    rows: list[list[dict[str, Any]]] = [[] for _ in range(count)]
    for row in _library(seed, families):
        frames = [*row["hashes"][:-1], cards[int(rng.integers(2))]] if rng.random() < 0.6 else row["hashes"]
        row |= {"hashes": frames, "flipped_hashes": row["flipped_hashes"] and near(rng, frames, 1)}
        row |= {"center_hashes": near(rng, frames, 2), "center_blank": row["blank"]}
        row["window_ms"] = row["hash_ms"][:2]
        row["window_hashes"] = [h for f in frames[: len(row["window_ms"])] for h in (0, f, *random_hashes(rng, 6))]
        row["method"] = str(rng.choice(["phash", "phash", "dhash"]))
        rows[int(rng.integers(count))].append(row)
    return [shard(f"d-{k:05d}", part) for k, part in enumerate(rows)]


@pytest.mark.parametrize(("seed", "rows", "memory"), [(1, 1, 1 << 30), (2, 20, 1 << 30), (3, 10_000, 3000)])
def test_added_shard_by_shard_and_divided_is_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, rows: int, memory: int
) -> None:
    """Whatever the order of arrival: segments that are closed early, a memory of next to nothing, a hash that five clips have in common, hashes as they lie or in groups
    where a half of the clips is new, and survivors chosen among few clips at a time and kept in blocks of few rows; the same rows to the last value."""
    monkeypatch.setattr(common, "COMMON", 5)
    monkeypatch.setattr(connected, "LEAST_CLIPS", 3)
    monkeypatch.setattr(cluster_rows, "BLOCK_ROWS", rows)
    monkeypatch.setattr(hash_matches, "LEAST_CLIPS", 3)
    monkeypatch.setattr(grouped, "CACHE_BYTES", rows)
    monkeypatch.setattr(grouped, "LARGE_BYTES", 0 if rows < 10_000 else 1 << 40)
    monkeypatch.setattr(grouped, "MANY_TABLES", search.MAX_TABLES)
    shards = _shards(seed, 20, 3)
    params = Dedup(flipped=True, negative=True, reversed=True)
    whole = build_clusters(Storage(f"{tmp_path}/whole"), INDEX, shards, params, means=Means(1))
    assert whole.clusters.num_rows > 5
    monkeypatch.setattr(index_segments, "ROWS", rows)
    monkeypatch.setattr(search, "FEW", 0.6)
    groups: list[int] = []
    prepared = Search.prepared

    def recorded(of: Search) -> Search:
        ready = prepared(of)
        groups.extend(len(part.at) - 1 for many in ready.many for part in many)
        return ready

    monkeypatch.setattr(Search, "prepared", recorded)
    arrival = [shards[k] for k in np.random.default_rng(seed).permutation(3)]
    for k in range(1, len(arrival) + 1):
        added = build_clusters(Storage(f"{tmp_path}/added"), INDEX, arrival[:k], params, means=Means(1, memory))
    assert added.clusters.equals(whole.clusters)
    assert groups
    assert (max(groups) > 1) == (rows < 10_000)
    at_once = build_clusters(Storage(f"{tmp_path}/divided"), INDEX, shards, params, means=Means(1, memory))
    assert at_once.clusters.equals(whole.clusters)
    for name in ("hashes", "distinct_clips", "comparable_clips", "pairs_accepted"):
        assert at_once.stats[name] == whole.stats[name], name


@pytest.mark.parametrize("new", [40, 100, 170])
def test_what_is_held_of_blocks_of_hashes_fits_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: int
) -> None:
    """Also of hashes in groups, whatever share of a block is new."""
    monkeypatch.setattr(hash_matches, "LEAST_CLIPS", 3)
    monkeypatch.setattr(grouped, "CACHE_BYTES", 1)
    monkeypatch.setattr(grouped, "LARGE_BYTES", 0)
    means, held, grouped_once = Means(1, 60_000), [], []
    prepared = Search.prepared

    def recorded(of: Search) -> Search:
        ready = prepared(of)
        sides = [ready.left] if ready.right is None else [ready.left, ready.right]
        beside = sum(part.hashes.nbytes + part.clips.nbytes for many in ready.many for part in many)
        held.append(sum(hash_matches.side_bytes(side) for side in sides) + beside)
        grouped_once.append(bool(ready.many))
        return ready

    rng = np.random.default_rng(0)
    shards = [
        shard(f"d-{k:05d}", [clip(f"{k}v{i:03d}", random_hashes(rng, 12)) for i in range(count)])
        for k, count in enumerate((400, new))
    ]
    params = Dedup(center=False, crops=False)
    update_index(Storage(str(tmp_path)), INDEX, shards[:1], params, means)
    monkeypatch.setattr(Search, "prepared", recorded)
    update_index(Storage(str(tmp_path)), INDEX, shards, params, means)
    assert len(held) > 3
    assert max(held) <= means.memory_bytes
    assert any(grouped_once) == (new < 0.2 * (400 + new))


def test_clips_without_pictures_take_no_blocks_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    rows = [clip(f"v{k:03d}", random_hashes(rng, 3)) for k in range(300)]
    seen = {130: b"a", 131: b"b", 299: b"c"}
    for k, course in seen.items():
        rows[k]["course"] = 256 * course
    for clips, expected in ((rows, [128, 64, 64, 44]), (rows[:0], [0])):
        blocks = blocks_of(make_part("d-00000", table(clips), None, 1))
        assert [len(block) for name, block in blocks if name == "pictures"] == expected
    library = update_index(Storage(str(tmp_path)), INDEX, [shard("d-00000", rows)], Dedup()).library
    asked = np.array([299, 0, 131, 64, 130, 200, 131])
    taken = library.take("pictures", asked, BLOCKS["pictures"].names)
    assert taken.schema == BLOCKS["pictures"]
    assert taken["course"].to_pylist() == [256 * seen[k] if k in seen else None for k in asked.tolist()]


def test_small_segments_are_made_again_with_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_segments, "ROWS", 12)
    rng = np.random.default_rng(1)
    shards = [shard(f"d-{k:05d}", [clip(f"v{k}", random_hashes(rng, 4))]) for k in range(40)]
    counts = []
    for k in range(1, 41):
        update_index(Storage(str(tmp_path)), INDEX, shards[:k], Dedup())
        manifest = read_manifest(Storage(str(tmp_path)), INDEX)
        assert manifest is not None
        counts.append(len(manifest["segments"]))
        assert len(list((tmp_path / INDEX / "segments").iterdir())) == counts[-1]
    assert max(counts) <= 40 // 5 + 1
    assert counts[-1] > 3


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(2, 9))
def test_a_hash_of_many_clips_is_known_however_they_come(seed: int, steps: int, most: int) -> None:
    """What is shown more often than others may be is known, with its number; what is not known is shown no more often than is said."""
    rng = np.random.default_rng(seed)
    cards = random_hashes(rng, 4)
    shards = [
        shard(
            f"d-{k:05d}", [clip(f"v{k}x{i}", [*random_hashes(rng, 2), cards[int(rng.integers(4))]]) for i in range(5)]
        )
        for k in range(steps)
    ]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(common, "COMMON", most)
        known = SharedHashes(np.empty(0, np.uint64), np.empty(0, np.uint64), 0)
        before = 0
        for k in range(1, steps + 1):
            library = update_index(Storage(folder), INDEX, shards[:k], Dedup()).library
            more = known.with_more(looked_up(library, "frames", 0, before, library.distinct), exactly=True)
            again = count_all(library, "frames", 0, [(0, library.distinct)], 1 << 30)
            known = again if more is None else more
            before = library.distinct
            values, often = np.unique(looked_up(library, "frames", 0, 0, before), return_counts=True)
            held = dict(zip(known.hashes.tolist(), known.counts.tolist(), strict=True))
            for value, count in zip(values.tolist(), often.tolist(), strict=True):
                assert count <= held.get(value, 0) + known.unknown
                assert count <= most or value in held
                assert value not in held or (held[value] > most) == (count > most)


def _written(folder: Path, lengths: Sequence[int]) -> tuple[Storage, str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(3)
    kinds = (np.uint8, np.uint64, np.int32)
    arrays = {f"a{k}": rng.integers(0, 200, n).astype(kinds[k % 3]) for k, n in enumerate(lengths)}
    storage = Storage(str(folder))
    digest = write_arrays(storage, "x.arrays", {n: [a[:1], a[1:]] for n, a in arrays.items()}, {"said": [1]})
    return storage, digest, arrays


def test_any_stretch_of_an_array_is_read(tmp_path: Path) -> None:
    per = PIECE // 8
    storage, digest, arrays = _written(tmp_path, (3, 3 * per + 7, 0, 2 * PIECE + 5, per))
    file = open_arrays(storage, "x.arrays", digest)
    assert file.about == {"said": [1]}
    for name, values in arrays.items():
        assert file.length(name) == len(values)
        for low, high in ((0, len(values)), (0, 1), (per - 1, per + 1), (len(values) - 3, len(values)), (2, 2)):
            if 0 <= low <= high <= len(values):
                assert np.array_equal(file.read(name, low, high), values[low:high])
        places = np.random.default_rng(2).integers(0, max(1, len(values)), min(20, len(values)))
        assert np.array_equal(file.pick(name, places), values[places])


def test_any_flipped_bit_of_an_array_is_noticed(tmp_path: Path) -> None:
    storage, digest, _ = _written(tmp_path, (3, 500, 77, 1))
    path = tmp_path / "x.arrays"
    whole = path.read_bytes()
    for bit in np.random.default_rng(1).integers(0, 8 * len(whole), 300):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(data)
        with pytest.raises(DamagedIndex):
            open_arrays(storage, "x.arrays", digest).check()
    path.write_bytes(whole[:-5])
    with pytest.raises(DamagedIndex):
        open_arrays(storage, "x.arrays", digest)
