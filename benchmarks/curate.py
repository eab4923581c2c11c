"""What curating a subset costs, and in how much memory: `python -m benchmarks.curate [--clips 1000000] [--criteria random ...]`.

Writes generated score tables (shards of 10,000 clips, two clips a video) into a temporary folder and curates each criterion in a
process of its own. The baseline is one scan: the columns that the rules need, read once shard by shard and compared with pyarrow.
`--passed 62000000` runs the criteria alone, on so many candidates that passed, two clips a video and of four classes: what a process holds of them at the seeds' size.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.ingest import measured
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

PER_SHARD = 10_000
RULES = ["keep", "aesthetic >= p20", "text_area <= 0.9", "motion between 0.02 and 0.98", "sharpness > 5"]
CRITERIA = {
    "all": {"criterion": "all"},
    "random": {"criterion": "random", "count": 100_000},
    "video_balanced": {"criterion": "video_balanced", "count": 100_000},
    "class_balanced": {"criterion": "class_balanced", "class_by": "language", "count": 100_000, "temperature": 0.5},
    "cluster_balanced": {"criterion": "cluster_balanced", "count": 100_000},
    "max_motion": {"criterion": "max_motion", "count": 100_000},
    "min_redundancy": {"criterion": "min_redundancy", "class_by": "language", "per_class": 500},
}
DIM = 512
"""Length of the embeddings that min_redundancy compares; they are written only where it is asked for."""
TABLES = ("clips", "motion_scores", "quality_scores", "dedup", "text_scores", "aesthetic_scores", "captions")


def recipe(criterion: str) -> Recipe:
    subset = {"where": RULES, "select": CRITERIA[criterion], "split": {"train": 0.9, "val": 0.05, "test": 0.05}}
    return Recipe.model_validate(
        {"dataset": "bench", "source": {"format": "ids", "path": "x"}, "subsets": {"s": subset}}
    )


def shard_tables(number: int, clips: int, embedded: bool, per_video: int = 2) -> dict[str, pa.Table]:
    """Score tables of one shard: uniform scores, one clip in ten in a cluster of near-duplicates, short captions, an embedding if `embedded`;
    `per_video` clips of each video."""
    chance = np.random.default_rng(number)
    videos = [f"{number * 7919 % 10007:05d}v{number:05d}{i // per_video:05d}" for i in range(clips)]
    start = (np.arange(clips) % per_video) * 5000
    ids = [f"{v}_{s}_{s + 5000}" for v, s in zip(videos, start.tolist(), strict=True)]
    clustered = chance.random(clips) < 0.1
    columns: dict[str, Any] = {
        "dataset": ["bench"] * clips,
        "video_id": videos,
        "clip_id": ids,
        "status": ["ok"] * clips,
        "start_ms": start,
        "end_ms": start + 5000,
        "width": np.full(clips, 1280),
        "height": np.full(clips, 720),
        "keep": chance.random(clips) < 0.95,
        "cluster_id": [
            f"c{c % (clips * 10)}" if k else None
            for c, k in zip(chance.integers(0, 10**9, clips).tolist(), clustered.tolist(), strict=True)
        ],
        "caption": [
            f"a person walks along a street with number {i} in the rain"
            for i in chance.integers(0, 10**6, clips).tolist()
        ],
        "language": [("en", "de", "fr", "es")[i] for i in chance.choice(4, clips, p=(0.7, 0.2, 0.07, 0.03)).tolist()],
        "estimator": ["e"] * clips,
        "backend": ["source"] * clips,
        "model": ["m"] * clips,
        "head": ["h"] * clips,
    }
    tables = {}
    if embedded:
        vectors = chance.standard_normal((clips, DIM), np.float32)
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
        columns["embedding"] = pa.ListArray.from_arrays(np.arange(0, (clips + 1) * DIM, DIM), vectors.ravel())
        columns["time_ms"] = start
    for asset in (*TABLES, "frame_embeddings") if embedded else TABLES:
        arrays = []
        for field in schema(asset).arrow:
            if field.name in columns and not (asset == "captions" and field.name == "status"):
                arrays.append(pa.array(columns[field.name], field.type))
            elif pa.types.is_floating(field.type):
                arrays.append(pa.array(chance.random(clips) * (100 if field.name == "sharpness" else 1), field.type))
            elif pa.types.is_string(field.type) and not field.nullable:
                arrays.append(pa.array(["ok"] * clips, field.type))
            else:
                arrays.append(pa.nulls(clips, field.type))
        tables[asset] = pa.table(arrays, schema=schema(asset).arrow).sort_by(
            [(k, "ascending") for k in schema(asset).key]
        )
    return tables


def generate(root: str, clips: int, embedded: bool, per_video: int = 2) -> None:
    """Writes the tables of `clips` clips."""
    import pyarrow.parquet as pq

    store = TableStore(Storage(root), SCHEMAS)
    for number in range(max(1, clips // PER_SHARD)):
        for asset, table in shard_tables(number, min(clips, PER_SHARD), embedded, per_video).items():
            path = Path(root) / store.path(asset, f"bench-{number:05d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, compression="zstd")


def scan(root: str) -> None:
    """The baseline."""
    store = TableStore(Storage(root), SCHEMAS)
    wanted = {
        "dedup": "keep",
        "aesthetic_scores": "aesthetic",
        "text_scores": "text_area",
        "motion_scores": "motion",
        "quality_scores": "sharpness",
    }
    for shard in store.partitions("clips"):
        for asset, column in wanted.items():
            table = store.read(asset, shard, ["clip_id", column])
            pc.sum(pc.greater_equal(table[column].cast(pa.float64()), 0.5))


def curate_one(root: str, criterion: str, scratch: str) -> None:
    from curation_assets.publish.curating.curating import curate

    store, made = TableStore(Storage(root), SCHEMAS), recipe(criterion)
    shards = [("bench", k) for k in store.partitions("clips")]
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        found = curate("bench-s", made.subsets["s"], {"bench": made}, shards, store.read, Path(folder))
        print(
            f"    {criterion}: {found.funnel[0].rows:,} candidates, {found.funnel[-2].rows:,} passed, {found.report['selected']:,} selected",
            flush=True,
        )


def choose_one(criterion: str, count: int, labels: int = 4) -> None:
    """A criterion alone, on candidates of so many classes that come a shard at a time; embeddings have eight numbers, the same for all, so that no memory is theirs."""
    from curation_assets.publish.curating.criteria import Candidates, choose
    from curation_resources.growing_array import GrowingArray

    chance = np.random.default_rng(0)
    order, videos, classes, scores = (GrowingArray(kind) for kind in (np.uint64, np.int32, np.int32, np.float64))
    for start in range(0, count, PER_SHARD):
        rows = min(PER_SHARD, count - start)
        order.add(chance.integers(0, 2**64, rows, np.uint64))
        if criterion == "video_balanced":
            videos.add((start + np.arange(rows)) // 2)
        if criterion in ("class_balanced", "cluster_balanced", "min_redundancy"):
            classes.add(chance.integers(0, count // 5 if criterion == "cluster_balanced" else labels, rows))
        if criterion == "max_motion":
            scores.add(chance.random(rows))
    asked = recipe(criterion).subsets["s"].select
    names = [str(n) for n in range(labels)]
    vectors = np.broadcast_to(np.full(8, 8**-0.5, np.float16), (count, 8))
    candidates = Candidates(order.whole(), videos.whole(), classes.whole(), names, scores.whole(), vectors)
    found = choose(candidates, asked)
    print(f"    {criterion}: {found.report['selected']:,} of {count:,} chosen", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument(
        "--criteria", nargs="+", choices=list(CRITERIA), default=[c for c in CRITERIA if c != "min_redundancy"]
    )
    parser.add_argument("--folder", help="where the temporary files go")
    parser.add_argument("--passed", type=int, help="run the criteria alone, on so many candidates")
    parser.add_argument(
        "--classes",
        type=int,
        default=4,
        help="of the candidates that passed, for class_balanced and min_redundancy alone",
    )
    options = parser.parse_args()
    if options.passed:
        for step in options.criteria:
            cost = measured(choose_one, step, options.passed, options.classes)
            print(f"{options.passed:11,} {step:17} {cost.cpu_s:8.1f} CPU s {cost.peak_mb:8.0f} MB", flush=True)
        return
    print(f"{'clips':>11} {'step':17} {'wall s':>8} {'CPU s':>8} {'clips/s':>9} {'peak MB':>8} {'x baseline':>10}")
    for clips in options.clips:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            made = measured(generate, f"{folder}/data", clips, "min_redundancy" in options.criteria)
            print(f"{clips:11,} {'generate':17} {made.wall_s:8.1f} {made.cpu_s:8.1f}", flush=True)
            baseline = measured(scan, f"{folder}/data")
            for step in ("scan", *options.criteria):
                cost = baseline if step == "scan" else measured(curate_one, f"{folder}/data", step, folder)
                print(
                    f"{clips:11,} {step:17} {cost.wall_s:8.1f} {cost.cpu_s:8.1f} {clips / cost.wall_s:9,.0f} {cost.peak_mb:8.0f} {cost.cpu_s / baseline.cpu_s:10.1f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
