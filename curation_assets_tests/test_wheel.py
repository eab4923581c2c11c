"""What `pip install` of this project gives: built, installed and run outside the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"curation_assets", "curation_resources"}
HEAVY = {"torch", "torchvision", "transformers", "open_clip", "onnxruntime", "kubernetes", "dagster_k8s", "psycopg2"}
TRIES_S = 1500


def tracked(*folders: str) -> set[str]:
    """Files of the repository below these folders, as git knows them; without git, as they lie there."""
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", *folders],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode == 0:
        return {name for name in asked.stdout.splitlines() if (ROOT / name).is_file()}
    files = {p for folder in folders for p in (ROOT / folder).rglob("*") if p.is_file()}
    return {str(p.relative_to(ROOT)) for p in files if "__pycache__" not in p.parts}


def build(source: Path, target: Path) -> Path:
    """The wheel of a source tree, by pip and the build backend that the tree names."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TRIES_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (wheel,) = target.glob("*.whl")
    return wheel


def members(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the repository, links as links: building leaves folders behind."""
    tree = tmp_path_factory.mktemp("tree")
    for name in tracked("curation_assets", "resources", "curation_assets_tests", "benchmarks", "recipes", "deploy"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "curation_resources"):
        shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    return build(tree, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_holds_the_two_packages_whole_and_nothing_else(wheel: Path) -> None:
    held = members(wheel)
    (info,) = {name.split("/")[0] for name in held if ".dist-info/" in name}
    assert {name.split("/")[0] for name in held} == {*OURS, info}
    expected = {re.sub("^resources/", "curation_resources/", name) for name in tracked("curation_assets", "resources")}
    assert {name for name in held if not name.startswith(info)} == expected
    assert f"{info}/licenses/LICENSE" in held
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        assert archive.read("curation_assets/starter/demo.yaml") == (ROOT / "recipes" / "demo.yaml").read_bytes()
    core = [line for line in re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE) if "extra ==" not in line]
    assert [line for line in core if "==" in line] == []
    assert not {re.split(r"[^\w-]", line)[0].lower().replace("-", "_") for line in core} & HEAVY


@pytest.mark.slow
def test_what_the_image_copies_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    tree = tmp_path / "image"
    allowed = {line[1:] for line in (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().split() if line[0] == "!"}
    for line in re.findall(r"^COPY (.*)$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE):
        *sources, target = line.split()
        assert set(sources) <= allowed
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(
                    ROOT / source, tree / target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                tree.mkdir(exist_ok=True)
                shutil.copy2(ROOT / source, tree / source)
    assert {p.resolve().name for p in (tree / "recipes").glob("demo*.yaml") if p.exists()} == {
        "demo.yaml",
        "demo_web.yaml",
    }
    assert members(build(tree, tmp_path / "wheel")) == members(wheel)


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and an empty folder to work in."""

    root: Path
    folder: Path

    @property
    def packages(self) -> Path:
        (found,) = (self.root / "lib").glob("python*/site-packages")
        return found

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A program of the environment, in the folder, with nothing of the repository or of this process's settings around it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CURATION_", "DAGSTER_", "PYTHON"))}
        return subprocess.run(
            [str(self.root / "bin" / words[0]), *words[1:]],
            cwd=self.folder,
            env={**kept, "PWD": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=TRIES_S,
            check=False,
        )


@pytest.fixture(scope="module")
def core(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The wheel without extras in an environment of its own."""
    environment = Environment(tmp_path_factory.mktemp("core"), tmp_path_factory.mktemp("empty"))
    venv.create(environment.root, with_pip=True)
    before = {p.name for p in environment.packages.iterdir()}
    constraints = str(ROOT / "constraints.txt")
    done = environment.run("python", "-m", "pip", "install", "--quiet", "--constraint", constraints, str(wheel))
    assert done.returncode == 0, done.stderr[-3000:]
    assert {"curation_assets", "curation_resources"} <= {p.name for p in environment.packages.iterdir()} - before
    yield environment
    shutil.rmtree(environment.root)


@pytest.mark.slow
@pytest.mark.timeout(TRIES_S)
def test_the_core_has_no_model_and_no_cluster_and_says_what_it_is(core: Environment) -> None:
    there = {p.name for p in core.packages.iterdir()}
    assert not there & {*HEAVY, "resources", "curation_assets_tests", "benchmarks", "tests"}
    said = core.run("curation", "--version")
    assert said.returncode == 0
    assert "[core]" in said.stdout
    checked = core.run("python", "-m", "pip", "check")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.slow
@pytest.mark.timeout(TRIES_S)
def test_the_demo_runs_in_an_empty_folder_and_a_second_time_has_nothing_to_do(core: Environment) -> None:
    first = core.run("curation", "demo")
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    assert "pip install 'curation-assets[onnx]'" in first.stdout
    (table,) = (core.folder / "data" / "clip_dataset").glob("demo-hq.parquet")
    published = pq.read_table(table)
    assert published.num_rows > 5
    assert set(published["dataset"].to_pylist()) == {"demo", "demo_web"}
    second = core.run("curation", "demo")
    assert second.returncode == 0, second.stdout[-3000:]
    made = re.search(r"^made: (.*)$", second.stdout, re.MULTILINE)
    assert made is None or set(re.findall(r"[a-z_]+", made[1])) <= {"raw_shards"}, second.stdout
    behind = core.run("curation", "stale", "--exit-code")
    assert behind.returncode == 0, behind.stdout


@pytest.mark.slow
@pytest.mark.timeout(TRIES_S)
def test_what_init_writes_runs(core: Environment) -> None:
    if not (core.folder / ".demo").exists():
        assert core.run("curation", "demo").returncode == 0
    assert core.run("curation", "init", ".demo/videos", "--dataset", "mine").returncode == 0
    done = core.run("curation", "run", "recipes/mine.yaml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert pq.read_metadata(core.folder / "data" / "curated_clips" / "mine-hq.parquet").num_rows
    asked = core.folder / "asked.yaml"
    asked.write_text("dataset: asked\nsource: {format: folder, path: .demo/videos, limit: 1}\nclips: {from: detect}\n")
    refused = core.run("curation", "run", "asked.yaml")
    assert refused.returncode == 2
    assert "asked.yaml: clips cannot be made here: clips.detector cascade" in refused.stderr
    assert "index" not in refused.stdout, "before anything is done"
    assert "pip install 'curation-assets[models]'" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
