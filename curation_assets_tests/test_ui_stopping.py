"""`curation ui` in the background of a script, where a shell has interrupts ignored: SIGTERM ends it and all that it started."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from curation_assets_tests.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def at_work(home: Path) -> dict[int, str]:
    """Process -> command line of all that have this DAGSTER_HOME in their environment and have not ended."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"DAGSTER_HOME={home}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended, or somebody else's
            continue
    return {pid: said for pid, said in found.items() if said}  # a zombie has no command line


def until(holds: object, home: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, at_work(home)
        time.sleep(0.3)


def test_a_script_has_its_background_jobs_ignore_interrupts() -> None:
    said = subprocess.run(
        ["sh", "-c", "grep SigIgn /proc/self/status & wait"], capture_output=True, text=True, check=True
    )
    assert int(said.stdout.split()[1], 16) & 1 << (signal.SIGINT - 1)


def test_sigterm_ends_the_ui_of_a_script_and_all_that_it_started(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (tmp_path / "toy.yaml").write_text("dataset: toy\nsource: {format: folder, path: videos}\n")
    (tmp_path / "videos").mkdir()
    port, pictures, look = (free_port() for _ in range(3))
    own = {
        "DAGSTER_HOME": str(home),
        "CURATION_STORAGE": "data",
        "CURATION_RECIPES": "toy.yaml",
        "CURATION_PICTURES_URL": f"http://127.0.0.1:{pictures}",
        "CURATION_LOOK_URL": f"http://127.0.0.1:{look}",
    }
    command = f"{shlex.quote(sys.executable)} -m curation_assets.cli ui --port {port} > ui.log 2>&1 & echo $!; wait"
    script = subprocess.Popen(
        ["sh", "-c", command], cwd=tmp_path, env={**os.environ, **own}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert script.stdout is not None
        ui = int(script.stdout.readline())

        def answers() -> bool:
            try:
                return all(urllib.request.urlopen(f"http://127.0.0.1:{p}", timeout=5) for p in (port, pictures, look))
            except OSError as error:
                return getattr(error, "code", None) is not None  # of contact sheets nothing lies at the root

        until(answers, home)
        assert len(at_work(home)) > 5
        os.kill(ui, signal.SIGTERM)
        until(lambda: not at_work(home), home)
        script.wait(30)
    finally:
        for pid in at_work(home):
            os.kill(pid, signal.SIGKILL)
        script.wait(30)
