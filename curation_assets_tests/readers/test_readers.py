"""One export in all layouts, read by each reader of docs/how-to/reading.md with the lines that stand there."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from curation_assets_tests.readers import blocks, chromium
from curation_assets_tests.readers.environments import environment, read_in, variables
from curation_assets_tests.readers.export import Export, make_export

HERE = {"webdataset": "tars", "datasets": "tars", "datasets-streaming": "tars", "mlcroissant": "tars", "duckdb": "rows"}
"""Readers in this project's own environment -> the layout that their lines are for."""
ELSEWHERE = {
    "datasets-decoded": ("torchcodec", "tars"),
    "ray": ("tables", "tars"),
    "daft": ("tables", "tars"),
    "polars": ("tables", "rows"),
    "lance": ("tables", "rows"),
    "energon": ("energon", "tars"),
    "streaming": ("streaming", "tars"),
    "dali": ("dali", "tars"),
}
"""Readers in environments of their own -> which, and the layout."""
TELLS_NULL = {"polars", "duckdb", "lance"}
"""Readers whose caption is null where the clip has none; those of tars have it in the JSON."""
ROUNDS = {"datasets", "datasets-streaming", "datasets-decoded"}
"""Readers that round the numbers in the JSON."""
ORDERED = {"webdataset", "datasets", "datasets-streaming", "energon", "streaming", "dali"}
"""Readers that give the samples of a split in the order of its tars."""


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    made = make_export(tmp_path_factory.mktemp("export"))
    tars = sorted(str(p.relative_to(made.folders["tars"])) for p in made.folders["tars"].rglob("*.tar"))
    assert tars[:2] == ["train-00000.tar", "train-00001.tar"]
    assert "val-00000.tar" in tars
    return made


def check(name: str, export: Export, split: str, found: list[dict[str, Any]]) -> None:
    expected = export.of(split)
    keys = [s["key"] for s in found]
    assert sorted(keys) == sorted(expected)
    if name in ORDERED:
        assert keys == list(expected)
    for sample in found:
        wanted = expected[sample["key"]]
        assert sample["text"] == (wanted.text if name in TELLS_NULL else wanted.text or "")
        assert same(sample["record"], wanted.record, 1e-10 if name in ROUNDS else 0), sample["record"]
        assert sample["record"]["text"] == wanted.text
        if "numbers" in sample:
            assert sample["numbers"] == wanted.numbers
        else:
            assert sample["sha256"] == hashlib.sha256(wanted.mp4).hexdigest()


def same(found: Any, wanted: Any, slack: float) -> bool:
    """Whether two JSON values are equal, numbers to within `slack`, a missing field being null."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(same(found.get(k), wanted.get(k), slack) for k in found.keys() | wanted.keys())
    if isinstance(wanted, float):
        return isinstance(found, float | int) and math.isclose(found, wanted, rel_tol=0, abs_tol=slack)
    return bool(found == wanted)


def test_every_reader_of_the_page_is_run() -> None:
    assert set(blocks.names("reader")) == {*HERE, *ELSEWHERE, "energon-prepare"}
    assert set(blocks.names("pictures")) == {"torchcodec", "decord2", "opencv"}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("name", HERE)
def test_readers_in_this_environment(
    export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, split: str
) -> None:
    from etils import epath

    monkeypatch.setattr("mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", epath.Path(tmp_path))
    check(name, export, split, blocks.samples(name, str(export.folders[HERE[name]]), split))


@pytest.mark.parametrize("subset", ["files", "rows"])
def test_datasets_reads_folders(export: Export, tmp_path: Path, subset: str) -> None:
    from datasets import Video, load_dataset

    loaded = load_dataset(str(export.folders[subset]), cache_dir=str(tmp_path))
    for name, rows in loaded.items():
        expected = export.of({"validation": "val"}.get(name, name))
        assert {r["key"]: r["text"] for r in rows.remove_columns("video")} == {k: s.text for k, s in expected.items()}
        for row in rows.cast_column("video", Video(decode=False)):
            assert Path(row["video"]["path"]).read_bytes() == expected[row["key"]].mp4
            assert json.loads(row["record"]) == expected[row["key"]].record


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ELSEWHERE)
def test_readers_in_environments_of_their_own(export: Export, tmp_path: Path, name: str) -> None:
    which, layout = ELSEWHERE[name]
    if name == "daft" and (os.cpu_count() or 1) < 4:
        pytest.skip("Daft 0.7.26 can wait on itself where there are fewer than four cores")
    folder = export.folders[layout]
    if name == "energon":  # which writes beside the tars
        folder = Path(shutil.copytree(folder, tmp_path / "version"))
        environment(which)
        prepared = subprocess.run(
            ["bash", "-euc", blocks.lines("reader", "energon-prepare")],
            env={**variables(which), "VERSION": str(folder)},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert prepared.returncode == 0, prepared.stderr[-2000:]
    for split in ("train", "val"):
        check(name, export, split, read_in(which, "blocks", "reader", name, folder, split, folder=tmp_path))


def test_opencv_reads_the_pictures(export: Export) -> None:
    for sample in export.samples:
        assert (
            blocks.numbers("opencv", str(export.folders["files"] / sample.split / f"{sample.key}.mp4"))
            == sample.numbers
        )


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "which"), [("torchcodec", "torchcodec"), ("decord2", "tables")])
def test_decoders_read_the_pictures(export: Export, name: str, which: str) -> None:
    clips = {str(export.folders["files"] / s.split / f"{s.key}.mp4"): s.numbers for s in export.samples}
    assert read_in(which, "blocks", "pictures", name, *clips) == clips


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_chromium_shows_each_picture_in_its_time(export: Export) -> None:
    from curation_assets_tests.browser import NoBrowser, browser_page

    try:
        with browser_page("http://127.0.0.1") as page:
            for sample in export.samples[:4]:
                times = [(n / 25, (n + 0.5) / 25) for n in range(len(sample.numbers))]
                duration, numbers = chromium.shown(page, sample.mp4, times)
                assert numbers == sample.numbers
                assert duration == pytest.approx(len(times) / 25, abs=0.001)
    except NoBrowser as missing:
        pytest.skip(str(missing))
