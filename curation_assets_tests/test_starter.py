"""What an empty folder begins with, which packages are optional, and what is said where one is missing."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import urllib.request
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

from curation_assets import starter
from curation_assets.cli import main
from curation_assets.demo.running import declare, listed
from curation_assets.installed import lacking
from curation_assets.recipes import Recipe, parse_recipe, read_recipes
from curation_assets.settings import Settings, SettingsError
from curation_resources import extras

ROOT = Path(__file__).resolve().parents[1]
NEED_AN_EXTRA = {
    "curation_assets.decode.shots.transnet",
    "curation_assets.decode.shots.transnet_whole",
    "curation_assets.decode.shots.whole_numbers",
    "curation_assets.scores.text_detection",
    "curation_assets.tracks.following",
    "curation_assets.tracks.shard_search",
    "curation_assets.tracks.tracking",
    "curation_resources.detectors.text_prompted",
}
"""Modules that are imported after `extras.require` only."""
RECIPES = ("demo.yaml", "demo_web.yaml", "recipe.yaml")


def having(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these extras were installed and no others."""
    brought = {module for name in names for module in extras.EXTRAS[name]}
    monkeypatch.setattr(extras, "installed", lambda module: module in brought)


def recipe(name: str) -> Recipe:
    text = starter.filled(name, {"dataset": "mine", "source": "format: folder\n  path: /videos", "cut": "detect"})
    return parse_recipe(text, name)


@pytest.mark.parametrize("name", RECIPES)
def test_starters_ask_for_what_is_installed_and_for_no_more(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch)
    core = recipe(name)
    assert core.clips.detector == "adaptive"
    assert not {"text", "tracks"} & core.model_fields_set
    for subset in core.subsets.values():
        assert not [rule for rule in subset.where if "text_area" in str(rule)]
        assert subset.where
    having(monkeypatch, "onnx")
    with_onnx = recipe(name)
    assert with_onnx.clips.detector == "adaptive"
    assert "text" in with_onnx.model_fields_set
    having(monkeypatch, "onnx", "models")
    whole = recipe(name)
    assert whole.clips.detector == "cascade"
    assert whole.subsets.keys() == core.subsets.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_starters_in_the_repository_are_those_of_a_whole_installation(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    having(monkeypatch, "onnx", "models")
    text = starter.text_of(name)
    assert starter.as_installed(text) == text
    having(monkeypatch)
    bare = starter.as_installed(text)
    having(monkeypatch, "onnx", "models")
    assert starter.as_installed(bare) == text


def test_the_demo_reads_the_folder_that_it_was_given(tmp_path: Path) -> None:
    recipes, folder = tmp_path / "recipes", tmp_path / "of mine"
    files = declare(recipes, folder)
    assert [list(parse_recipe(f.read_text(), f.name).source.path) for f in files] == [
        [str(folder / "videos")],
        [str(folder / "videos.csv")],
    ]
    assert declare(recipes, folder) == files
    with pytest.raises(SettingsError, match=r"demo\.yaml is there already and does not read .*elsewhere/videos"):
        declare(recipes, tmp_path / "elsewhere")


def test_the_list_of_the_demo_keeps_its_port_until_somebody_else_has_it(tmp_path: Path) -> None:
    listing = tmp_path / "videos.csv"
    (tmp_path / "a.mp4").write_bytes(b"a video")

    def said() -> bytes:
        (row,) = csv.DictReader(listing.read_text().splitlines())
        with urllib.request.urlopen(row["url"], timeout=60) as answer:
            return bytes(answer.read())

    with listed(tmp_path, listing, {"a": "A."}) as port:
        assert f"a,http://127.0.0.1:{port}/a.mp4,A." in listing.read_text()
        assert said() == b"a video"
    written = listing.read_bytes()
    with listed(tmp_path, listing, {"a": "A."}) as again:
        assert (again, listing.read_bytes()) == (port, written)
        assert said() == b"a video"
        with listed(tmp_path, listing, {"a": "A."}) as other:
            assert other != port
            assert f":{other}/a.mp4" in listing.read_text()
            assert said() == b"a video"


def test_every_suggestion_of_the_starter_recipe_may_be_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch, "onnx", "models")
    text = starter.filled(
        "recipe.yaml", {"dataset": "mine", "source": "format: folder\n  path: /videos", "cut": "detect"}
    )
    suggestion = re.compile(r"^( *)# (\w+: .*)$", re.MULTILINE)
    found = suggestion.findall(text)
    assert len(found) >= 8
    followed = parse_recipe(suggestion.sub(r"\1\2", text), "recipe.yaml")
    assert {"tracks", "audio", "embeddings", "aesthetic", "categories", "captions"} <= followed.model_fields_set
    assert followed.subsets["hq"].export.clips.blur_faces


def brought_by(extra: str) -> set[str]:
    """Names of the packages that an extra asks for, those of extras that it names included."""
    found: set[str] = set()
    for line in requires("curation-assets") or []:
        name, marker = re.match(r"([\w.-]+)(.*)", line), re.search(r"extra == ['\"](\w+)['\"]", line)
        if name is None or marker is None or marker[1] != extra:
            continue
        inner = re.search(r"curation.assets\[([\w,]+)\]", line)
        found |= {p for e in inner[1].split(",") for p in brought_by(e)} if inner else {normal(name[1])}
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("extra", list(extras.EXTRAS))
def test_extras_bring_the_modules_that_they_are_asked_for(extra: str) -> None:
    packages = packages_distributions()
    if extra == "torchcodec" and "torchcodec" not in packages:
        pytest.skip("torchcodec is not installed: its wheels want the system's FFmpeg")
    modules = {m: {normal(d) for d in packages[m]} for m in extras.EXTRAS[extra]}
    brought = brought_by(extra)
    assert {m for m, names in modules.items() if not names & brought} == set()
    assert brought - {d for names in modules.values() for d in names} <= {"psycopg2-binary"}


def test_no_module_of_an_extra_is_needed_by_the_core() -> None:
    core = {normal(re.match(r"[\w.-]+", r)[0]) for r in requires("curation-assets") or [] if "extra ==" not in r}  # type: ignore[index]
    for extra in extras.EXTRAS:
        assert not brought_by(extra) & core, extra


def test_the_core_loads_where_no_extra_is_installed() -> None:
    """Only modules that a stage imports after `require` may need what an extra brings."""
    optional = sorted({module for brought in extras.EXTRAS.values() for module in brought})
    code = f"""
import importlib, json, pkgutil, sys
sys.modules.update(dict.fromkeys({optional!r}))
import curation_assets, curation_resources
names = ["curation_assets.definitions"]
for package in (curation_assets, curation_resources):
    names += [m.name for m in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=print)]
failed = []
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed.append(name)
print(json.dumps(failed))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout.splitlines()[-1])) == NEED_AN_EXTRA


def test_what_is_missing_is_one_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    having(monkeypatch)
    extras.require("nothing")
    with pytest.raises(extras.MissingExtra) as caught:
        extras.require("reading text", "rapidocr", "onnxruntime", "shapely")
    assert str(caught.value) == (
        "reading text needs rapidocr, onnxruntime and shapely, which are not installed: pip install 'curation-assets[onnx]'"
    )
    having(monkeypatch, "captions")
    with pytest.raises(extras.MissingExtra, match=r"needs open_clip, which is not installed: .*\[models\]'$"):
        extras.require("a CLIP model", "torch", "open_clip")


def test_stages_name_the_extra_before_they_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    from curation_assets.decode.shots import check_installed
    from curation_assets.registry import component
    from curation_resources.captioners.transformers_model import load_transformers_captioner

    having(monkeypatch)
    mine = parse_recipe("dataset: mine\nsource: {format: folder, path: /videos}\n", "mine.yaml")
    needing = {
        "onnx": [lambda: component("text_scores").weights(mine), lambda: component("tracks").weights(mine)],
        "models": [lambda: check_installed(mine.clips)],
        "captions": [lambda: load_transformers_captioner("/nowhere")],
    }
    for extra, calls in needing.items():
        for call in calls:
            with pytest.raises(extras.MissingExtra, match=rf"pip install 'curation-assets\[{extra}\]'$"):
                call()
    given = mine.clips.model_copy(update={"detector": "content"})
    check_installed(given)
    check_installed(mine.clips.model_copy(update={"from_": "fixed"}))


def test_what_cannot_be_made_here_is_said_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    having(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    (tmp_path / "videos").mkdir()
    mine = tmp_path / "mine.yaml"
    mine.write_text("dataset: mine\nsource: {format: folder, path: videos}\n")
    monkeypatch.setenv("CURATION_RECIPES", str(mine))
    monkeypatch.setenv("CURATION_STORAGE", str(tmp_path / "data"))
    assert main(["run", "mine.yaml"]) == 2
    said = capsys.readouterr()
    assert "mine.yaml: clips cannot be made here: clips.detector cascade (content, adaptive and" in said.err
    assert "pip install 'curation-assets[models]'" in said.err
    assert not list(tmp_path.rglob("*.parquet"))
    recipe = parse_recipe(mine.read_text(), "mine.yaml")
    assert [asset for _, asset, _ in lacking({"mine": recipe}, None)] == ["clips"]
    assert not list(lacking({"mine": recipe}, ["raw_shards"])), "what is not asked for needs nothing"
    assert not list(
        lacking({"mine": parse_recipe(mine.read_text() + "clips: {detector: adaptive}\n", "mine.yaml")}, None)
    )


def test_init_writes_what_run_reads_and_never_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    for name in ("STORAGE", "RECIPES"):  # or the second command would leave those of the .env it reads to other tests
        monkeypatch.setenv(f"CURATION_{name}", f"./{name.lower()}")
    (tmp_path / "My Videos (2024)").mkdir()
    assert main(["init", "My Videos (2024)"]) == 0
    said = capsys.readouterr().out
    assert "run recipes/my_videos_2024.yaml" in said
    read = read_recipes("recipes").usable["my_videos_2024"]
    assert (read.source.format, list(read.source.path)) == ("folder", ["My Videos (2024)"])
    assert "enabled: false" in (tmp_path / ".dagster" / "dagster.yaml").read_text()
    mine = tmp_path / "recipes" / "my_videos_2024.yaml"
    mine.write_text("dataset: my_videos_2024\nsource: {format: folder, path: elsewhere}\n")
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    assert main(["init", "My Videos (2024)", "--storage", "s3://bucket/made"]) == 0
    said = capsys.readouterr().out
    assert said.count("left as it is:") == 3
    assert "put CURATION_STORAGE=s3://bucket/made into .env yourself" in said
    assert {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize("storage", ["/made here", "s3://bucket/it's #1", "./data", r"C:\made"])
def test_init_writes_settings_that_read_as_they_were_given(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    monkeypatch.delenv("CURATION_STORAGE", raising=False)
    (tmp_path / "films.csv").mkdir()
    assert main(["init", "films.csv", "--storage", storage]) == 0
    assert Settings.load().storage == storage
    assert read_recipes("recipes").usable["films"].source.format == "folder"


@pytest.mark.parametrize(
    ("source", "format_", "dataset"),
    [
        ("s3://bucket/My-Films/", "folder", "my_films"),
        ("s3://bucket", "folder", "bucket"),
        ("hf://datasets/a/b/list.csv.gz", "table", "list"),
        ("https://host/videos.jsonl?token=secret", "table", "videos"),
        ("https://host/ids.txt", "ids", "ids"),
        ("s3://bucket/samples/00000.tar", "webdataset", "00000"),
        (None, "folder", "mine"),
    ],
)
def test_init_tells_what_a_source_is(
    source: str | None, format_: str, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    assert main(["init", *([source] if source else [])]) == 0
    assert read_recipes("recipes").usable[dataset].source.format == format_


def test_init_says_what_is_wrong_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / ".dagster"))
    assert main(["init", "videoz"]) == 2
    assert "videoz: no such file or folder" in capsys.readouterr().err
    assert main(["init", "--dataset", "My Films"]) == 2
    said = capsys.readouterr().err
    assert "--dataset: dataset: 'My Films' cannot be a name" in said
    assert said.rstrip().endswith("; my_films can")
    assert "^" not in said, "no pattern is shown"
    assert not list(tmp_path.iterdir())


def test_version_names_the_package_and_its_extras() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "curation_assets.cli", "--version"],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert re.fullmatch(
        r"curation-assets \d+\.\d+\S* \[onnx, captions, models, cluster, wandb, mlflow\]; dagster \d\S+\n", said.stdout
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from curation_assets.cli import parser

    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    commands = next(a for a in parser()._actions if a.choices and "run" in a.choices).choices or ()
    assert [c for c in commands if c not in script] == []
    if shell == "bash":
        probe = 'COMP_WORDS=(curation re); COMP_CWORD=1; _shtab_curation; echo "${COMPREPLY[@]}"'
        done = subprocess.run(
            ["bash", "-c", f"{script}\n{probe}"], capture_output=True, text=True, timeout=240, check=True
        )
        assert {"report", "remove", "rename"} <= set(done.stdout.split())
