"""The door for other people's packages: the shipped example, installed; every kind of thing a package can bring; packages that are broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import imageio_ffmpeg
import pyarrow.parquet as pq
import pytest

from curation_assets.registry import COMPONENTS
from curation_assets_tests.decode.coded_video import write_video

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "greyscale"


def package(site: Path, name: str, points: dict[str, dict[str, str]], code: str = "") -> None:
    """An installed distribution with entry points: kind -> name -> object."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        line
        for kind, entries in points.items()
        for line in (f"[curation_assets.{kind}]", *(f"{n} = {value}" for n, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (site / f"{name.replace('-', '_')}.py").write_text(code)


def installation(folder: Path, site: Path) -> dict[str, str]:
    """Environment of an installation in `folder` that sees the packages in `site`."""
    home = folder / ".dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text((ROOT / "deploy" / "dagster.local.yaml").read_text())
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith("CURATION_")},
        "PYTHONPATH": str(site),
        "DAGSTER_HOME": str(home),
        "CURATION_STORAGE": str(folder / "data"),
        "CURATION_RECIPES": str(folder / "mine.yaml"),
        "CURATION_WORKERS": "1",
    }


def curation(folder: Path, env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "curation_assets.cli", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def python(site: Path, code: str) -> str:
    """What a program prints that sees the packages in `site`."""
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed by pip as its users do."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    copy = tmp_path_factory.mktemp("example") / "greyscale"
    copy.mkdir()
    for file in EXAMPLE.iterdir():
        if file.is_file():
            (copy / file.name).write_text(file.read_text())
    done = subprocess.run([*pip, str(copy)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return folder


RECIPE = """
dataset: mine
source: {format: folder, path: ./videos}
clips: {from: whole}
greyscale: {tolerance: 8}
subsets:
  coloured: {where: ["greyscale <= 0.5"]}
"""


def test_the_example_is_small_and_installs_a_score_with_all_that_belongs_to_one(tmp_path: Path, site: Path) -> None:
    written = [line for line in (EXAMPLE / "curation_greyscale.py").read_text().splitlines() if line.strip()]
    assert len(written) < 60
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "colour.mp4", [30])
    _grey(tmp_path / "videos")
    (tmp_path / "mine.yaml").write_text(RECIPE)
    env = installation(tmp_path, site)
    done = curation(tmp_path, env, "run", "mine.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {r["video_id"]: r for r in pq.read_table(tmp_path / "data/greyscale_scores/mine-00000.parquet").to_pylist()}
    assert (rows["grey"]["greyscale"], rows["colour"]["greyscale"]) == (1.0, 0.0)
    chosen = pq.read_table(tmp_path / "data/curated_clips/mine-coloured.parquet").to_pylist()
    assert {(r["video_id"], r["selected"], r["greyscale"]) for r in chosen} == {
        ("colour", True, 0.0),
        ("grey", False, 1.0),
    }
    assert "dropped by: greyscale <= 0.5" in curation(tmp_path, env, "explain", "grey").stdout
    clip = rows["grey"]["clip_id"]
    assert "greyscale_scores\n  greyscale  1\n" in curation(tmp_path, env, "explain", clip).stdout
    assert "greyscale_scores" in curation(tmp_path, env, "report").stdout

    (tmp_path / "mine.yaml").write_text(RECIPE.replace("tolerance: 8", "tolerance: 9"))
    behind = [json.loads(line) for line in curation(tmp_path, env, "stale", "--json", "--why").stdout.splitlines()]
    stale = {b["asset"]: b["reasons"] for b in behind if b.get("state") == "stale"}
    assert list(stale) == ["greyscale_scores"], "what it is made from is left alone"
    assert "parameter tolerance: 8 -> 9" in str(stale["greyscale_scores"])
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("tolerance: 8", "tolerence: 8"))
    wrong = curation(tmp_path, env, "stale")
    assert wrong.returncode == 2
    assert (
        "mine.yaml: greyscale.tolerence: unknown key; did you mean tolerance? allowed are tolerance, where"
        in wrong.stderr
    )


def test_the_page_shows_the_example_as_it_is() -> None:
    page = (ROOT / "docs/how-to/add_a_score.md").read_text()
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    assert (EXAMPLE / "curation_greyscale.py").read_text().endswith(f'"""\n\n{code}')
    settings = tomllib.loads(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    whole = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())
    told = {"description", "requires-python"}
    assert settings == {**whole, "project": {k: v for k, v in whole["project"].items() if k not in told}}


def _grey(folder: Path) -> None:
    write_video(folder / "source.mp4", [30])
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(folder / "source.mp4")]
    subprocess.run([*command, "-vf", "hue=s=0", str(folder / "grey.mp4")], check=True, timeout=240)
    (folder / "source.mp4").unlink()


def test_the_example_is_an_asset_with_checks_lineage_and_resources_and_has_its_place_in_the_references(
    site: Path,
) -> None:
    code = """
import json
from curation_assets.definitions import build_definitions
from curation_assets.publish.curating.funnels import CHARTED
from curation_assets.recipes import parse_recipe
from curation_assets.reference import PAGES
from curation_assets.settings import Settings
from dagster import AssetKey
recipe = parse_recipe("dataset: mine\\nsource: {format: folder, path: .}\\ngreyscale: {}\\n", "mine.yaml")
definitions = build_definitions(Settings(storage="memory://plug"), {"mine": recipe})
graph = definitions.resolve_asset_graph()
node = graph.get(AssetKey("greyscale_scores"))
tags = {k: v for a in definitions.assets for key in getattr(a, "keys", ()) if key == node.key for k, v in a.op.tags.items()}
print(json.dumps({
    "parents": sorted(k.to_user_string() for k in node.parent_keys), "group": node.group_name,
    "checks": sorted(k.name for k in node.check_keys), "resources": any("k8s" in t for t in tags),
    "columns": [c.name for c in node.metadata["dagster/column_schema"].columns],
    "recipes": PAGES["reference/recipes.md"](), "tables": PAGES["reference/tables.md"](), "charted": CHARTED,
}))
"""
    found = json.loads(python(site, code).splitlines()[-1])
    assert found["parents"] == ["clips", "frames"]
    assert found["group"] == "scores"
    assert found["checks"] == ["contract"]
    assert found["resources"]
    assert {"motion", "greyscale"} <= set(found["charted"]), "what the event of a subset shows the distribution of"
    assert "greyscale" in found["columns"]
    assert "## `greyscale`" in found["recipes"]
    assert "Largest difference of red, green and blue" in found["recipes"]
    assert "## greyscale_scores" in found["tables"]


WAYS = '''
import io
from pathlib import Path

import av
import numpy as np
from pydantic import Field

from curation_assets.components import Section
from curation_assets.ingest.sources import RejectedLine, SourceRow
from curation_assets.decode.shots.cuts import Cut, CutList
from curation_resources.captioners import CaptionAnswer
from curation_resources.detectors.base import Detections
from curation_resources.downloader import Downloaded
from curation_resources.tars import Member


class Numbers:
    """A source of so many videos."""

    class Options(Section):
        count: int = Field(ge=1)

    def read(self, source, options, storage):
        for n in range(options.count):
            yield SourceRow(f"v{n}", f"numbers://{n}", source.path[0], n + 1, title=f"number {n}")
        yield RejectedLine(source.path[0], options.count + 1, "?", "not a number")


class Maker:
    def handles(self, url):
        return url.startswith("numbers://")

    def fetch(self, url, folder, options):
        path = Path(folder) / "media.mp4"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", 25, options={"g": "10"})
            stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
            rng = np.random.default_rng(int(url[-1]))
            for _ in range(2):
                picture = rng.integers(0, 255, (96, 128, 3), np.uint8)
                for _ in range(20):
                    out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            out.mux(stream.encode())
        return Downloaded(path)


class Halves:
    """A boundary in the middle of forty frames."""

    class Options(Section):
        at: int = 20

    needs, every_frame = "bgr", True

    def __init__(self, params, options, fps):
        self.at, self.times = options.at, []

    def push(self, index, time_ms, picture):
        self.times.append(time_ms)

    def finish(self):
        cut = Cut(self.at, self.times[self.at], 1.0, "cut", True, self.at, self.at)
        return CutList((cut,), "halves")


class Echo:
    version = "7"

    def __init__(self, params, options):
        self.identity = "echo"

    def answer(self, requests):
        for request in requests:
            yield CaptionAnswer(request.key, f"{len(request.load())} pictures")


class Middle:
    names, description, has_features, concurrent = ("thing",), "middle", False, True

    def __init__(self, params, options, threads):
        pass

    def detect(self, images):
        box = np.array([[32, 24, 64, 48]], np.float32)
        return [Detections(box, np.array([0.9], np.float32), np.array([[0.9]], np.float32)) for _ in images]


def last(candidates, select, options, index):
    return index[-select.count:]


class OneFile:
    """All clips one after the other in one file."""

    def __init__(self, params, options, storage, folder):
        self.storage, self.path, self.data, self.files = storage, f"{folder}/all.bin", b"", []

    def add(self, split, key, mp4, record):
        import hashlib
        at, self.data = len(self.data), self.data + mp4
        return Member(self.path, at, len(mp4), hashlib.sha256(mp4).hexdigest())

    def close(self):
        self.storage.write(self.path, self.data)
'''
WAYS_RECIPE = """
dataset: mine
source: {format: numbers, path: nowhere, options: {count: 2}}
clips: {detector: halves, min_s: 0.2}
captions: {backend: echo}
tracks: {detector: middle, where: []}
subsets:
  two:
    select: {criterion: last, count: 2}
    export: {clips: {format: one_file}}
"""


def test_a_package_brings_sources_downloaders_detectors_captioners_criteria_and_formats(tmp_path: Path) -> None:
    site = tmp_path / "site"
    points = {
        "sources": {"numbers": "ways:Numbers()"},
        "downloaders": {"numbers": "ways:Maker()"},
        "shot_detectors": {"halves": "ways:Halves"},
        "captioners": {"echo": "ways:Echo"},
        "object_detectors": {"middle": "ways:Middle"},
        "criteria": {"last": "ways:last"},
        "export_formats": {"one_file": "ways:OneFile"},
    }
    code = WAYS + "\nNUMBERS, MAKER = Numbers(), Maker()\n"
    points["sources"]["numbers"], points["downloaders"]["numbers"] = "ways:NUMBERS", "ways:MAKER"
    package(site, "ways", points, code)
    (tmp_path / "mine.yaml").write_text(WAYS_RECIPE)
    env = installation(tmp_path, site)
    assert "with ways 1.0: sources numbers, downloaders numbers" in curation(tmp_path, env, "--version").stdout
    done = curation(tmp_path, env, "run", "mine.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    clips = pq.read_table(tmp_path / "data/clips/mine-00000.parquet").to_pylist()
    assert [(c["video_id"], c["start_frame"], c["end_frame"]) for c in clips if c["status"] == "ok"] == [
        (f"v{n}", first, first + 20) for n in range(2) for first in (0, 20)
    ]
    captions = pq.read_table(tmp_path / "data/captions/mine-00000.parquet").to_pylist()
    assert {c["caption"] for c in captions} <= {f"{n} pictures" for n in range(1, 9)}
    tracks = pq.read_table(tmp_path / "data/tracks/mine-00000.parquet").to_pylist()
    assert {(t["label"], t["detector"].split(";")[0]) for t in tracks} == {("thing", "middle")}
    exported = pq.read_table(tmp_path / "data/clip_dataset/mine-two.parquet").to_pylist()
    assert [r["video_id"] for r in exported] == ["v1", "v1"]
    assert {Path(r["tar"]).name for r in exported} == {"all.bin"}
    assert {r["offset"] for r in exported} != {0}

    again = curation(tmp_path, env, "run", "mine.yaml")
    assert again.returncode == 0
    assert "made: nothing" in again.stdout or "made: dataset_index" not in again.stdout
    (tmp_path / "mine.yaml").write_text(
        WAYS_RECIPE.replace("detector: halves,", "detector: halves, options: {at: 30},")
    )
    assert "parameter clips.options: absent -> {'at': 30}" in curation(tmp_path, env, "stale", "--why").stdout
    for wrong, said in (
        ("count: 0", "options.count of format 'numbers': Input should be greater than or equal to 1"),
        ("cuont: 2", "options.cuont of format 'numbers': unknown key; there are count"),
        ("", "options.count of format 'numbers': required key is missing; there are count"),
    ):
        (tmp_path / "mine.yaml").write_text(WAYS_RECIPE.replace("count: 2}}\nclips", f"{wrong}}}}}\nclips"))
        failed = curation(tmp_path, env, "stale")
        assert failed.returncode == 2
        assert f"mine.yaml: source: {said}" in failed.stderr


FAULTY = '''
from curation_assets.components import (
    CLIP_KEYS, ERROR, FLOAT, STRING, Column, Component, RecipeKey, Section, TableSchema, frame_score, if_named, media_score, share,
)


class Params(Section):
    "None."


def brightness(pictures, params):
    if pictures[0].min() > 240:
        open("weights.bin").close()
    return {"bright": "very" if pictures[0].max() - pictures[0].min() < 60 else 0.5}


def estimator(params):
    return "length"


def score(source, clips, params):
    """Of the video `b` of no clip at all, of `c` a column that is not declared, of `d` what cannot be worked out, of `f` without end, of `g` with a file."""
    for clip in clips:
        if clip["video_id"] == "g":
            open("weights.bin").close()
        while clip["video_id"] == "f":
            yield {"length": 1.0}
        if clip["video_id"] == "b":
            return
        if clip["video_id"] == "c":
            yield {"lenght": 1.0}
        yield {"length": 1 / (clip["video_id"] != "d")}


LENGTH = Component(
    TableSchema("length_scores", "a clip's length", ("video_id", "clip_id"),
        (*CLIP_KEYS, Column("length", FLOAT, "Seconds."), Column("estimator", STRING, "How.", nullable=False), ERROR)),
    "scores", keys=(RecipeKey("length", Params),), asked_by=if_named("length"), params=lambda r: r.length.model_dump(),
    inputs=("clips", "raw_shards"), complete="clips", curated=("length",),
)
STAGES = [
    frame_score("bright_scores", "bright", Params, [share("bright", "Brightness.")], "faulty:brightness", about="Brightness."),
    media_score(LENGTH, "faulty"),
]
'''


def test_what_a_function_gives_and_the_table_cannot_hold_costs_its_clip_and_says_so(tmp_path: Path) -> None:
    package(tmp_path / "site", "faulty", {"components": {"it": "faulty:STAGES"}}, FAULTY)
    (tmp_path / "videos").mkdir()
    for name in "abcdf":
        write_video(tmp_path / f"videos/{name}.mp4", [12])
    for name, colour in (("e", "gray"), ("g", "white")):
        flat = f"{imageio_ffmpeg.get_ffmpeg_exe()} -v error -f lavfi -i color={colour}:size=64x64:duration=1"
        subprocess.run([*flat.split(), str(tmp_path / f"videos/{name}.mp4")], check=True, timeout=60)
    recipe = "dataset: mine\nsource: {format: folder, path: ./videos}\nclips: {from: whole}\nbright: {}\nlength: {}\n"
    (tmp_path / "mine.yaml").write_text(recipe)
    env = installation(tmp_path, tmp_path / "site")
    done = curation(tmp_path, env, "run", "mine.yaml")
    assert done.returncode == 1, done.stdout + done.stderr
    away = "1 of 7 videos could not be read (storage; bright_scores, length_scores): [Errno 2] No such file or directory: 'weights.bin'"
    assert f"FAILED {away}. They are tried again, alone, by the next run" in done.stdout
    (tmp_path / "weights.bin").touch()
    done = curation(tmp_path, env, "run", "mine.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    wrong = "faulty:brightness gave 'very' for bright, which is no float"
    said = f"2 of 7 clips without bright_scores: {wrong}: `curation list failed --why bright_scores`"
    report = curation(tmp_path, env, "report", "--exit-code")
    assert report.returncode == 1
    for text in (done.stdout, report.stdout):
        assert said in text.splitlines()
        assert "4 of 7 clips without length_scores: the score's function " in text
        assert "; 1 further reason (1): `curation list failed --why length_scores`" in text
    rows = {r["video_id"]: r for r in pq.read_table(tmp_path / "data/bright_scores/mine-00000.parquet").to_pylist()}
    assert {v: (r["bright"], r["error"]) for v, r in rows.items()} == {
        **dict.fromkeys("abcdf", (0.5, None)),
        "e": (None, wrong),
        "g": (None, wrong),
    }
    rows = {r["video_id"]: r for r in pq.read_table(tmp_path / "data/length_scores/mine-00000.parquet").to_pylist()}
    assert {v: (r["length"], r["error"]) for v, r in rows.items()} == {
        **dict.fromkeys("aeg", (1.0, None)),
        "b": (None, "the score's function was asked of 1 clip and told of 0"),
        "c": (None, "the score's function gave lenght, which its table does not declare"),
        "d": (None, "the score's function failed (ZeroDivisionError: division by zero)"),
        "f": (None, "the score's function was asked of 1 clip and told of more"),
    }


LOADED = f"from curation_assets.registry import BROKEN, COMPONENTS\nprint(*BROKEN, sep='\\n')\nassert len(COMPONENTS) == {len(COMPONENTS)}"
STAGE = """
from curation_assets.components import CLIP_KEYS, Component, Made, RecipeKey, Section, Stage, TableSchema, share


class Mine(Section):
    "Mine."


def stage(asset, section, column, inputs=("clips",)):
    table = TableSchema(asset, "a clip", ("video_id", "clip_id"), (*CLIP_KEYS, share(column, "Mine.")))
    keys = (RecipeKey(section, Mine),)
    return Stage(asset, (Component(table, "scores", keys=keys, inputs=inputs, curated=(column,)),), lambda s, w: {})

"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_module", "mine 1.0: its entry point 'it' is left out: mine:STAGE cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"),
        ("1 / 0", "mine:STAGE cannot be imported (ZeroDivisionError: division by zero)"),
        ("STAGE = 3", "mine:STAGE is int, not a curation_assets Stage or a list of them"),
        (STAGE + "STAGE = stage('clips', 'mine', 'mine')", "the table clips is claimed by curation-assets and by mine 1.0"),
        (STAGE + "STAGE = stage('mine', 'motion', 'mine')", "the recipe key 'motion' is claimed by curation-assets and by mine 1.0"),
        (STAGE + "STAGE = stage('mine', 'mine', 'sharpness')", "the score 'sharpness' is claimed by curation-assets and by mine 1.0"),
        (STAGE + "STAGE = stage('mine', 'subsets', 'mine')", "the recipe key 'subsets' is claimed by curation-assets and by mine 1.0"),
        (STAGE + "STAGE = stage('mine', 'mine', 'duration_s')", "the score 'duration_s' is claimed by curation-assets and by mine 1.0"),
        (STAGE + "STAGE = stage('mine', 'mine', 'clip_id')", "mine declares the column clip_id twice"),
        (STAGE + "STAGE = stage('Mine Scores', 'mine', 'mine')", "the table name 'Mine Scores' must be small letters"),
        (STAGE + "STAGE = stage('mine', 'keys', 'mine')", "mine: 'keys' cannot be a key of recipes"),
        (STAGE + "STAGE = stage('mine', 'model_dump', 'mine')", "mine: 'model_dump' cannot be a key of recipes"),
        (STAGE + "STAGE = stage('mine', 'declared_in', 'mine')", "mine: 'declared_in' cannot be a key of recipes"),
        (STAGE + "STAGE = stage('mine', 'My key', 'mine')", "mine: 'My key' cannot be a key of recipes"),
        (STAGE + "STAGE = stage('mine', 'mine', 'my-hue')", "mine: 'my-hue' cannot be the name of a score"),
        (STAGE + "STAGE = stage('mine', 'mine', 'between')", "mine: 'between' cannot be the name of a score"),
        (STAGE + "STAGE = stage('mine', 'mine', 'hue.mean')", "mine: 'hue.mean' cannot be the name of a score"),
        (STAGE + "STAGE = stage('mine', 'mine', 'mine', ('clpis',))", "no table is called clpis, which it is made from"),
    ],
)  # fmt: skip
def test_a_broken_package_is_a_sentence_and_stops_nothing(tmp_path: Path, code: str, said: str) -> None:
    package(tmp_path, "mine", {"components": {"it": "mine:STAGE"}}, code)
    (line,) = python(tmp_path, LOADED).splitlines()
    assert said in line
    assert "mine 1.0" in line


def test_two_packages_that_claim_one_name_are_both_left_out_and_named(tmp_path: Path) -> None:
    for name in ("here", "there"):
        package(
            tmp_path,
            name,
            {"components": {"it": f"{name}:STAGE"}, "criteria": {"best": f"{name}:best"}},
            STAGE + "STAGE = stage('mine', 'mine', 'mine')\ndef best(*_): return []",
        )
    said = python(tmp_path, LOADED)
    assert said.count("the table mine is claimed by here 1.0 and by there 1.0") == 2
    assert "'best' of the selection criteria is claimed by here 1.0 and by there 1.0" in said
    code = (
        "from curation_assets.recipes import RecipeError, parse_recipe\n"
        "for part in ('mine: {}', 'subsets: {a: {select: {criterion: best}}}'):\n"
        "    try: parse_recipe('dataset: d\\nsource: {format: ids, path: x}\\n' + part, 'd.yaml')\n"
        "    except RecipeError as error: print(error)\n"
    )
    refused = python(tmp_path, code)
    assert "d.yaml: mine: unknown key" in refused
    assert "or a package that brings it is not installed here" in refused
    assert "the table mine is claimed by here 1.0 and by there 1.0" in refused
    assert "d.yaml: subsets.a.select.criterion: Input should be 'all'" in refused
