"""One export in its three layouts for all readers: train and val, odd ids, captions with words, empty or null, numbered pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from curation_assets.definitions import table_store
from curation_assets.publish.curating.subset_inputs import clip_provenance
from curation_assets.publish.writing.clip_batches import BatchCutter, batches_of
from curation_assets.publish.writing.clip_versions import publish_clips
from curation_assets.recipes import parse_recipe
from curation_assets.schemas import schema
from curation_assets.settings import Settings
from curation_assets_tests.decode.coded_video import write_video
from curation_assets_tests.publish.cutting.test_clip_cutting import with_sound
from curation_resources.provenance import Provenance
from curation_resources.tars import sample_key

RECIPE = """
dataset: toy
description: For all readers
source: {format: folder, path: nowhere}
captions: {backend: source}
subsets:
  tars: {split: {train: 0.7, val: 0.3}, export: {clips: {cut: smart, crf: 30, preset: veryfast}}}
  files: {split: {train: 0.7, val: 0.3}, export: {clips: {format: folder, cut: smart, crf: 30, preset: veryfast}}}
  rows: {split: {train: 0.7, val: 0.3}, export: {clips: {format: parquet, cut: smart, crf: 30, preset: veryfast}}}
"""
VIDEOS = {"-abc": "train", "--help": "train", "_x": "val", "Über mäßig.v2": "train", "-z9": "val", "plain": "train"}
CAPTIONS = (
    'two dogs, one "ball"\nand a line more',
    "",
    None,
    "ünïcode 狗",
    "null",
    "  ",
    "-",
    "a, b",
    "4",
    None,
    "",
    "last",
)
LENGTH = 50
CODED = {"bf": "2", "g": "20", "profile": "main", "x264-params": "ref=2:b-pyramid=none:b-adapt=0:scenecut=0"}
"""Parameter sets that are not the encoder's, and key frames within clips: their files have copied and encoded pictures."""


@dataclass(frozen=True)
class Sample:
    """A published clip: key, split, caption (null and empty are told apart), JSON, bytes, numbers of its pictures."""

    key: str
    split: str
    text: str | None
    record: dict[str, Any]
    mp4: bytes
    numbers: list[int]


@dataclass(frozen=True)
class Export:
    """Folders of the versions by subset: `tars`, `files`, `rows`; and their samples, in the order of the tars within each split."""

    folders: Mapping[str, Path]
    samples: Sequence[Sample]

    def of(self, split: str) -> dict[str, Sample]:
        """Key -> sample, in the order of the tars."""
        return {s.key: s for s in self.samples if s.split == split}


def make_export(root: Path) -> Export:
    settings = Settings(storage=str(root / "data"), workers=1)
    recipe = parse_recipe(RECIPE, "toy.yaml")
    clips_of_tars = recipe.subsets["tars"].export.clips
    assert clips_of_tars is not None
    object.__setattr__(clips_of_tars, "tar_bytes", 40_000)  # smaller than recipes may ask for: train has several tars
    recipes = {"toy": recipe}
    store = table_store(settings)
    clips: list[dict[str, Any]] = []
    raw: list[dict[str, Any]] = []
    for number, (video, split) in enumerate(VIDEOS.items()):
        first = 100 * number
        silent = write_video(root / f"silent-{number}.mp4", [LENGTH], first=first, **CODED)
        file = with_sound(silent, root / f"video-{number}.mp4", [0.5], LENGTH / 25)
        raw.append(
            {
                "dataset": "toy", "video_id": video, "status": "ok", "tar": str(file), "size": file.stat().st_size, "sha256": f"sha {number}",
                "url": f"https://example.org/{number}", "licence": None if number % 2 else "CC-BY", "title": "" if number == 1 else None,
                "duration_ms": 40 * LENGTH,
            }
        )  # fmt: skip
        clips += [
            {
                "dataset": "toy", "video_id": video, "clip_id": f"{video}_{40 * start}_{40 * end}", "status": "ok", "shard": "toy-00000",
                "start_ms": 40 * start, "end_ms": 40 * end, "start_frame": start, "end_frame": end, "width": 320, "height": 180, "fps": 25.0,
                "selected": True, "split": split, "aesthetic": 4 + len(clips) / 7,
            }
            for start, end in ((0, 23), (23, LENGTH))
        ]  # fmt: skip
    captions = [
        {
            "dataset": "toy", "video_id": c["video_id"], "clip_id": c["clip_id"], "backend": "source", "status": "ok", "caption": text,
            "row_fingerprint": "f",
        }
        for c, text in zip(clips, CAPTIONS, strict=True)
    ]  # fmt: skip

    def commit(asset: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        contract = schema(asset)
        table = pa.Table.from_pylist([{n: r.get(n) for n in contract.names} for r in rows], schema=contract.arrow)
        store.commit(asset, key, table, Provenance("1", None, {}), {})

    for asset, rows in (("raw_shards", raw), ("clips", clips), ("captions", captions)):
        commit(asset, "toy-00000", rows)
    folders = {}
    for subset in recipes["toy"].subsets:
        key = f"toy-{subset}"
        commit("curated_clips", key, clips)
        batch = batches_of(store, recipes, key).read(0)
        BatchCutter(store, recipes, Settings(workers=1), key, batch).cut("toy-00000")
        (scratch := root / f"scratch-{subset}").mkdir()
        done = publish_clips(store, recipes, key, clip_provenance(store, recipes, key), scratch)
        table = pa.parquet.read_table(done.rows.path)
        assert set(table["status"].to_pylist()) == {"ok"}
        assert set(table["cut"].to_pylist()) == {"smart"}
        assert max(table["encoded_frames"].to_pylist()) == 17
        folders[subset] = Path(done.stats["folder"])
    files = {p.stem: p for p in folders["files"].glob("*/*.mp4")}
    records = {
        r["key"]: r
        for r in map(json.loads, pa.parquet.read_table(folders["rows"] / "metadata.parquet")["record"].to_pylist())
    }
    samples = []
    for clip, text in zip(clips, CAPTIONS, strict=True):
        key, first = sample_key(clip["clip_id"]), 100 * list(VIDEOS).index(clip["video_id"])
        numbers = list(range(first + clip["start_frame"], first + clip["end_frame"]))
        samples.append(Sample(key, clip["split"], text, records[key], files[key].read_bytes(), numbers))
    return Export(folders, sorted(samples, key=lambda s: s.record["clip_id"]))
