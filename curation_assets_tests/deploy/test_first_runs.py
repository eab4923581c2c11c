"""Several first processes at once on a fresh instance, with the shipped instance files: on SQLite, and on a real PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from curation_assets_tests.deploy.conftest import DEPLOY
from curation_assets_tests.deploy.postgres import postgres
from curation_assets_tests.faults.whole_graph import RUN, install, left_over, source, store_of

OPEN = """
import sys, time
import dagster, dagster_postgres, sqlalchemy  # before the start, so that all begin at the same moment
from pathlib import Path
from curation_assets.orchestration.instance import opened
Path(sys.argv[1], sys.argv[2]).touch()
while not Path(sys.argv[1], "go").exists():
    time.sleep(0.001)
with opened(["cpu", "gpu", "network"]) as instance:
    storage = instance.event_log_storage
    print(sorted((p.name, p.limit) for p in storage.get_pool_limits()))
    print(storage.claim_concurrency_slot(sys.argv[3], "run" + sys.argv[2], "step").is_claimed)
"""


def open_at_once(folder: Path, homes: list[Path], environment: Mapping[str, str]) -> list[list[str]]:
    """What processes print that open the instance at the same moment."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(folder), str(n), ("cpu", "gpu", "network")[n]],
            env={**os.environ, **environment, "DAGSTER_HOME": str(home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for n, home in enumerate(homes)
    ]
    while not all((folder / str(n)).exists() for n in range(len(homes))):
        assert all(p.poll() is None for p in processes)
    (folder / "go").touch()
    return [p.communicate(timeout=200)[0].splitlines() for p in processes]


def homes(folder: Path, file: str, number: int) -> list[Path]:
    found = [folder / f"home{n}" for n in range(number)]
    for home in found:
        home.mkdir()
        shutil.copy(DEPLOY / file, home / "dagster.yaml")
    return found


def test_a_fresh_home_is_opened_by_several_at_once(tmp_path: Path) -> None:
    (home,) = homes(tmp_path, "dagster.local.yaml", 1)
    said = open_at_once(tmp_path, [home] * 2, {})
    assert said == [["[('cpu', 1), ('gpu', 1), ('network', 1)]", "True"]] * 2


def test_a_fresh_database_is_opened_by_several_machines_at_once(tmp_path: Path) -> None:
    """Each has a DAGSTER_HOME of its own, so that no lock between them helps."""
    with postgres() as variables:
        said = open_at_once(tmp_path, homes(tmp_path, "dagster.postgres.yaml", 2), variables)
    assert said == [["[('cpu', 50), ('gpu', 50), ('network', 50)]", "True"]] * 2


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_two_first_runs_on_a_fresh_home(tmp_path: Path) -> None:
    """Of two datasets; the pools of the shipped file let them wait for each other."""
    with source(tmp_path / "source") as given:
        shipped = install(tmp_path / "one", given)
        shipped.declare(
            "other", (shipped.root / "recipes/toy.yaml").read_text().replace("dataset: toy", "dataset: other")
        )
        both = [shipped.start(RUN), shipped.start(("run", "recipes/other.yaml"))]
        for process in both:
            out, err = process.communicate(timeout=400)
            assert process.returncode == 0, out + err
        assert set(store_of(shipped).partitions("clip_dataset")) == {"toy-hq", "other-hq"}
        assert left_over(shipped) == []


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_two_shares_of_a_dataset_on_a_fresh_database(tmp_path: Path) -> None:
    """What deploy/slurm/submit.sh RECIPE 2 starts."""
    with postgres() as variables, source(tmp_path / "source") as given:
        shipped = install(tmp_path / "one", given, instance=DEPLOY / "dagster.postgres.yaml", environment=variables)
        assert shipped.curation("run", "recipes/toy.yaml", "--select", "dataset_index").returncode == 0
        select = "video_metadata,raw_shards,clips,frames,motion_scores,quality_scores,clip_fingerprints"
        both = [
            shipped.start(("run", "recipes/toy.yaml", "--select", select, "--shards", f"toy-0000{n}")) for n in range(2)
        ]
        for process in both:
            out, err = process.communicate(timeout=400)
            assert process.returncode == 0, out + err
        assert sorted(store_of(shipped).partitions("clips")) == ["toy-00000", "toy-00001"]
