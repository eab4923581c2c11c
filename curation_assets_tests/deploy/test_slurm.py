"""deploy/slurm: array tasks take shares of the shards, and the chain of phases makes a dataset."""

from __future__ import annotations

import importlib.util
import os
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
from curation_assets.selection import SUBSET_ASSETS, assets_of_recipe
from curation_assets_tests.deploy.conftest import DEPLOY
from curation_assets_tests.deploy.slurm import slurm
from curation_assets_tests.sample_video import sample_video
from resources.storage import Storage
from resources.tables import TableStore

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
    made = [a for p in phase.PHASES for a in phase.assets(recipe, p)]
    assert len(made) == len(set(made))
    assert set(made) - {"dataset_index", *SUBSET_ASSETS} == set(assets_of_recipe(recipe)) - set(SUBSET_ASSETS)


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
    """The batch script as Slurm would start it, for the second of two tasks over three shards."""
    recipe, environment, store = install(tmp_path, videos=3)
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_chain_of_phases_on_slurm(tmp_path: Path) -> None:
    """submit.sh on Slurm's own daemons: two array tasks side by side, the phases after each other, a subset at the end."""
    recipe, environment, store = install(tmp_path, videos=3)
    with slurm() as clients:
        environment |= {"SLURM_CONF": clients["SLURM_CONF"], "CURATION_CORES": "1", "CURATION_MEMORY": "0"}
        submit = ["bash", str(DEPLOY / "slurm" / "submit.sh"), str(recipe), "2"]
        done = subprocess.run(
            submit, env=environment, check=True, capture_output=True, text=True, timeout=60, cwd=tmp_path
        )
        jobs = done.stdout.split()
        assert len(jobs) == 5
        end = time.monotonic() + 800
        queue = ["squeue", "--noheader", "--format=%i %T %r"]
        while waiting := subprocess.run(queue, env=environment, capture_output=True, text=True, check=True).stdout:
            assert time.monotonic() < end, waiting
            time.sleep(1)
    logs = "\n".join(f"== {f.name}\n{f.read_text()[-1500:]}" for f in sorted(tmp_path.glob("curation-*.log")))
    assert "FAILED" not in logs, logs
    assert "Traceback" not in logs, logs
    shards = ["videos-00000", "videos-00001", "videos-00002"]
    for asset in ("clips", "clip_fingerprints", "dedup"):
        assert sorted(store.partitions(asset)) == shards
    assert len(list(tmp_path.glob(f"curation-shards-{jobs[1]}_*.log"))) == 2
    assert store.read("curated_clips", "videos-all").num_rows == 3
