"""What exports say that they were made from: to Dagster, which compares it with the graph, and to `curation stale`."""

from __future__ import annotations

from pathlib import Path

from dagster import AssetKey

from curation_assets.engine.staleness import FRESH, shard_states
from curation_assets_tests.installation import Installation
from curation_assets_tests.sample_video import sample_video

RECIPE = """
dataset: said
source: {{format: table, path: {root}/list.jsonl, columns: {{id: id, url: path, clips: clips, caption: caption}}}}
clips: {{from: given, min_s: 0.2}}
subsets:
  plain: {{export: {{clips: {{format: folder, preset: ultrafast, audio: false}}}}}}
  cropped: {{export: {{clips: {{format: folder, preset: ultrafast, audio: false, crop_border: true}}}}}}
"""
EXPORTS = [("clip_dataset", "said-cropped"), ("clip_dataset", "said-plain")]


def write_list(root: Path, second: str) -> None:
    clips = f'[{{"start": 0, "end": 0.5, "caption": "a beginning"}}, {{"start": 0.5, "end": 1, "caption": "{second}"}}]'
    (root / "list.jsonl").write_text(f'{{"id": "v", "path": "v.mp4", "clips": {clips}}}\n')


def test_the_words_of_spans_are_a_declared_input_of_exports(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(sample_video())
    write_list(tmp_path, "an end")
    site = Installation(tmp_path / "site")
    site.declare(RECIPE.format(root=tmp_path))
    assert site.run("index")
    site.settle()
    assert site.failed == []
    graph = site.definitions.resolve_asset_graph()
    parents = {k.to_user_string() for k in graph.get(AssetKey("clip_dataset")).parent_keys}
    assert "video_metadata" in parents
    assert site.stale_to_dagster() == {}, "every subset's event names all declared parents, also those that others use"
    write_list(tmp_path, "another end")
    assert site.run("index")
    before = site.tables()
    behind = {(s.asset, s.partition) for s in shard_states(site.store, site.recipes, site.settings) if s.state != FRESH}
    site.settle()
    assert behind >= {("video_metadata", "said-00000")}
    assert {t for t in site.made_since(before) if t[0] == "clip_dataset"} == set(EXPORTS)
    assert site.stale_to_dagster() == {}
