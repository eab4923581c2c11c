"""The sample rows of each example recipe are in the format that its source reads, and running it on them gives the counts that are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.cli import main
from curation_assets.demo import EXAMPLE_NAMES
from curation_assets.demo.example_lists import EXAMPLES, GONE, VIDEOS, write_example
from curation_assets.demo.web_server import served
from curation_assets.ingest.sources import read_source
from curation_assets.ingest.sources.rows import SourceRow
from curation_assets.recipes import load_recipes
from curation_assets.schemas import SCHEMAS
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

RECIPES = Path(__file__).resolve().parents[1] / "recipes" / "examples"
ROOT = RECIPES.parents[1]


def test_every_example_has_rows() -> None:
    assert set(EXAMPLE_NAMES) == set(EXAMPLES) == {p.stem for p in RECIPES.glob("*.yaml")}
    page = (ROOT / "docs" / "how-to" / "published_pipelines.md").read_text()
    for name, example in EXAMPLES.items():
        said = f"{example.rows} rows, {example.videos} videos, {example.clips} clips"
        said += f", {example.selected} selected" if example.selected is not None else ""
        (line,) = (x for x in page.splitlines() if x.startswith(f"| `{name}` | `{example.variable}="))
        assert said in line


@pytest.mark.parametrize("name", [n for n, e in EXAMPLES.items() if e.of_addresses])
def test_lists_are_in_the_format_of_the_recipe(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = EXAMPLES[name]
    example.write(tmp_path, [("one", 'A "quoted", caption'), ("two", "Zwei"), (GONE, "")], "http://127.0.0.1:1")
    monkeypatch.setenv(example.variable, str(tmp_path))
    (recipe,) = load_recipes(str(RECIPES / f"{name}.yaml")).values()
    rows = list(read_source(recipe.source))
    assert all(isinstance(r, SourceRow) for r in rows), rows
    assert [(r.video_id, r.url) for r in rows if isinstance(r, SourceRow)] == [
        (v, f"http://127.0.0.1:1/{VIDEOS}/{v}.mp4") for v in ("one", "two", GONE)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLE_NAMES)
def test_each_example_gives_the_counts_that_are_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CURATION_STORAGE", str(tmp_path / "data"))
    monkeypatch.setenv("CURATION_WORKERS", "1")
    monkeypatch.chdir(ROOT)
    with served(tmp_path / "try") as port:
        example = write_example(name, tmp_path / "try", f"http://127.0.0.1:{port}")
        setting, _, command = example.command(name, tmp_path / "try").partition(" curation ")
        variable, _, value = setting.partition("=")
        monkeypatch.setenv(variable, value)
        assert main(command.split()) == 0
    store = TableStore(Storage(str(tmp_path / "data")), SCHEMAS)

    def rows(asset: str) -> list[dict[str, object]]:
        return [row for key in store.partitions(asset) for row in store.read(asset, key).to_pylist()]

    raw = rows("raw_shards")
    assert len(raw) == example.rows
    assert sum(r["status"] == "ok" for r in raw) == example.videos
    assert [r["video_id"] for r in raw if r["status"] != "ok"] == [GONE]
    assert sum(r["status"] == "ok" for r in rows("clips")) == example.clips
    if example.selected is not None:
        assert sum(bool(r["selected"]) for r in rows("curated_clips")) == example.selected
        assert sum(r["status"] == "ok" for r in rows("clip_dataset")) == example.selected
