"""Step `publish`: a version written from finished pieces, its table committed and held against what was selected. Nothing is cut.

Shards have 100 videos of 31 clips, all of them selected; the videos of a shard are from all over the order of ids. A clip is a thousand bytes, so what is
measured is what a sample costs besides its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from benchmarks.ingest import measured, youtube_like
from benchmarks.scale.rows import Line, Row
from curation_assets.engine.run import Run
from curation_assets.engine.shard_keys import shard_key
from curation_assets.publish.curating.subset_inputs import Selection
from curation_assets.publish.writing.clip_batches import batches_of, cuts_of, pieces_of
from curation_assets.recipes import Recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.settings import Settings
from curation_assets.tracks.face_tables import CLIP_FACES
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

CLIPS = 100_000_000
VIDEOS, PER_VIDEO = 100, 31
"""Videos of a shard, and clips of each."""
BYTES = 1_000
KEY = "bench-s"


def recipe(form: str) -> Recipe:
    """Of a subset that publishes in a format."""
    subset = {
        "split": {"train": 0.9, "val": 0.05, "test": 0.05},
        "export": {"clips": {"format": form, "cut": "exact", "tar_bytes": 1_000_000_000}},
    }
    return Recipe.model_validate(
        {
            "dataset": "bench",
            "source": {"format": "ids", "path": "x"},
            "captions": {"backend": "source"},
            "subsets": {"s": subset},
        }
    )


def generate(root: str, shards: int, form: str, videos: int = VIDEOS) -> None:
    """Tables and pieces, all clips of all shards selected."""
    store, recipes = TableStore(Storage(root), SCHEMAS), {"bench": recipe(form)}
    curated = []
    for number in range(shards):
        shard = shard_key("bench", number)
        ids = sorted(youtube_like(number * videos + n) for n in range(videos))
        clips = _clips(number, ids)
        raw = [
            {"video_id": v, "title": f"title of {v}", "channel": f"channel {n % 50}", "sha256": v, "licence": "CC-BY"}
            for n, v in enumerate(ids)
        ]
        captions = [{**_ids(c), "caption": f"a person walks along street {n}"} for n, c in enumerate(clips)]
        _commit(store, "raw_shards", shard, raw)
        _commit(store, "captions", shard, captions)
        curated += [_table("curated_clips", [{**c, "shard": shard, "selected": True} for c in clips])]
    key = [(k, "ascending") for k in schema("curated_clips").key]
    store.commit("curated_clips", KEY, pa.concat_tables(curated).sort_by(key), Provenance("1"), {"selected": 1})
    _put_pieces(store, recipes)


def _clips(number: int, videos: list[str]) -> list[dict[str, Any]]:
    chance = np.random.default_rng(number)
    scores = chance.random((len(videos) * PER_VIDEO, 3)).tolist()
    names = ("motion", "sharpness", "aesthetic")
    return [
        {
            "dataset": "bench",
            "video_id": video,
            "clip_id": f"{video}_{5000 * n}_{5000 * n + 5000}",
            "split": ("train", "val", "test")[v % 3],
            "start_ms": 5000 * n,
            "end_ms": 5000 * n + 5000,
            **dict(zip(names, scores[v * PER_VIDEO + n], strict=True)),
        }
        for v, video in enumerate(videos)
        for n in range(PER_VIDEO)
    ]


def _ids(row: dict[str, Any]) -> dict[str, Any]:
    return {n: row[n] for n in ("dataset", "video_id", "clip_id")}


def _table(asset: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows with what a table cannot do without."""
    form = schema(asset).arrow
    usual: dict[str, Any] = {"dataset": "bench", "status": "ok", "row_fingerprint": "0" * 32, "backend": "source"}
    usual = {n: v for n, v in usual.items() if n in form.names}
    return pa.Table.from_pylist([{**usual, **r} for r in rows], schema=form)


def _commit(store: TableStore, asset: str, shard: str, rows: list[dict[str, Any]]) -> None:
    store.commit(asset, shard, _table(asset, rows), Provenance("1"))


def _put_pieces(store: TableStore, recipes: dict[str, Recipe]) -> None:
    """The piece of each shard, as if its clips had been cut."""
    batches, pieces = batches_of(store, recipes, KEY), pieces_of(store, KEY)
    for number, shards in enumerate(batches.shards):
        selection, rows = Selection.over(recipes, KEY, shards), batches.read(number)
        for shard in shards:
            cuts = cuts_of(store, selection, recipes, shard, rows.selected[shard])
            tar, data, made = f"{pieces.folder}/{shard}.tar", [], []
            for n, cut in enumerate(cuts):
                data.append(hashlib.sha256(cut.key.encode()).digest() * (BYTES // 32))
                size, digest = len(data[-1]), hashlib.sha256(data[-1]).hexdigest()
                ids = {name: getattr(cut, name) for name in ("dataset", "video_id", "clip_id", "split")}
                place = {"tar": tar, "offset": n * size, "size": size, "sha256": digest}
                facts = {"start_ms": cut.start_ms, "end_ms": cut.end_ms, "frames": 125, "width": 1280, "height": 720}
                made.append({**ids, **place, **facts, "sample_key": cut.key, "fps": 25.0, "cut": "exact"})
            store.storage.write(tar, b"".join(data))
            table = _table("clip_dataset", made)
            table = table.sort_by([(k, "ascending") for k in schema("clip_dataset").key])
            pieces.put(shard, cuts, table, CLIP_FACES.empty_table())


def publish(root: str, form: str) -> None:
    """The export brought up to date, as the last step of a run does it; whether all its inputs are complete is not looked at.

    Raises:
        SystemExit: not all that was selected was published.
    """
    from curation_assets.publish.export_makers import ClipExportMaker

    class Log:
        def info(self, text: str) -> None: ...

        warning = error = info

    run = Run(TableStore(Storage(root), SCHEMAS), {"bench": recipe(form)}, Settings(storage=root), Log())
    with patch("curation_assets.publish.export_makers.lacks", lambda *_: []):
        (outcome,) = ClipExportMaker().bring(run, KEY, ["clip_dataset"])
    (finding,) = outcome.findings
    print(f"    {outcome.header.rows:,} rows; {finding.description}", flush=True)
    if not finding.passed or outcome.made is None:
        raise SystemExit(finding.description)


def published(folder: Path, share: float) -> Iterator[Line]:
    """Tars, and files with lists."""
    shards = max(1, int(CLIPS * share) // (VIDEOS * PER_VIDEO))
    for form in ("webdataset", "parquet"):
        root = f"{folder}/published-{form}"
        measured(generate, root, shards, form)
        yield Row(
            f"publish: {form}, from finished pieces", shards * VIDEOS * PER_VIDEO, CLIPS, measured(publish, root, form)
        )
