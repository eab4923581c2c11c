"""Near-duplicate search over generated fingerprints with planted copies.

    python -m benchmarks.dedup --clips 1000000 [--skewed] [--increment 1000]

Each clip has three frames. One clip in ten has a planted copy: two of its three frames at exactly the largest distance and the third
one random, the hardest case that counts as a copy. ``--skewed`` draws hash bits with the unequal frequencies and common hashes of real
footage. The baseline is the comparison of all pairs of hashes, timed on a part and extrapolated. Prints seconds, CPU seconds, peak memory,
recall of the planted pairs, and false merges.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.contracts.tables import RECT
from curation_assets.dedup.clusters import decide
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import Index, ShardInput, update_index
from curation_assets.schemas import schema
from curation_resources.storage import Storage

FRAMES: Final = 3
COPY_EVERY: Final = 10
SHARD_CLIPS: Final = 100_000
COMMON_SHARE: Final = 0.01
COMMON_HASHES: Final = 100

Hashes = NDArray[np.uint64]


def random_hashes(rng: np.random.Generator, shape: tuple[int, ...], skewed: bool) -> Hashes:
    """Hashes; if skewed, bit k is set with a chance between 0.2 and 0.8, pairs of bits agree more often than by chance, and
    one hash in a hundred is one of a hundred common ones."""
    if not skewed:
        return rng.integers(0, 2**64, shape, np.uint64)
    chances = np.random.default_rng(0).uniform(0.2, 0.8, 64)
    out = np.zeros(shape, np.uint64)
    previous = np.zeros(shape, np.bool_)
    for bit, chance in enumerate(chances):
        value = rng.random(shape, np.float32) < chance
        follow = rng.random(shape, np.float32) < 0.25
        previous = np.where(follow, previous, value)
        out |= previous.astype(np.uint64) << np.uint64(bit)
    common = np.random.default_rng(1).integers(0, 2**64, COMMON_HASHES, np.uint64)
    return np.where(rng.random(shape) < COMMON_SHARE, common[rng.integers(0, COMMON_HASHES, shape)], out)


def flip_bits(rng: np.random.Generator, hashes: Hashes, count: int) -> Hashes:
    """The hashes with so many different random bits changed."""
    mask = np.zeros(hashes.shape, np.uint64)
    while (open_ := np.bitwise_count(mask) < count).any():
        bit = np.uint64(1) << rng.integers(0, 64, hashes.shape).astype(np.uint64)
        mask = np.where(open_, mask | bit, mask)
    return hashes ^ mask


def shard_table(shard: int, clips: int, skewed: bool, distance: int) -> pa.Table:
    """Fingerprints of one shard; clip `k` with `k % COPY_EVERY == 1` copies the one before it in number."""
    rng = np.random.default_rng([7, shard])
    hashes = random_hashes(rng, (clips, FRAMES), skewed)
    copies = np.arange(1, clips, COPY_EVERY)
    hashes[copies] = flip_bits(rng, hashes[copies - 1], distance)
    hashes[copies, rng.integers(0, FRAMES, len(copies))] = rng.integers(0, 2**64, len(copies), np.uint64)
    names = [f"v{shard:05d}x{k:06d}" for k in range(clips)]
    offsets = pa.array(np.arange(0, FRAMES * clips + 1, FRAMES, dtype=np.int32))

    def lists(values: NDArray[np.generic]) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(values).reshape(-1)))

    columns = {
        "dataset": pa.repeat("bench", clips),
        "video_id": pa.array(names),
        "clip_id": pa.array([f"{n}_0_6000" for n in names]),
        "hashes": lists(hashes),
        "flipped_hashes": pa.nulls(clips, pa.list_(pa.uint64())),
        "blank": lists(np.zeros((clips, FRAMES), np.bool_)),
        "hash_ms": lists(np.tile(np.array([600, 3000, 5400]), (clips, 1))),
        "center_hashes": pa.nulls(clips, pa.list_(pa.uint64())),
        "center_blank": pa.nulls(clips, pa.list_(pa.bool_())),
        "course": pa.nulls(clips, pa.binary()),
        "still": pa.nulls(clips, pa.binary()),
        "content_box": pa.nulls(clips, RECT),
        "picture_aspect": pa.nulls(clips, pa.float32()),
        "window_hashes": pa.nulls(clips, pa.list_(pa.uint64())),
        "window_ms": pa.nulls(clips, pa.list_(pa.int64())),
        "method": pa.repeat("phash", clips),
        "height": pa.array(np.full(clips, 720)),
        "duration_ms": pa.array(np.full(clips, 6000)),
        "quality": pa.array(rng.random(clips, np.float32)),
        "video_sha256": pa.nulls(clips, pa.string()),
        "start_ms": pa.array(np.zeros(clips, np.int64)),
    }
    return pa.table(
        [columns[f.name].cast(f.type) for f in schema("clip_fingerprints").arrow], schema("clip_fingerprints").arrow
    )


def reader(shard: int, count: int, skewed: bool, distance: int) -> Callable[[], pa.Table]:
    return lambda: shard_table(shard, count, skewed, distance)


def inputs(clips: int, skewed: bool, distance: int) -> Iterator[ShardInput]:
    """Shards of `SHARD_CLIPS` clips, made when they are read."""
    for shard, first in enumerate(range(0, clips, SHARD_CLIPS)):
        count = min(SHARD_CLIPS, clips - first)
        yield ShardInput(f"bench-{shard:05d}", f"{count} {skewed} {distance}", reader(shard, count, skewed, distance))


def judge(index: Index, clusters: pa.Table) -> tuple[float, int]:
    """Recall of the planted pairs, and the number of dropped clips that are no planted copy of their survivor."""
    dropped = clusters.filter(pa.compute.invert(clusters["keep"]))

    def number(ids: pa.ChunkedArray) -> NDArray[np.int64]:
        digits = pa.compute.replace_substring_regex(ids, r"v(\d+)x(\d+)_.*", r"\1\2")
        return np.asarray(digits.cast(pa.int64()).to_numpy())

    one, other = number(dropped["clip_id"]), number(dropped["duplicate_of"])
    low, high = np.minimum(one, other), np.maximum(one, other)
    right = (high - low == 1) & (low % 1_000_000 % COPY_EVERY == 0)
    shards = np.bincount(index.clips["shard"].to_numpy())
    planted = sum(len(range(1, n, COPY_EVERY)) for n in shards.tolist())
    return float(right.sum()) / planted, int((~right).sum())


def all_pairs_seconds(hashes: int, distance: int) -> float:
    """CPU seconds that comparing all pairs of so many hashes would take, from a timed part."""
    values = np.random.default_rng(3).integers(0, 2**64, 200_000, np.uint64)
    start, done, count = time.process_time(), 0, np.empty(1 << 15, np.uint8)
    apart = np.empty(1 << 15, np.uint64)
    for i in range(2000):
        block = values[: 1 << 15]
        np.bitwise_xor(block, values[i], out=apart)
        np.bitwise_count(apart, out=count)
        done += len(block) if count.min() >= 0 and distance >= 0 else 0
    return (time.process_time() - start) / done * hashes * (hashes - 1) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000, help="number of clips")
    parser.add_argument(
        "--distance", type=int, default=Dedup().distance, help="distance of the planted copies and of the search"
    )
    parser.add_argument(
        "--skewed", action="store_true", help="hash bits as uneven as those of footage, with common hashes"
    )
    parser.add_argument("--increment", type=int, default=0, help="then add a shard of so many clips")
    parser.add_argument("--threads", type=int, default=2, help="threads of the search")
    options = parser.parse_args()
    params = Dedup(distance=options.distance, agree=max(options.distance, Dedup().agree))

    with tempfile.TemporaryDirectory() as root:
        storage = Storage(root)
        for label, clips in (("whole", options.clips), ("increment", options.clips + options.increment)):
            if label == "increment" and not options.increment:
                continue
            shards = list(inputs(options.clips, options.skewed, options.distance))
            if label == "increment":
                shards.append(
                    ShardInput(
                        "bench-99999", "more", reader(99999, options.increment, options.skewed, options.distance)
                    )
                )
            wall, cpu = time.perf_counter(), os.times()
            index = update_index(storage, "index", shards, params, options.threads)
            searched = time.perf_counter() - wall
            clusters, stats = decide(index, params)
            used = os.times()
            cpu_s = used.user + used.system - cpu.user - cpu.system
            recall, wrong = judge(index, clusters)
            pairs = all_pairs_seconds(index.stats["hashes"], params.distance)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
            print(
                f"{label}: {clips} clips, {index.stats['hashes']} hashes: {time.perf_counter() - wall:.1f} s "
                f"(index {searched:.1f} s), {cpu_s:.1f} CPU s, peak {peak:.2f} GB"
            )
            print(
                f"  recall {recall:.4f} of planted pairs at exactly {params.distance} bits (expected at least "
                f"{index.stats['recall_two_frames']:.4f}), false merges {wrong}, clusters {stats['clusters']}"
            )
            print(
                f"  pairs of clips compared {index.stats['pairs_compared']}, doubtful {index.stats['pairs_doubtful']}, common hashes "
                f"{index.stats['common_hashes']}, pairs left out for them {index.stats['common_pairs_left_out']}"
            )
            print(f"  all pairs of hashes would take {pairs:.0f} CPU s: {pairs / cpu_s:.1f} times as long")


if __name__ == "__main__":
    main()
