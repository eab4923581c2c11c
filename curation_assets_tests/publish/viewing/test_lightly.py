"""A view opened in LightlyStudio itself, in an environment of its own, and what is tagged there read back."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.scores.label_file import LabelFile
from curation_assets_tests.publish.viewing.test_views import store  # noqa: F401 - a fixture
from curation_assets_tests.readers.environments import READING_S, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

TAGGING = """
import sys
sys.path.insert(0, sys.argv[1])
import open_lightly
dataset = open_lightly.opened()
videos = {v.file_name.rpartition(".")[0]: v for v in dataset}
assert sorted(videos) == ["toy-v0", "toy-v1", "toy-v2", "toy-v3"], videos
for video in videos.values():
    spans = sorted((a.annotation_base.temporal_span_details.start_time_s, a.annotation_base.temporal_span_details.end_time_s) for a in video.annotations)
    assert spans == [(0.0, 0.5), (0.5, 1.0), (1.0, 1.5), (1.5, 2.0)], spans
    assert video.metadata["clips"] == 4
    assert video.annotations[0].annotation_source == "curation"
assert {a.class_name for a in videos["toy-v0"].annotations} > {"kept"}, "its verdict"
videos["toy-v3"].add_tag("Good one")
import json
from pathlib import Path
from lightly_studio.core.sample import Sample
own = {"version": "", "taxonomy": [], "database": {"toy-v1": {"subset": "validation", "duration": 2.0, "annotations": [{"segment": [0.5, 1.0], "label": "shaky"}]}}}
Path("own.json").write_text(json.dumps(own))
dataset.add_annotations_from_activitynet(annotations_json="own.json", annotation_source="me")
(first,) = [a for a in videos["toy-v2"].annotations if a.annotation_base.temporal_span_details.start_time_s == 0.0]
Sample(first.annotation_base.sample).add_tag("nice")
"""


@pytest.mark.usefixtures("store")
def test_lightly_studio_opens_a_view_and_its_tags_come_back(tmp_path: Path) -> None:
    python = environment("lightly")
    assert main(["export-view", "lightly", "toy-hq", "view"]) == 0
    view = tmp_path / "view"
    quiet = {**os.environ, "LIGHTLY_STUDIO_ANALYTICS_ENABLED": "false"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [str(python), *words], cwd=tmp_path, env=quiet, capture_output=True, text=True, timeout=READING_S
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    run(str(view / "open_lightly.py"), "--load")
    (tmp_path / "tagging.py").write_text(TAGGING)
    run("tagging.py", str(view))
    assert "6 tags of clips" in run(str(view / "open_lightly.py"), "--tags")
    assert main(["export-view", "lightly", "toy-hq", "view", "--read"]) == 0
    held = {clip: set(own) for clip, own in LabelFile("labels.jsonl").labels().items() if own}
    whole = {f"v3_{s}_{s + 500}": {"good_one"} for s in range(0, 2000, 500)}
    assert held == whole | {"v1_500_1000": {"shaky"}, "v2_0_500": {"nice"}}
