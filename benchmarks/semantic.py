"""What semantic duplicates over all shards cost, and in how much memory: `python -m benchmarks.semantic [--clips 300000 1000000] [--share 0.5]`.

Writes generated `clip_concepts` (shards of 10,000 clips, concepts of about 500, embeddings of 32 numbers) into a temporary folder, of which a share says what another clip of its concept
says, and compares them in a process of its own: all of them, then with one shard that came.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
import pyarrow as pa

from benchmarks.ingest import measured
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_resources.provenance import Provenance
from curation_resources.replace import ANY
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

PER_SHARD, PER_CONCEPT, DIM = 10_000, 500, 32
THINGS = 5
"""What clips of a concept say, in so many ways."""
MEMORY_MB = 64


def recipe() -> Recipe:
    """Of a dataset that asks for them."""
    concepts = {"embeddings": {"model": "ViT-B-32", "pretrained": "openai"}, "concepts": {}, "semantic_dedup": {}}
    return Recipe.model_validate({"dataset": "bench", "source": {"format": "ids", "path": "x"}, **concepts})


def generate(root: str, first: int, shards: int, clips: int, share: float) -> None:
    """Writes shards of a dataset of so many clips, of which a share says what others say."""
    store, form = TableStore(Storage(root), SCHEMAS), schema("clip_concepts").arrow
    concepts = max(1, clips // PER_CONCEPT)
    things = np.random.default_rng(0).standard_normal((concepts * THINGS, DIM))
    for number in range(first, first + shards):
        chance = np.random.default_rng(number)
        count = min(PER_SHARD, clips)
        concept = chance.integers(0, concepts, count)
        vectors = chance.standard_normal((count, DIM))
        said = chance.random(count) < share
        which = concept[said] * THINGS + chance.integers(0, THINGS, int(said.sum()))
        vectors[said] = things[which] + vectors[said] * 0.05
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        videos = [f"v{number:05d}{n:05d}" for n in range(count)]
        columns = {
            "dataset": pa.array(["bench"] * count),
            "video_id": pa.array(videos),
            "clip_id": pa.array([f"{v}_0_5000" for v in videos]),
            "concept": pa.array(concept, pa.int32()),
            "concept_distance": pa.array(chance.random(count), pa.float32()),
            "clip_embedding": pa.ListArray.from_arrays(
                np.arange(0, (count + 1) * DIM, DIM, dtype=np.int32), vectors.astype(np.float16).ravel()
            ),
        }
        table = pa.table([columns[f.name].cast(f.type) for f in form], schema=form)
        store.commit("clip_concepts", f"bench-{number:05d}", table, Provenance("1"))


def compare(root: str) -> None:
    """Brings the table up to date."""
    from curation_assets.concepts.semantic_maker import compare_concepts

    store = TableStore(Storage(root), SCHEMAS)
    settings = Settings(storage=root, search_memory_mb=MEMORY_MB)
    header, _ = compare_concepts(
        store, {"bench": recipe()}, settings, store.usable_header("semantic_duplicates") or ANY, shown=False
    )
    print(f"    {header.rows:,} rows, {header.stats['dropped']:,} dropped, {header.content_hash[:12]}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[300_000, 1_000_000])
    parser.add_argument("--share", type=float, default=0.5, help="of the clips that say what others say")
    parser.add_argument("--folder", help="where the temporary files go")
    options = parser.parse_args()
    for clips in options.clips:
        shards = max(1, clips // PER_SHARD)
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            for first, count, what in ((0, shards, "all"), (shards, 1, "one shard more")):
                measured(generate, folder, first, count, clips, options.share)
                cost = measured(compare, folder)
                print(f"{clips:11,} {what:15} {cost.cpu_s:8.1f} CPU s {cost.peak_mb:8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
