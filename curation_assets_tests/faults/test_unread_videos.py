"""`curation run` with the shipped instance file while a source video is away: it says so, exits with 1, publishes nothing, and heals."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets_tests.faults.shipped import Shipped
from curation_assets_tests.sample_video import sample_video

pytestmark = pytest.mark.faults

STAGES = (
    "clips,frames,motion_scores,quality_scores,clip_fingerprints,duplicate_clusters,dedup,curated_clips,clip_dataset"
)


def test_a_video_that_is_away_is_said_and_healed_by_the_next_run(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for i in range(3):
        (videos / f"v{i}.mp4").write_bytes(sample_video(seed=i))
    site = Shipped(tmp_path)
    recipe = site.declare(
        "toy",
        f"dataset: toy\nsource: {{format: folder, path: {videos}}}\nclips: {{from: fixed, max_s: 0.5, min_s: 0.2}}\n"
        "subsets: {all: {where: [keep], export: {clips: {format: folder, audio: false}}}}\n",
    )
    first = site.curation("run", str(recipe), "--select", "dataset_index,video_metadata,raw_shards")
    assert first.returncode == 0, first.stderr
    (videos / "v1.mp4").rename(tmp_path / "away.mp4")
    run = site.curation("run", str(recipe), "--select", STAGES)
    assert run.returncode == 1
    assert "1 of 3 videos could not be read (storage; clips, frames, motion_scores" in run.stdout
    assert "clip_dataset of toy-all is not made" in run.stdout or "curated_clips of toy-all is not made" in run.stdout
    assert not (tmp_path / "data/clip_dataset/toy-all.parquet").exists()
    stale = site.curation("stale", "--why")
    assert "1 video could not be read (1 for storage)" in stale.stdout
    (tmp_path / "away.mp4").rename(videos / "v1.mp4")
    again = site.curation("run", str(recipe))
    assert again.returncode == 0, again.stdout
    assert "of 6 clips selected; clip_dataset in" in again.stdout
