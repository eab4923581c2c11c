"""Each instance file that deploy/ ships, as Dagster's own commands take it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest

from curation_assets_tests.deploy.conftest import DEPLOY
from curation_assets_tests.deploy.postgres import postgres
from curation_assets_tests.ports import free_port

DAGSTER = str(Path(sys.executable).with_name("dagster"))


def serves(tmp_path: Path, file: str, variables: Mapping[str, str]) -> None:
    """`dagster dev` with an instance file answers and its daemon runs."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(DEPLOY / file, home / "dagster.yaml")
    (tmp_path / "recipes").mkdir()
    environment = {
        **os.environ,
        **variables,
        "DAGSTER_HOME": str(home),
        "CURATION_STORAGE": str(tmp_path / "data"),
        "CURATION_RECIPES": str(tmp_path / "recipes"),
    }
    port = free_port()
    command = [DAGSTER, "dev", "-m", "curation_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = time.monotonic() + 240
        while True:
            said = (tmp_path / "log").read_text()
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=30) as answer:
                    assert answer.status == 200
                if "Instance is configured with the following daemons" in said:
                    break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                pass
            time.sleep(0.5)
        assert "MonitoringDaemon" in said
        assert "EventLogConsumerDaemon" in said  # which starts runs again
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_dagster_dev_on_one_machine(tmp_path: Path) -> None:
    serves(tmp_path, "dagster.local.yaml", {})


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_dagster_dev_against_a_database_outside_kubernetes(tmp_path: Path) -> None:
    with postgres() as variables:
        serves(tmp_path, "dagster.postgres.yaml", variables)
