"""Step `tracks`: all tracks of a subset judged and published, and again under another threshold.

Two clips a video and four tracks a clip, with two boxes each, and a tenth of the tracks with twenty, whose digits are as those of real ones; of boxes, only those of
the selected tracks are read, for the list that is published with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from benchmarks.ingest import measured
from benchmarks.scale.rows import Line, Row
from curation_assets.engine.run import Run
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

TRACKS = 32_000_000
PER_SHARD, PER_CLIP = 10_000, 4
LABELS = ("person", "car", "dog", "cat", "bird", "boat")


def shard_tables(number: int, boxes: int = 2) -> dict[str, pa.Table]:
    """`clips` and `tracks` of a shard, of so many boxes each."""
    chance = np.random.default_rng(number)
    clips = PER_SHARD // PER_CLIP
    videos = [f"{number * 7919 % 10007:05d}v{number:05d}{i // 2:05d}" for i in range(clips)]
    start = (np.arange(clips) % 2) * 5000
    ids = [f"{v}_{s}_{s + 5000}" for v, s in zip(videos, start.tolist(), strict=True)]
    of = np.repeat(np.arange(clips), PER_CLIP)
    begin = start[of] + chance.integers(0, 2000, PER_SHARD)
    if boxes == 2:
        drawn = pa.array([[[0.0, 0, 10, 10], [5.0, 5, 15, 15]]] * PER_SHARD)
        scores = pa.array([[0.9, 0.8]] * PER_SHARD)
    else:
        moved = chance.random((PER_SHARD, 1, 4)) * 500 + np.cumsum(chance.normal(0, 3, (PER_SHARD, boxes, 4)), 1)
        drawn = pa.array(moved.astype(np.float32).tolist())
        scores = pa.array(chance.random((PER_SHARD, boxes)).tolist())
    clip_rows: dict[str, Any] = {
        "video_id": videos, "clip_id": ids, "start_ms": start, "end_ms": start + 5000, "width": np.full(clips, 1280), "height": np.full(clips, 720),
    }  # fmt: skip
    track_rows: dict[str, Any] = {
        "video_id": [videos[i] for i in of.tolist()],
        "clip_id": [ids[i] for i in of.tolist()],
        "track_id": [f"{ids[i]}_{n % PER_CLIP:04d}" for n, i in enumerate(of.tolist())],
        "label": [LABELS[i] for i in chance.choice(len(LABELS), PER_SHARD).tolist()],
        "score": chance.random(PER_SHARD),
        "start_ms": begin,
        "end_ms": begin + chance.integers(200, 3000, PER_SHARD),
        "area": chance.random(PER_SHARD),
        "motion": chance.random(PER_SHARD),
        "boxes": drawn,
        **dict.fromkeys(("box_scores", "box_label_scores"), scores),
        "box_labels": pa.array([["person"] * boxes] * PER_SHARD),
        "top_labels": pa.array([["person"]] * PER_SHARD),
        **{name: pa.array([[0.9]] * PER_SHARD) for name in ("top_scores", "top_scores_std")},
        "frame_ms": pa.array([list(range(0, 200 * boxes, 200))] * PER_SHARD),
    }
    return {"clips": _table("clips", clip_rows, clips), "tracks": _table("tracks", track_rows, PER_SHARD)}


def _table(asset: str, given: dict[str, Any], rows: int) -> pa.Table:
    arrays = []
    for field in schema(asset).arrow:
        if field.name in given:
            arrays.append(pa.array(given[field.name]).cast(field.type))
        elif field.name == "dataset":
            arrays.append(pa.array(["bench"] * rows))
        elif field.nullable:
            arrays.append(pa.nulls(rows, field.type))
        elif pa.types.is_string(field.type):
            arrays.append(pa.array(["ok"] * rows, field.type))
        elif pa.types.is_list(field.type):
            arrays.append(pa.array([[]] * rows, field.type))
        else:
            arrays.append(pa.array(np.ones(rows)).cast(field.type))
    return pa.table(arrays, schema=schema(asset).arrow)


def generate(root: str, tracks: int, boxes: int = 2) -> None:
    """Writes the tables of `tracks` tracks of so many boxes."""
    import pyarrow.parquet as pq

    store = TableStore(Storage(root), SCHEMAS)
    for number in range(max(1, tracks // PER_SHARD)):
        for asset, table in shard_tables(number, boxes).items():
            path = Path(root) / store.path(asset, f"bench-{number:05d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, compression="zstd")


def publish(root: str, score: float) -> None:
    """`curated_tracks`, as a run brings it up to date; whether all its inputs are complete is not looked at."""
    from curation_assets.publish.curated_maker import CuratedMaker

    subset = {
        "of": "tracks",
        "where_tracks": [f"score >= {score}", "motion >= p10", "duration_s >= 0.5"],
        "select": {"criterion": "class_balanced", "per_class": 100_000},
        "split": {"train": 0.9, "val": 0.1},
    }
    made = {"dataset": "bench", "source": {"format": "ids", "path": "x"}, "subsets": {"s": subset}}
    recipe = Recipe.model_validate({**made, "tracks": {"detector": "faces"}})
    run = Run(TableStore(Storage(root), SCHEMAS), {"bench": recipe}, Settings(storage=root))
    with patch("curation_assets.publish.curated_maker.lacks", lambda *_: []):
        (outcome,) = CuratedMaker("tracks").bring(run, "bench-s", ["curated_tracks"])
    assert outcome.made is not None


def tracks(folder: Path, share: float) -> Iterator[Line]:
    """Judging all tracks, and again for another threshold."""
    for boxes, part in ((2, share), (20, share / 10)):
        count, root = max(PER_SHARD, int(TRACKS * part) // PER_SHARD * PER_SHARD), f"{folder}/tracks{boxes}"
        measured(generate, root, count, boxes)
        for name, score in (("", 0.3), (" again, a higher threshold", 0.4), (" again, a lower threshold", 0.35)):
            yield Row(f"curated_tracks, {boxes} boxes{name}", count, TRACKS, measured(publish, root, score))
