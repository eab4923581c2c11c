"""A storage root with more clips than a block of `curation look` has, whose shards lie mixed in the table of a subset: no media, and scores drawn at random, some unknown, many alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from curation_assets.publish.curating.curating import curate
from curation_assets.publish.curating.subset_inputs import curated_provenance, subset_shards
from curation_assets.recipes import Recipe, parse_recipe, subsets
from curation_assets.schemas import schema
from curation_resources.provenance import Provenance
from curation_resources.tables import TableStore

RECIPE = """dataset: wide
source: {format: folder, path: films}
subsets:
  hq: {where: [keep, "motion >= 0.3", "sharpness <= p90", "duration_s between 2 and 8"]}
  new: {where: ["motion >= 0.5"]}
"""
SHARDS, VIDEOS, PER_VIDEO = 3, 1500, 100


def recipes() -> dict[str, Recipe]:
    return {"wide": parse_recipe(RECIPE, "wide.yaml")}


def fill(store: TableStore, folder: Path) -> None:
    """Writes the tables; the subset `hq` is judged, `new` is not."""
    for number in range(SHARDS):
        shard = f"wide-{number:05d}"
        for asset, table in _tables(number).items():
            store.commit(asset, shard, table, Provenance("1"))
    judge(store, "wide-hq", folder)


def judge(store: TableStore, key: str, folder: Path) -> None:
    """Judges a subset and commits its table, as a run does."""
    recipe, subset = subsets(recipes())[key]
    found = curate(key, subset, recipes(), subset_shards(store, subset, recipe.dataset), store.read, folder)
    now = curated_provenance(store, recipes(), key)
    stats = {"funnel": [[s.rule, s.rows, s.hours] for s in found.funnel], "missing_shards": found.missing}
    assert found.parts is not None
    store.commit_written("curated_clips", key, found.path, now, found.parts, stats)


def _tables(number: int) -> dict[str, pa.Table]:
    rng = np.random.default_rng(number)
    videos = np.repeat(np.arange(number, VIDEOS, SHARDS), PER_VIDEO)  # the videos of a shard lie among those of others
    rows = len(videos)
    start = np.tile(np.arange(PER_VIDEO) * 10_000, rows // PER_VIDEO)
    end = start + rng.integers(500, 10_000, rows)
    ids = {
        "dataset": pa.array(["wide"] * rows),
        "video_id": pa.array([f"v{v:05d}" for v in videos.tolist()]),
        "clip_id": pa.array([f"v{v:05d}_{s:06d}" for v, s in zip(videos.tolist(), start.tolist(), strict=True)]),
    }

    def some(values: np.ndarray, unknown: float) -> pa.Array:
        return pa.array(values, mask=rng.random(rows) < unknown)

    copies = rng.random(rows) < 0.1
    clusters = np.where(copies, rng.integers(0, 500, rows), -1)
    own = {
        "clips": {"status": pa.array(["ok"] * rows), "start_ms": start, "end_ms": end, "width": rng.choice([640, 1280], rows), "height": rng.choice([360, 720], rows)},
        "motion_scores": {"motion": some(rng.random(rows).astype(np.float32), 0.05), "estimator": pa.array(["e"] * rows)},
        "quality_scores": {"sharpness": some(rng.integers(0, 7, rows).astype(np.float32), 0.2), "blank": rng.random(rows).astype(np.float32), "estimator": pa.array(["e"] * rows)},
        "dedup": {
            "keep": ~copies | (rng.random(rows) < 0.2),
            "similarity": some(rng.random(rows).astype(np.float32), 0.5),
            "relation": some(rng.choice(["copy", "cropped"], rows), 0.5),
            "cluster_id": pa.array([f"k{c}" if c >= 0 else None for c in clusters.tolist()]),
        },
    }  # fmt: skip
    return {asset: _table(asset, {**ids, **columns}) for asset, columns in own.items()}


def _table(asset: str, columns: dict[str, pa.Array | np.ndarray]) -> pa.Table:
    form, rows = schema(asset).arrow, len(columns["dataset"])
    return pa.table(
        [pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in form],
        schema=form,
    )
