"""Near-duplicate search over generated fingerprints of the real shape, with planted copies.

    python -m benchmarks.dedup --clips 1000000 [--search copies] [--increment 10000] [--threads 1] [--pictures]

A clip has 8 to 16 hashes of whole pictures and as many of their centres. Hashes are those of phash: 33 of 64 bits are set, one of them always, so that
distances are even; each differs from the one before it in the clip by 4 to 8 bits, as a picture's does once it is kept. One clip in ten is a copy of the one
before it: *real* ones differ in each frame by 0 to 6 bits, in whole pictures and centres; *hardest* ones (one in five of them) match in two frames, both at
exactly the largest distance, and agree in the others and in their centres at 14 bits. One hash in two hundred is one of a thousand
title cards. With `--pictures` clips also have windows, courses and stills, as the product uses them, and one clip in ten is a crop.

Prints CPU seconds by part, the peak of memory, recall of either kind of copy, false merges, and the cost of adding some clips afterwards. The baseline is the
comparison of all pairs of hashes, timed on a part and extrapolated.
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
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.dedup_pictures import CROP, DURATION_MS, Pictures
from curation_assets.contracts.tables import RECT
from curation_assets.decode.measures import windows
from curation_assets.dedup.clusters import build_clusters
from curation_assets.dedup.duplicate_clusters import Dedup
from curation_assets.dedup.index import ShardInput
from curation_assets.dedup.search import Means
from curation_assets.schemas import schema
from curation_resources.content_hash import content_hash
from curation_resources.storage import Storage

LEAST, MOST = 8, 16
COPY_EVERY: Final = 10
HARDEST_EVERY: Final = 5
SHARD_CLIPS: Final = 100_000
CARDS: Final = 1000
CARD_SHARE: Final = 0.005
AT_ONCE: Final = 5000
"""Clips whose pictures are made at a time, a multiple of `COPY_EVERY`."""
WEIGHT: Final = 33
CONSTANT: Final = np.uint64(1 << 63)

Hashes = NDArray[np.uint64]


def balanced(rng: np.random.Generator, count: int) -> Hashes:
    """Hashes with the highest bit and 32 others set."""
    order = rng.random((count, 63), np.float32).argpartition(WEIGHT - 1, axis=1)[:, : WEIGHT - 1]
    bits: Hashes = np.bitwise_or.reduce(np.uint64(1) << order.astype(np.uint64), axis=1)
    return bits | CONSTANT


def swapped(rng: np.random.Generator, hashes: Hashes, pairs: NDArray[np.int64]) -> Hashes:
    """The hashes with so many set bits cleared and as many others set, the highest left alone."""
    out = hashes.copy()
    left = pairs.copy()
    while (open_ := np.flatnonzero(left > 0)).size:
        one, other = (np.uint64(1) << rng.integers(0, 63, len(open_)).astype(np.uint64) for _ in range(2))
        value, before = out[open_], hashes[open_]
        fits = (value & one != 0) & (before & one != 0) & (value & other == 0) & (before & other == 0)
        out[open_[fits]] ^= one[fits] | other[fits]
        left[open_[fits]] -= 1
    return out


def chains(rng: np.random.Generator, counts: NDArray[np.int64]) -> Hashes:
    """Hashes of clips, each 4 to 8 bits from the one before it."""
    start = np.append(0, np.cumsum(counts))
    out = np.empty(start[-1], np.uint64)
    current = balanced(rng, len(counts))
    for k in range(MOST):
        at = np.flatnonzero(counts > k)
        if k:
            current[at] = swapped(rng, current[at], rng.integers(2, 5, len(at)))
        out[start[at] + k] = current[at]
    return out


def copied(
    rng: np.random.Generator, hashes: Hashes, hard: NDArray[np.bool_], first: NDArray[np.bool_], distance: int
) -> Hashes:
    """Copies: frames of real ones lie within 6 bits; of the hardest ones the first two lie at the largest distance, the others at 14 bits."""
    pairs = np.where(hard, np.where(first, distance // 2, 7), rng.integers(0, 4, len(hashes)))
    return swapped(rng, hashes, pairs)


def window_hashes(rng: np.random.Generator, clips: int) -> Hashes:
    """Of each clip `windows.FRAMES` frames, of each frame `windows.COUNT` windows; those of one window are like frames of a clip."""
    frames = chains(rng, np.full(clips * windows.COUNT, windows.FRAMES))
    return frames.reshape(clips, windows.COUNT, windows.FRAMES).transpose(0, 2, 1).ravel()


def pictured(shard: int, counts: NDArray[np.int64], whole: Hashes) -> dict[str, pa.Array]:
    """Windows, courses and stills of a shard's clips. Clip `k` with `k % COPY_EVERY == 3` is a crop of the one before it: its hashes in `whole`, which
    is changed, are near those of a window."""
    rng = np.random.default_rng([11, shard])
    clips, start = len(counts), np.append(0, np.cumsum(counts))
    copies, crops = np.arange(1, clips, COPY_EVERY), np.arange(3, clips, COPY_EVERY)
    shown = window_hashes(rng, clips).reshape(clips, windows.FRAMES, windows.COUNT)
    shown[copies] = swapped(rng, shown[copies - 1].ravel(), rng.integers(0, 4, copies.size * 32)).reshape(-1, 4, 8)
    for k in crops.tolist():
        of = shown[k - 1, np.arange(counts[k]) * windows.FRAMES // counts[k], CROP]
        whole[start[k] : start[k + 1]] = swapped(rng, of, rng.integers(0, 4, counts[k]))
    per_clip = windows.FRAMES * windows.COUNT
    frames = np.tile(np.arange(windows.FRAMES) * (DURATION_MS // windows.FRAMES), clips)
    parts = []
    for begin in range(0, clips, AT_ONCE):
        count = min(AT_ONCE, clips - begin)
        mine = (of[(of >= begin) & (of < begin + count)] - begin for of in (copies, crops))
        parts.append(Pictures.made(rng, count).copied(rng, *mine).columns())
    return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]} | {
        "window_hashes": _lists(np.arange(clips + 1) * per_clip, shown.ravel()),
        "window_ms": _lists(np.arange(clips + 1) * windows.FRAMES, frames),
    }


def _lists(start: NDArray[np.int64], values: NDArray[np.generic]) -> pa.Array:
    return pa.ListArray.from_arrays(pa.array(start.astype(np.int32)), pa.array(values))


def shard_table(shard: int, clips: int, distance: int, pictures: bool = False) -> pa.Table:
    """Fingerprints of one shard; clip `k` with `k % COPY_EVERY == 1` copies the one before it.

    Args:
        pictures: with windows, courses, stills and crops (`pictured`).
    """
    rng = np.random.default_rng([7, shard])
    counts = rng.integers(LEAST, MOST + 1, clips)
    copies = np.arange(1, clips, COPY_EVERY)
    counts[copies] = counts[copies - 1]
    start = np.append(0, np.cumsum(counts))
    owner = np.repeat(np.arange(clips), counts)
    place = np.arange(start[-1]) - start[:-1][owner]
    kinds = []
    is_copy = np.zeros(clips, np.bool_)
    is_copy[copies] = True
    hard = np.zeros(clips, np.bool_)
    hard[copies[::HARDEST_EVERY]] = True
    mine = np.flatnonzero(is_copy[owner])
    cards = balanced(np.random.default_rng(1), CARDS)
    for center in (False, True):
        hashes = chains(rng, counts)
        shown = rng.random(len(hashes)) < CARD_SHARE
        hashes = np.where(shown & (place > 1), cards[rng.integers(0, CARDS, len(hashes))], hashes)
        first = (place[mine] < 2) & (not center)
        hashes[mine] = copied(rng, hashes[mine - counts[owner[mine]]], hard[owner[mine]], first, distance)
        kinds.append(hashes)
    extra = pictured(shard, counts, kinds[0]) if pictures else {}
    names = [f"v{shard:05d}x{k:06d}" for k in range(clips)]
    nothing = _lists(start, np.zeros(len(owner), np.bool_))
    columns = {
        "dataset": pa.repeat("bench", clips),
        "video_id": pa.array(names),
        "clip_id": pa.array([f"{n}_0_6000" for n in names]),
        "hashes": _lists(start, kinds[0]),
        "flipped_hashes": pa.nulls(clips, pa.list_(pa.uint64())),
        "blank": nothing,
        "hash_ms": _lists(start, place * 360),
        "center_hashes": _lists(start, kinds[1]),
        "center_blank": nothing,
        "course": pa.nulls(clips, pa.binary()),
        "still": pa.nulls(clips, pa.binary()),
        "content_box": pa.nulls(clips, RECT),
        "picture_aspect": pa.nulls(clips, pa.float32()),
        "window_hashes": pa.nulls(clips, pa.list_(pa.uint64())),
        "window_ms": pa.nulls(clips, pa.list_(pa.int64())),
        "method": pa.repeat("phash", clips),
        "height": pa.array(np.full(clips, 720)),
        "duration_ms": pa.array(np.full(clips, DURATION_MS)),
        "quality": pa.array(rng.random(clips, np.float32)),
        "video_sha256": pa.nulls(clips, pa.string()),
        "start_ms": pa.array(np.zeros(clips, np.int64)),
        **extra,
    }
    contract = schema("clip_fingerprints").arrow
    return pa.table([columns[f.name].cast(f.type) for f in contract], contract)


def inputs(clips: int, distance: int, *, pictures: bool = False) -> Iterator[ShardInput]:
    """Shards of `SHARD_CLIPS` clips, made when they are read."""

    def reader(shard: int, count: int) -> Callable[[], pa.Table]:
        return lambda: shard_table(shard, count, distance, pictures)

    for shard, begin in enumerate(range(0, clips, SHARD_CLIPS)):
        count = min(SHARD_CLIPS, clips - begin)
        yield ShardInput(
            f"bench-{shard:05d}", f"{count} {distance}{' pictures' if pictures else ''}", reader(shard, count)
        )


def judge(clusters: pa.Table, clips: int) -> tuple[float, float, float, int]:
    """Recall of real copies, of hardest copies and of crops, and the number of dropped clips that are no planted copy of their survivor."""
    dropped = clusters.filter(pc.invert(clusters["keep"]))

    def number(ids: pa.ChunkedArray) -> NDArray[np.int64]:
        digits = pc.replace_substring_regex(ids, r"v(\d+)x(\d+)_.*", r"\1\2")
        return np.asarray(digits.cast(pa.int64()).to_numpy())

    one, other = number(dropped["clip_id"]), number(dropped["duplicate_of"])
    low, high = np.minimum(one, other), np.maximum(one, other)
    copies, crops = ((high - low == 1) & (low % 1_000_000 % COPY_EVERY == k) for k in (0, 2))
    hard = low % 1_000_000 // COPY_EVERY % HARDEST_EVERY == 0
    sizes = [min(SHARD_CLIPS, clips - b) for b in range(0, clips, SHARD_CLIPS)]
    planted = sum(len(range(1, n, COPY_EVERY)) for n in sizes)
    hardest = sum(len(range(1, n, COPY_EVERY * HARDEST_EVERY)) for n in sizes)
    return (
        float((copies & ~hard).sum()) / (planted - hardest),
        float((copies & hard).sum()) / hardest,
        float(crops.sum()) / planted,
        int((~copies & ~crops).sum()),
    )


def all_pairs_seconds(hashes: int) -> float:
    """CPU seconds that comparing all pairs of so many hashes would take, from a timed part."""
    values = np.random.default_rng(3).integers(0, 2**64, 1 << 15, np.uint64)
    start, done = time.process_time(), 0
    apart, count = np.empty(1 << 15, np.uint64), np.empty(1 << 15, np.uint8)
    for i in range(2000):
        np.bitwise_xor(values, values[i], out=apart)
        np.bitwise_count(apart, out=count)
        done += len(values) if count.min() == 0 else 0
    return (time.process_time() - start) / done * hashes * (hashes - 1) / 2


def cpu() -> float:
    used = os.times()
    return used.user + used.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=100_000, help="number of clips")
    parser.add_argument("--search", choices=("every_pair", "copies"), default="every_pair", help="what is promised")
    parser.add_argument("--increment", type=int, default=0, help="then add a shard of so many clips")
    parser.add_argument("--threads", type=int, default=2, help="threads of the search")
    parser.add_argument(
        "--memory", type=float, default=4.0, help="GB for the hashes that are searched and what is sorted"
    )
    parser.add_argument(
        "--pictures", action="store_true", help="with windows, courses and stills, and one clip in ten a crop"
    )
    parser.add_argument("--folder", help="where the index is kept while it runs; a temporary folder else")
    parser.add_argument("--made", help="where generated shards are kept and used again; else beside the index")
    options = parser.parse_args()
    params = Dedup(search=options.search)
    means = Means(options.threads, int(options.memory * 1e9))

    with tempfile.TemporaryDirectory(dir=options.folder) as root:
        storage, kept = Storage(root), Storage(options.made or root)
        shards = []
        for item in inputs(options.clips + options.increment, params.distance, pictures=options.pictures):
            name = f"made/{item.shard}-{item.content_hash.replace(' ', '-')}.arrow"
            if not kept.exists(name):
                with kept.publish(name) as file:
                    table = item.read()
                    with pa.ipc.new_file(file, table.schema) as writer:
                        writer.write_table(table)
            path = kept.filesystem(name)[1]
            shards.append(ShardInput(item.shard, item.content_hash, lambda p=path: _stored(p)))  # type: ignore[misc]
        made = cpu()
        print(f"made in {made:.0f} CPU s; peak so far {_peak():.2f} GB", flush=True)
        whole = len(range(0, options.clips, SHARD_CLIPS))
        for label, given in (("whole", shards[:whole]), ("increment", shards)):
            if label == "increment" and not options.increment:
                continue
            begin = cpu()
            found = build_clusters(storage, "index", given, params, means=means)
            end = cpu()
            clusters, figures = found.clusters, found.stats
            clips = figures["clips"]
            print(
                f"{label}: {clips} clips, {figures['hashes']} hashes: {end - begin:.2f} CPU s, "
                f"{1e6 * (end - begin) / clips:.0f} microseconds a clip, peak {_peak():.2f} GB"
            )
            if label == "whole":
                real, hardest, crops, wrong = judge(clusters, clips)
                print(
                    f"  recall of real copies {real:.5f}, of hardest {hardest:.4f}, of crops {crops:.4f} (promised {figures['recall_two_frames']:.4f} "
                )
                print(
                    f"  for two frames at {params.distance} bits, {figures['recall_promised']:.4f} for what is promised), false merges {wrong}"
                )
                pairs = all_pairs_seconds(figures["hashes"] // 2) * 2
                print(f"  all pairs of hashes would take {pairs:.0f} CPU s: {pairs / (end - begin):.1f} times as long")
            names = (
                "pairs_compared",
                "pairs_unlike",
                "pairs_windows",
                "pairs_accepted",
                "pairs_doubtful",
                "common_hashes",
            )
            print(
                "  "
                + ", ".join(f"{name} {figures.get(name, 0)}" for name in names)
                + f", clusters {figures['clusters']}, rows {content_hash(clusters)[:16]}",
                flush=True,
            )


def _stored(path: str) -> pa.Table:
    with pa.memory_map(path) as file:
        return pa.ipc.open_file(file).read_all()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


if __name__ == "__main__":
    main()
