"""deploy/slurm: array tasks take shares of the shards, and the chain of phases makes a dataset."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.recipes import load_recipes
from curation_assets.schemas import SCHEMAS
from curation_assets.selection import SUBSET_ASSETS, assets_of_recipe, assets_of_subset
from curation_assets_tests.deploy.conftest import DEPLOY
from curation_assets_tests.deploy.slurm import slurm
from curation_assets_tests.fault_server import wait_until
from curation_assets_tests.sample_video import sample_video
from curation_resources.storage import Storage
from curation_resources.tables import TableStore

ROOT = DEPLOY.parent
_SPEC = importlib.util.spec_from_file_location("phase", DEPLOY / "slurm" / "phase.py")
assert _SPEC is not None
assert _SPEC.loader is not None
phase = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(phase)


@given(count=st.integers(0, 60), tasks=st.integers(1, 20), first=st.integers(0, 3))
def test_shares_are_contiguous_even_and_complete(count: int, tasks: int, first: int) -> None:
    keys = [f"videos-{n:05d}" for n in range(count)]
    shares = [
        phase.share(
            keys,
            {
                "SLURM_ARRAY_TASK_MIN": str(first),
                "SLURM_ARRAY_TASK_COUNT": str(tasks),
                "SLURM_ARRAY_TASK_ID": str(first + task),
            },
        )
        for task in range(tasks)
    ]
    assert [k for s in shares for k in s] == keys
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert phase.share(keys, {}) == keys


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").rglob("*.yaml")), ids=lambda f: f.stem)
def test_the_phases_make_all_that_a_recipe_wants(file: Path) -> None:
    (recipe,) = load_recipes(str(file)).values()
    shards = [f"{recipe.dataset}-{n:05d}" for n in range(4)]
    task = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_ID": "1"}
    made: list[str] = []
    for name in phase.PHASES:
        said = phase.arguments(str(file), name, task, [*shards, "other-00000"]).split()
        made += said[1].split(",") if said else []
        assert said[2:] == (["--shards", "..".join(shards[2:])] if said and name in ("shards", "scores") else [])
    assert len(made) == len(set(made))
    of_subsets = {a for subset in recipe.subsets.values() for a in assets_of_subset(subset)}
    assert set(made) == {"dataset_index", *assets_of_recipe(recipe)} - set(SUBSET_ASSETS) | of_subsets


def test_a_recipe_that_gathers_more_has_more_phases(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("dataset: r\nsource: {format: folder, path: x}\ncaptions: {backend: source}\n")
    assert phase.phases(str(recipe)) == ["index one", "shards array", "clusters one", "scores array", "subsets one"]
    recipe.write_text(recipe.read_text() + "concepts: {}\n")
    more = ["concepts one", "after_concepts array"]
    assert phase.phases(str(recipe)) == [
        "index one",
        "shards array",
        "clusters one",
        "scores array",
        *more,
        "subsets one",
    ]
    said = phase.arguments(str(recipe), "after_concepts", {}, ["r-00000"]).split()
    assert said == ["--select", "clip_concepts,captions", "--shards", "r-00000"]
    assert phase.arguments(str(recipe), "concepts", {}, ["r-00000"]) == "--select concepts"


def test_a_phase_needs_no_folder_of_records_and_says_in_one_sentence_what_it_cannot_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "new"))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("dataset: r\nsource: {format: folder, path: x}\n")
    monkeypatch.setattr("sys.argv", ["phase.py", str(recipe), "shards"])
    phase.main()
    assert capsys.readouterr().out == "\n", "nothing is indexed yet"
    recipe.write_text("dataset: r\nsourc: 1\n")
    with pytest.raises(SystemExit) as ended:
        phase.main()
    assert ended.value.code == 2, "so that the task is not tried again"
    assert f"phase.py: {recipe}: source: required key is missing" in capsys.readouterr().err


def install(tmp_path: Path, videos: int) -> tuple[Path, dict[str, str], TableStore]:
    """A folder of videos, a recipe with one video per shard, and the environment of a job."""
    (tmp_path / "videos").mkdir()
    for number in range(videos):
        (tmp_path / "videos" / f"v{number}.mp4").write_bytes(sample_video(seconds=2, seed=number))
    recipe = {
        "dataset": "videos",
        "source": {"format": "folder", "path": str(tmp_path / "videos")},
        "shard": {"videos": 1},
        "clips": {"from": "whole", "min_s": 0.5},
        "subsets": {"all": {"where": ["keep"]}},
    }
    file = tmp_path / "videos.yaml"
    file.write_text(yaml.safe_dump(recipe))
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    root = str(tmp_path / "data")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "CURATION_HOME": str(ROOT),
        "CURATION_STORAGE": root,
        "CURATION_RECIPES": str(file),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    return file, environment, TableStore(Storage(root), SCHEMAS)


def test_the_body_of_an_array_task_runs_its_share(tmp_path: Path) -> None:
    """The batch script as Slurm would start it, for the second of two tasks over three shards, each with an instance of its own."""
    recipe, environment, store = install(tmp_path, videos=3)
    (tmp_path / "node").mkdir()
    environment |= {"TMPDIR": str(tmp_path / "node")}
    del environment["DAGSTER_HOME"]
    script = ["bash", str(DEPLOY / "slurm" / "curation.sbatch"), str(recipe)]
    subprocess.run([*script, "index"], env=environment, check=True, capture_output=True, timeout=200, cwd=tmp_path)
    own = {
        "SLURM_ARRAY_TASK_ID": "1",
        "SLURM_ARRAY_TASK_MIN": "0",
        "SLURM_ARRAY_TASK_COUNT": "2",
        "SLURM_CPUS_PER_TASK": "1",
    }
    done = subprocess.run(
        [*script, "shards"], env={**environment, **own}, capture_output=True, text=True, timeout=250, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(store.partitions("clips")) == ["videos-00001", "videos-00002"]
    assert store.read("clips", "videos-00001")["status"].to_pylist() == ["ok"]
    assert list((tmp_path / "node").glob("curation-home-*")) == [], "the instance ends with its task"
    assert not list((tmp_path / "home").glob("storage*")), "nor was another one used"


def verdict(folder: Path, tasks: int) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(DEPLOY / "slurm" / "verdict.sh"), str(folder), str(tasks)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def command(tmp_path: Path) -> dict[str, str]:
    """Environment of a task whose `curation` and `python` are stand-ins: the first does what a file `curation.sh` says."""
    (tmp_path / "bin").mkdir()
    for name, text in (("python", "echo --select clips"), ("curation", f". {tmp_path}/curation.sh")):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/bash\n{text}\n")
        program.chmod(0o755)
    (tmp_path / "states").mkdir()
    home = tmp_path / "installation"  # without a .venv, so that PATH decides
    home.mkdir()
    return {
        **os.environ,
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "CURATION_HOME": str(home),
        "CURATION_STATES": str(tmp_path / "states"),
        "DAGSTER_HOME": str(tmp_path),
    }


def test_a_task_notes_its_state_and_is_tried_again_until_it_is_done(tmp_path: Path, command: dict[str, str]) -> None:
    batch = ["bash", str(DEPLOY / "slurm" / "curation.sbatch"), "r.yaml"]

    def task(phase: str, body: str) -> int:
        (tmp_path / "curation.sh").write_text(body)
        return subprocess.run([*batch, phase], env=command, timeout=240, check=False, capture_output=True).returncode

    states = tmp_path / "states"
    assert verdict(states, 1).returncode == 1
    for name in ("index", "shards", "clusters", "scores"):
        assert task(name, "exit 0") == 0
    assert task("subsets", "exit 1") == 1
    said = verdict(states, 1)
    assert said.returncode == 1
    assert "failed 1" in said.stdout
    assert "1 of 5 tasks are not done" in said.stdout
    assert task("subsets", f"touch {tmp_path}/ran; exit 0") == 0  # tried again
    assert (tmp_path / "ran").exists()
    (tmp_path / "ran").unlink()
    assert task("subsets", f"touch {tmp_path}/ran; exit 0") == 0  # done: not again
    assert not (tmp_path / "ran").exists()
    assert verdict(states, 1).returncode == 0
    assert verdict(states, 2).returncode == 1  # a second array task never started
    (states / "index-0.state").unlink()
    assert task("index", "exit 2") == 2
    assert task("index", "exit 0") == 2  # a recipe that cannot be used does not become so by itself


def test_a_killed_task_has_a_log_and_a_state(tmp_path: Path, command: dict[str, str]) -> None:
    (tmp_path / "curation.sh").write_text(f"touch {tmp_path}/at-work; sleep 600\n")
    batch = ["bash", str(DEPLOY / "slurm" / "curation.sbatch"), "r.yaml", "shards"]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(batch, env=command, stdout=out, stderr=out, start_new_session=True)
        wait_until((tmp_path / "at-work").exists)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert log.read_text().startswith("shards 0 begins: job none on ")
    assert "killed, or still running" in verdict(tmp_path / "states", 1).stdout
    (tmp_path / "curation.sh").write_text("exit 0\n")
    again = subprocess.run(batch, env=command, capture_output=True, text=True, timeout=240, check=True)
    assert "shards 0 is tried again; it was left as: running" in again.stdout
    assert (tmp_path / "states/shards-0.state").read_text().startswith("done\n")


def test_the_time_limit_of_a_task_ends_its_run(tmp_path: Path, command: dict[str, str]) -> None:
    """Slurm's warning goes to the batch script alone."""
    (tmp_path / "curation.sh").write_text(
        f"trap 'touch {tmp_path}/told; exit 143' TERM; touch {tmp_path}/at-work; while :; do sleep 0.05; done\n"
    )
    batch = ["bash", str(DEPLOY / "slurm" / "curation.sbatch"), "r.yaml", "shards"]
    process = subprocess.Popen(batch, env=command, stdout=subprocess.PIPE, text=True)
    wait_until((tmp_path / "at-work").exists)
    process.terminate()
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 143
    assert (tmp_path / "told").exists()
    assert "shards 0 ends: failed 143" in out


def finish(environment: dict[str, str], seconds: float = 800) -> None:
    """Waits until Slurm's queue is empty."""
    end = time.monotonic() + seconds
    queue = ["squeue", "--noheader", "--format=%i %j %T %r"]
    while waiting := subprocess.run(queue, env=environment, capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < end, waiting
        time.sleep(1)


def logs_of(folder: Path) -> str:
    return "\n".join(f"== {f.name}\n{f.read_text()[-1500:]}" for f in sorted(folder.glob("*.log")))


def kill_first_try(environment: dict[str, str], folder: Path, phase: str) -> None:
    """Kills a task of Slurm's with all that belongs to it, without a word to it, as the out-of-memory killer of a node does."""
    end = time.monotonic() + 400
    mark = f"CURATION_STATES={folder}".encode()
    while time.monotonic() < end:
        found = [
            p
            for p in Path("/proc").glob("[0-9]*")
            if _holds(p, "environ", mark) and _holds(p, "environ", f"SLURM_JOB_NAME={phase}".encode())
        ]
        if any(_holds(p, "cmdline", b"--shards") and _holds(p, "cmdline", b"curation") for p in found):
            for process in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process.name), signal.SIGKILL)
            return
        time.sleep(0.1)
    raise AssertionError(f"no task of {phase} was seen at work")


def _holds(process: Path, file: str, mark: bytes) -> bool:
    try:
        return mark in (process / file).read_bytes()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kill", [False, True])
def test_the_chain_of_phases_on_slurm(tmp_path: Path, kill: bool) -> None:
    """submit.sh on Slurm's own daemons: two array tasks side by side, the phases after each other, a subset at the end; a task that is
    killed is tried again."""
    recipe, environment, store = install(tmp_path, videos=3)
    states = tmp_path / "states"
    with slurm() as clients:
        environment |= {"SLURM_CONF": clients["SLURM_CONF"], "CURATION_CORES": "1", "CURATION_MEMORY": "0"}
        environment |= {"CURATION_STATES": str(states)}
        submit = ["bash", str(DEPLOY / "slurm" / "submit.sh"), str(recipe), "2"]
        done = subprocess.run(
            submit, env=environment, check=True, capture_output=True, text=True, timeout=240, cwd=tmp_path
        )
        assert f"logs and states: {states}" in done.stdout
        if kill:
            kill_first_try(environment, states, "shards")
        finish(environment, 1600)
    logs = logs_of(states)
    said = verdict(states, 2)
    assert said.returncode == 0, said.stdout + logs
    assert "all 7 tasks are done" in "".join(f.read_text() for f in states.glob("verdict-*.log"))
    assert ("is tried again; it was left as: running" in logs) == kill
    shards = ["videos-00000", "videos-00001", "videos-00002"]
    for asset in ("clips", "clip_fingerprints", "dedup"):
        assert sorted(store.partitions(asset)) == shards
    assert store.read("curated_clips", "videos-all").num_rows == 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_chain_whose_tasks_fail_says_so(tmp_path: Path) -> None:
    """A source that is gone fails the index, what depends on it never starts, and waiting for the chain ends with a failure."""
    recipe, environment, _ = install(tmp_path, videos=1)
    (tmp_path / "videos").rename(tmp_path / "elsewhere")
    states = tmp_path / "states"
    with slurm() as clients:
        environment |= {"SLURM_CONF": clients["SLURM_CONF"], "CURATION_CORES": "1", "CURATION_MEMORY": "0"}
        environment |= {"CURATION_STATES": str(states), "CURATION_WAIT": "1"}
        submit = ["bash", str(DEPLOY / "slurm" / "submit.sh"), str(recipe), "1"]
        done = subprocess.run(
            submit, env=environment, capture_output=True, text=True, timeout=900, cwd=tmp_path, check=False
        )
    assert done.returncode != 0, done.stdout
    said = verdict(states, 1).stdout
    assert "failed 1" in said
    assert said.count("never started") == 4
    assert "index 0 is tried again" in logs_of(states)
