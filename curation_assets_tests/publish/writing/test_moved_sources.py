"""A folder of videos that moved: what was published of it is in force as it is; other bytes or another name are published anew."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from curation_assets_tests.sample_video import sample_video
from curation_assets_tests.site import Site

RECIPE = """
dataset: d
source: {{format: folder, path: {folder}}}
shard: {{videos: 2}}
clips: {{from: whole, min_s: 0.5}}
subsets:
  all: {{export: {{clips: {{format: webdataset}}}}}}
"""


@pytest.mark.timeout(300)
def test_a_version_stays_in_force_where_only_the_folder_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "further" / "new"
    old.mkdir()
    for n in range(2):
        (old / f"v{n}.mp4").write_bytes(sample_video(1.0, seed=n))
    site = Site(tmp_path)

    def version(folder: Path) -> str:
        site.declare(RECIPE.format(folder=folder))
        site.index()
        site.settle()
        header = site.store.header("clip_dataset", "d-all")
        assert header is not None
        return str(header.stats["version"])

    first = version(old)
    before = site.tables()
    new.parent.mkdir()
    shutil.move(old, new)
    assert version(new) == first
    assert ("clip_dataset", "d-all") not in site.made_since(before)
    assert {a for a, _ in site.made_since(before)} >= {"raw_shards"}, "where they lie is written down"
    assert site.store.storage.folders("clip_dataset/d-all").count("pieces") + 1 >= len(
        site.store.storage.folders("clip_dataset/d-all")
    ), "no other version was written"

    (new / "v1.mp4").write_bytes(sample_video(1.0, seed=5))
    other = version(new)
    assert other != first, "other bytes"
    os.rename(new / "v1.mp4", new / "w1.mp4")
    assert version(new) != other, "another name"
