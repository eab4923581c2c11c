"""The Python API: the page about it, run from an empty folder; what each call says that is given something wrong; what importing costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

import curation_assets as curation
from curation_assets_tests.decode.coded_video import write_video
from curation_resources import extras

ROOT = Path(__file__).resolve().parents[1]
RECIPE = {
    "dataset": "toy",
    "source": {"format": "folder", "path": "videos"},
    "clips": {"detector": "content", "min_s": 0.5},
    "subsets": {"all": {"export": {"clips": {"cut": "copy"}}}},
}


def test_the_page_runs_from_an_empty_folder(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/python.md").read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dataset_index None missing no index yet" in done.stdout
    assert (tmp_path / "data/clip_dataset/mine-moving.parquet").exists()
    shipped = (ROOT / "deploy/dagster.local.yaml").read_text(encoding="utf-8")
    assert (tmp_path / ".dagster/dagster.yaml").read_text(encoding="utf-8") == shipped, "limits of pools, no telemetry"
    assert not (tmp_path / ".dagster/.telemetry").exists()


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> curation.Installation:
    folder = tmp_path_factory.mktemp("toy")
    (folder / "videos").mkdir()
    for n in range(2):
        write_video(folder / "videos" / f"v{n}.mp4", [25, 25], first=n * 50)
    recipe = {**RECIPE, "source": {"format": "folder", "path": str(folder / "videos")}}
    file = curation.save_recipe(recipe, folder / "recipes" / "toy.yaml")
    made = curation.open(file, storage=folder / "data", home=folder / "home", workers=1)
    made.run()
    return made


def test_a_column_or_folder_that_there_is_not_is_one_sentence(toy: curation.Installation, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"^clips has no column 'orign'; did you mean origin\?$"):
        toy.table("clips", ["clip_id", "orign"])
    with pytest.raises(LookupError, match=r"^where: clips has no column 'motoin'; it has dataset, .*fps"):
        toy.table("clips", where=ds.field("motoin") > 0.1)
    with pytest.raises(TypeError, match=r"^where: 'motion > 0\.1' is no expression; pyarrow\.dataset\.field"):
        toy.table("motion_scores", where="motion > 0.1")  # type: ignore[arg-type]
    with pytest.raises(LookupError, match=r"no table is called 'clip'; did you mean clips\?"):
        toy.table("clip")
    empty = curation.Installation(
        toy.settings.model_copy(update={"storage": str(tmp_path / "dta")}), toy.recipes, tmp_path
    )
    for ask in (lambda: empty.table("clips"), lambda: empty.clip("v0_0_1000"), lambda: empty.export("toy-all")):
        with pytest.raises(LookupError, match=r"dta: no such folder, so there are no tables; correct `storage`"):
            ask()
    assert empty.plan(), "what is to be made can be asked before anything is"
    (tmp_path / "dta").mkdir()
    assert empty.table("clips").num_rows == 0
    with pytest.raises(LookupError, match="no clip is called"):
        empty.clip("v0_0_1000")


def test_tables_are_read_over_all_shards_in_three_ways_alike(toy: curation.Installation) -> None:
    clips = toy.table("clips")
    [(counted,)] = toy.relation("clips").aggregate("count(*)").fetchall()
    assert clips.num_rows == len(toy.pandas("clips")) == counted > 2
    assert toy.table("clips", ["clip_id"]).column_names == ["clip_id"]
    assert toy.shards("clips") == ["toy-00000"]
    assert toy.shards("dataset_index") == []
    assert toy.table("dataset_index").num_rows == 2
    with pytest.raises(LookupError, match="no table is called 'clpis'; did you mean clips"):
        toy.table("clpis")


def test_a_frame_of_pandas_without_pandas_is_one_sentence(
    toy: curation.Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "installed", lambda module: module != "pandas")
    with pytest.raises(
        extras.MissingExtra, match="a pandas frame needs pandas, which is not installed: pip install pandas"
    ):
        toy.pandas("clips")


def test_a_clip_gives_its_frames_as_they_are_displayed_and_the_one_on_screen(toy: curation.Installation) -> None:
    for row in toy.table("clips").to_pylist():
        clip = toy.clip(row["clip_id"])
        frames = list(clip.frames())
        assert len(frames) == row["end_frame"] - row["start_frame"]
        assert [f.time_ms for f in frames] == sorted({f.time_ms for f in frames})
        assert (frames[0].time_ms, frames[0].image.shape[2]) == (row["start_ms"], 3)
        shown = clip.frame(frames[3].time_ms + 5)
        assert shown.time_ms == frames[3].time_ms
        assert np.array_equal(shown.image, frames[3].image)
        assert clip.pictures()[0][:2] == b"\xff\xd8"
        with pytest.raises(ValueError, match="is outside"):
            clip.frame(row["end_ms"])
    for wrong in ("v0", "v0_1_2", "nobody_0_5"):
        with pytest.raises(LookupError, match=f"no clip is called '{wrong}'"):
            toy.clip(wrong)


def test_an_export_gives_each_sample_with_its_bytes_and_scores(toy: curation.Installation) -> None:
    samples = list(toy.export("toy-all"))
    selected = toy.table("curated_clips").to_pylist()
    assert sorted(s.row["clip_id"] for s in samples) == sorted(r["clip_id"] for r in selected if r["selected"])
    assert len(samples) == len(toy.export("toy-all"))
    for sample in samples:
        assert sample.mp4()[4:8] == b"ftyp"
        assert sample.curated["motion"] is not None
        assert sample.split == "train"
    with pytest.raises(LookupError, match="no clips are exported of 'toy-none'; there are toy-all"):
        toy.export("toy-none")


def test_the_plan_says_what_a_change_touches_and_a_run_does_no_more(toy: curation.Installation, tmp_path: Path) -> None:
    assert toy.plan() == []
    file = Path(toy.settings.recipes)
    before = file.read_text()
    file.write_text(before + "motion: {fps: 2}\n")
    changed = curation.open(file, storage=toy.settings.storage, home=tmp_path / "home", workers=1)
    stale = {s.asset: s.reasons for s in changed.plan() if s.state == "stale"}
    assert stale == {"motion_scores": ("parameter motion_scores.fps: 4.0 -> 2.0",)}
    file.write_text(before)


def test_whoever_only_asks_leaves_no_folder_of_runs(
    toy: curation.Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    file = Path(toy.settings.recipes)
    for asking in (curation.open(file, storage=toy.store.storage.root), toy):
        assert asking.plan() == []
        assert asking.table("clips").num_rows > 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        curation.RecipeError,
        match=r"the recipe: clips\.detctor: unknown key; did you mean detector\? allowed are from, cuts, shots, stitch, detector",
    ):
        curation.load_recipe({**RECIPE, "clips": {"detctor": "content"}})
    with pytest.raises(curation.RecipeError, match="unknown key"):
        curation.save_recipe({**RECIPE, "motions": {}}, tmp_path / "r.yaml")
    assert not (tmp_path / "r.yaml").exists()
    with pytest.raises(curation.RecipeError, match="no such file or folder"):
        curation.open(tmp_path / "nothing.yaml")
    curation.save_recipe({**RECIPE, "source": {"format": "folder", "path": str(tmp_path / "no")}}, tmp_path / "r.yaml")
    with (
        curation.open(tmp_path / "r.yaml", storage=tmp_path / "data", home=tmp_path / "home") as toy,
        pytest.raises(curation.RunFailed, match="not everything of toy was made"),
    ):
        toy.run()


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, curation_assets; print([m for m in ('dagster', 'pyarrow', 'pydantic', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.strip() == "[]"
    code = "import sys, curation_assets; curation_assets.load_recipe; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.strip() == "False"
