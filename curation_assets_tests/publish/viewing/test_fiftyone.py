"""A view opened in FiftyOne itself, in an environment of its own, over its own database, and what is tagged there read back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.scores.label_file import LabelFile
from curation_assets_tests.look.small_root import SHARDS, commit
from curation_assets_tests.publish.viewing.test_views import store  # noqa: F401 - a fixture
from curation_assets_tests.readers.environments import READING_S, environment
from curation_resources.tables import TableStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

TAGGING = """
import sys
sys.path.insert(0, sys.argv[1])
import open_fiftyone
import fiftyone as fo
dataset = open_fiftyone.opened()
assert dataset.media_type == "video" and dataset.persistent and fo.list_datasets() == [dataset.name], fo.list_datasets()
videos = {s["video"]: s for s in dataset}
assert sorted(videos) == ["toy-v0", "toy-v1", "toy-v2", "toy-v3"], videos
spans = videos["toy-v2"]["clips"].detections
assert [s.support for s in spans] == [[1, 5], [6, 10], [11, 15], [16, 20]], spans
assert {s.label for s in videos["toy-v0"]["clips"].detections} > {"kept"}, "its verdict"
assert abs(spans[0].motion - 0.4) < 1e-6 and spans[0].embedding.tolist() == [10.0, 1.0], spans[0]
kept = dataset.filter_labels("clips", fo.ViewField("label") == "kept")
assert kept.count("clips.detections") == dataset.count_values("clips.detections.label")["kept"] > 0
clips = dataset.to_clips("clips")
assert len(clips) == 16, "each span is a clip that can be played"
frames = {n: f.tracks.detections for n, f in videos["toy-v1"].frames.items()}
assert sorted(frames) == [6, 8], frames
assert frames[6][0].bounding_box == [0.25, 0.25, 0.5, 0.5] and frames[6][0].label == "dog" and frames[6][0].index == 0
videos["toy-v3"].tags.append("Good one")
videos["toy-v3"].save()
spans[0].tags.append("nice")
videos["toy-v2"].save()
"""


def test_fiftyone_opens_a_view_and_its_tags_come_back(
    store: TableStore,  # noqa: F811
    tmp_path: Path,
) -> None:
    python = environment("fiftyone")
    if not (python.parents[1] / f"lib/{python.resolve().name}/site-packages/fiftyone/db/bin/mongod").exists():
        pytest.skip("FiftyOne's database is not there")
    track = {"video_id": "v1", "clip_id": "v1_500_1000", "track_id": "v1_500_1000_0", "label": "dog", "score": 0.9}
    track |= {"frame_ms": [500, 700], "boxes": [[40.0, 24.0, 80.0, 48.0]] * 2, "start_ms": 500, "end_ms": 700}
    commit(store, "tracks", SHARDS[0], [track])
    assert main(["export-view", "fiftyone", "toy-hq", "view"]) == 0
    view = tmp_path / "view"
    own = {**os.environ, "FIFTYONE_DATABASE_DIR": str(tmp_path / "db"), "FIFTYONE_DO_NOT_TRACK": "true"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [str(python), *words], cwd=tmp_path, env=own, capture_output=True, text=True, timeout=READING_S
        )
        if "could not find mongod" in done.stderr.casefold() or "failed to bind" in done.stderr.casefold():
            pytest.skip(f"FiftyOne's database does not run here: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(str(view / "open_fiftyone.py"), "--load")
    (tmp_path / "tagging.py").write_text(TAGGING)
    run("tagging.py", str(view))
    assert "5 tags of clips" in run(str(view / "open_fiftyone.py"), "--tags")
    assert main(["export-view", "fiftyone", "toy-hq", "view", "--read"]) == 0
    held = {clip: set(own) for clip, own in LabelFile("labels.jsonl").labels().items() if own}
    assert held == {f"v3_{s}_{s + 500}": {"good_one"} for s in range(0, 2000, 500)} | {"v2_0_500": {"nice"}}
