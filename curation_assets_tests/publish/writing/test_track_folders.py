"""Tracks video by video, as TrackVerse's own scripts look for them, and what a takedown leaves of them."""

from __future__ import annotations

import glob
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curation_assets.publish.curating.subset_inputs import curated_provenance
from curation_assets.publish.writing.track_versions import publish_tracks
from curation_assets.recipes import RecipeError, parse_recipe
from curation_assets.schemas import SCHEMAS, schema
from curation_assets.takedown.exports import amend_version
from curation_assets.takedown.plan import TakedownPlan, Video
from curation_resources.provenance import Provenance
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

RECIPE = """
dataset: toy
source: {format: folder, path: nowhere}
tracks: {where: ["width >= 100"]}
subsets:
  s: {of: tracks, export: {tracks: {layout: LAYOUT}}}
"""
VIDEOS = {"toy-00000": ["-abcDEF_123", "ab/c d"], "toy-00001": ["abXXXXXXXXX"]}


def recipe(layout: str) -> dict[str, Any]:
    return {"toy": parse_recipe(RECIPE.replace("LAYOUT", layout), "toy.yaml")}


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    """Two clips that were looked at and one that was not of each video; tracks in the first clip, of the last video one more."""
    made = TableStore(Storage(str(tmp_path)), SCHEMAS)

    def commit(asset: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        contract = schema(asset)
        table = pa.Table.from_pylist([{n: r.get(n) for n in contract.names} for r in rows], schema=contract.arrow)
        made.commit(asset, key, table, Provenance("1", None, {}))

    selected = []
    for shard, videos in VIDEOS.items():
        clips, tracks = [], []
        for video in videos:
            for start, width in ((0, 320), (4000, 320), (8000, 60)):
                clip = f"{video}_{start}_{start + 4000}"
                names = {"dataset": "toy", "video_id": video, "clip_id": clip, "status": "ok", "fps": 25.0}
                clips.append({**names, "start_ms": start, "end_ms": start + 4000, "width": width, "height": 180})
            for number in range(2 if video.startswith("abX") else 1):
                times = [0, 125, 250]
                tracks.append(
                    {
                        "dataset": "toy", "video_id": video, "clip_id": f"{video}_0_4000", "track_id": f"{video}_0_4000_{number:04d}",
                        "label": "face", "score": 0.9, "top_labels": ["face"], "top_scores": [0.9], "top_scores_std": [0.0],
                        "start_ms": 0, "end_ms": 250, "frame_ms": times, "boxes": [[40.0, 40, 60, 80]] * 3, "box_scores": [0.9] * 3,
                        "box_labels": ["face"] * 3, "box_label_scores": [0.9] * 3, "width": 320, "height": 180, "detector": "faces",
                    }
                )  # fmt: skip
        commit("clips", shard, clips)
        commit("tracks", shard, tracks)
        selected += [{**t, "shard": shard, "selected": True, "split": "train"} for t in tracks]
    commit("curated_tracks", "toy-s", selected)
    return made


def published(store: TableStore, layout: str) -> Path:
    header = store.header("curated_tracks", "toy-s")
    assert header is not None
    return Path(store.storage.root, publish_tracks(store, recipe(layout), "toy-s", header)).parent


def read_as_trackverse_does(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Video -> records, from the files that its scripts find by their names."""
    found = {}
    for path in glob.glob(f"{folder}/tracks_meta/*/*-meta.jsonl.gzip"):
        with gzip.open(path, "rt") as lines:
            records = [json.loads(line.strip()) for line in lines]
        name = os.path.basename(path).removesuffix("-meta.jsonl.gzip")
        assert os.path.dirname(path).endswith("/" + name[:2])
        found[name] = records
    return found


def test_each_video_has_its_records_and_what_was_looked_at(store: TableStore) -> None:
    folder = published(store, "videos")
    found = read_as_trackverse_does(folder)
    assert {name[:4]: [r["yid"] for r in records] for name, records in found.items()} == {
        "-abc": ["-abcDEF_123"],
        "ab_c": ["ab/c d"],
        "abXX": ["abXXXXXXXXX"] * 2,
    }
    assert "-abcDEF_123" in found, "an id that a file name can hold is its name"
    listed = [json.loads(line) for line in gzip.decompress((folder / "tracks.jsonl.gz").read_bytes()).splitlines()]
    by_id = {r["track_id"]: r for r in listed}
    assert by_id == {r["track_id"]: r for records in found.values() for r in records}
    for name, records in found.items():
        progress = json.loads((folder / "tracks_meta" / name[:2] / f"{name}-progress.json").read_text())
        assert progress["segments_complete"] == [[0.0, 4.0], [4.0, 8.0]], "the third clip is too narrow to be looked at"
        assert progress["num_tracks"] == len(records)


def test_the_layout_is_another_version_and_a_reason_to_write(store: TableStore) -> None:
    plain, by_video = published(store, "list"), published(store, "videos")
    assert plain != by_video
    assert not (plain / "tracks_meta").exists()
    fingerprints = [curated_provenance(store, recipe(layout), "toy-s").fingerprint for layout in ("list", "videos")]
    assert fingerprints[0] != fingerprints[1]
    without = parse_recipe(RECIPE.replace(", export: {tracks: {layout: LAYOUT}}", ""), "toy.yaml")
    assert curated_provenance(store, {"toy": without}, "toy-s").fingerprint == fingerprints[0]


def test_of_clips_there_are_no_tracks_to_write() -> None:
    with pytest.raises(RecipeError, match=r"export\.tracks needs a subset"):
        parse_recipe(RECIPE.replace("of: tracks, ", "").replace("LAYOUT", "videos"), "toy.yaml")


def test_a_takedown_removes_both_files_of_a_video_and_counts_its_tracks(store: TableStore) -> None:
    folder = published(store, "videos")
    before = read_as_trackverse_does(folder)
    relative = str(folder.relative_to(store.storage.root))
    plan = TakedownPlan([Video("toy", "abXXXXXXXXX", "toy-00001")])
    version = amend_version(store.storage, relative, plan, dict, lambda _: None)
    assert len(version.keys) == 2
    assert not list(folder.rglob("*abXX*"))
    assert read_as_trackverse_does(folder) == {n: r for n, r in before.items() if n != "abXXXXXXXXX"}
    assert json.loads((folder / "removed.json").read_text())["complete"]
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"abXXXXXXXXX" not in (gzip.decompress(data) if path.suffix in (".gz", ".gzip") else data)
