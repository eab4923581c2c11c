"""Recipes and published versions held against each other, by the command."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from curation_assets.cli import main
from curation_assets.publish.writing.samples import FolderSamples, TarSamples, clip_record
from curation_assets.settings import Settings
from curation_assets.stores import table_store
from curation_assets_tests.look.small_root import RECIPE, fill
from curation_resources.storage import Storage


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with two shards, and its recipe."""
    fill(table_store(Settings(storage=str(tmp_path / "data"))))
    (tmp_path / "r.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    for variable, value in (("STORAGE", str(tmp_path / "data")), ("RECIPES", "r.yaml")):
        monkeypatch.setenv(f"CURATION_{variable}", value)
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], code: int, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["compare", *words, "--json"]) == code
    return {t["table"]: t for t in map(json.loads, capsys.readouterr().out.splitlines())}


def test_two_recipes_differ_by_what_their_subsets_select(installed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (installed / "same.yaml").write_text("# other words\n" + RECIPE)
    told(capsys, 0, "r.yaml", "same.yaml")
    (installed / "new.yaml").write_text(RECIPE.replace("motion >= 0.3", "motion >= 0.4").replace("new:", "newer:"))
    found = told(capsys, 1, "r.yaml", "new.yaml", "--pictures", "p.jpg")["curated_clips"]
    before = table_store(Settings.load()).read("curated_clips", "toy-hq").to_pylist()
    between = {r["clip_id"] for r in before if r["selected"] and r["motion"] < 0.4}
    assert between
    selected = found["columns"]["selected"]
    assert (selected["differ"], selected["up"], selected["down"]) == (len(between), 0, len(between))
    assert {c["clip"] for c in found["columns"]["selected"]["largest"]} <= between
    assert (found["vanished"], found["appeared"]) == (16, 16), "a subset that only one of them has"
    pictures = Image.open("p.jpg")
    assert pictures.format == "JPEG"
    assert pictures.width >= 320
    assert main(["compare", "r.yaml", str(installed / "data")]) == 2
    assert "are not of one kind" in capsys.readouterr().err
    (installed / "other.yaml").write_text(RECIPE.replace("dataset: toy", "dataset: other"))
    assert main(["compare", "r.yaml", "other.yaml"]) == 2
    assert "two recipes of one dataset" in capsys.readouterr().err
    (installed / "bad.yaml").write_text(RECIPE.replace("motion >= 0.3", "nosuch >= 0.3"))
    assert main(["compare", "r.yaml", "bad.yaml"]) == 2


def version(folder: Path, layout: str, clips: dict[str, dict[str, Any]]) -> None:
    """Publishes samples as exports do: clip -> what is otherwise of its record."""
    storage = Storage(str(folder.parent))
    samples: Any = (
        TarSamples(storage, folder.name, 1 << 20) if layout == "tars" else FolderSamples(storage, folder.name, layout)
    )
    for clip, other in clips.items():
        video, start, end = clip.split("_")
        row = {
            "sample_key": clip,
            "split": "train",
            "dataset": "toy",
            "video_id": video,
            "clip_id": clip,
            "track_id": None,
        }
        row |= {"sha256": other.get("sha256", "00"), "frames": 12}
        scores = {"motion": 0.5, "start_ms": int(start), "end_ms": int(end), "caption": "a dog"} | other
        samples.add(
            "train", clip, b"mp4 of " + clip.encode(), clip_record(row, scores, {"url": f"https://host/{video}"}, {})
        )
    samples.close()
    (folder / "croissant.json").write_text("{}")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("layout", ["tars", "csv", "parquet"])
def test_two_versions_differ_by_their_samples(tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = {c: {} for c in ("v0_0_500", "v0_500_1000", "v1_0_500")}
    version(tmp_path / "a", "tars", first)
    version(tmp_path / "same", layout, first)
    version(
        tmp_path / "b", layout, {"v0_0_500": {"motion": 0.55, "caption": "a cat"}, "v0_600_1000": {}, "v2_0_500": {}}
    )
    a, same, b = (str(tmp_path / n) for n in ("a", "same", "b"))
    assert told(capsys, 0, a, same)["samples"]["rows_a"] == 3
    found = told(capsys, 1, a, b, "--pictures", "p.jpg")["samples"]
    assert (found["rows_a"], found["rows_b"], found["moved"]) == (3, 3, 1)
    assert (found["examples"], found["clips"]) == (["- toy v1 v1_0_500", "+ toy v2 v2_0_500"], ["v1_0_500", "v2_0_500"])
    changed = {n: [(c["a"], c["b"]) for c in one["largest"]] for n, one in found["columns"].items()}
    assert changed["motion"] == [(0.5, 0.55)]
    assert changed["text"] == changed["caption"] == [("a dog", "a cat")]
    assert changed["start_ms"] == [(500.0, 600.0)]
    sheet = Image.open(io.BytesIO((tmp_path / "p.jpg").read_bytes()))
    assert sheet.width == 4 * 320, "both clips that only one has, the one that moved, the one that changed"
    assert told(capsys, 1, a, b, "--tolerance", "0.2")["samples"]["columns"]["motion"]["beyond"] == 0
    assert main(["compare", a, "r.yaml"]) == 2
