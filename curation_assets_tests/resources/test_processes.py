"""Processes: told apart for ever, and children that end with those that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from curation_assets_tests.fault_server import wait_until
from curation_resources.processes import Life, ProcessId, started, started_at, this_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")


def alive(pid: int) -> bool:
    return started(pid) is not None


def gone(pid: int, within_s: float = 120) -> bool:
    end = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def test_a_process_is_told_from_later_ones_of_its_number_and_from_other_machines() -> None:
    me = this_process()
    assert ProcessId.loads(me.dumps()) == me
    assert me.life() is Life.ALIVE
    assert me.started is not None
    assert replace(me, started=me.started - 1).life() is Life.DEAD  # another process has the number now
    assert replace(me, boot="the machine was started again").life() is Life.DEAD
    assert replace(me, host="elsewhere").life() is Life.UNKNOWN
    assert replace(me, space="another container").life() is Life.UNKNOWN
    child = subprocess.Popen(["sleep", "600"])
    other = replace(me, pid=child.pid, started=started(child.pid))
    assert other.life() is Life.ALIVE
    child.kill()
    assert gone(child.pid)  # it is a zombie until it is waited for, and counts as dead
    assert other.life() is Life.DEAD
    child.wait()
    with pytest.raises(ValueError, match="no process"):
        ProcessId.loads("{}")


def test_when_a_process_was_started() -> None:
    before = time.time()
    child = subprocess.Popen(["sleep", "600"])
    try:
        found = started_at(child.pid)
        assert found is not None
        assert before - 2 <= found <= time.time() + 1
    finally:
        child.kill()
        child.wait()


BUSY = """
import os, sys
from curation_assets.decode.reading.workers import Task, run_tasks
sys.path.insert(0, {here!r})
from endless import endless
list(run_tasks(endless, [Task(str(n), {folder!r}, 600.0) for n in range(2)], 2))
"""
ENDLESS = """
import os, pathlib, signal
def endless(folder):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (pathlib.Path(folder) / f"{os.getpid()}.pid").touch()
    while True:  # no call that would notice anything
        pass
"""


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    program = BUSY.format(here=str(tmp_path), folder=str(tmp_path))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", program], env=environment)
    try:
        wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert all(gone(int(f.stem)) for f in tmp_path.glob("*.pid"))


ENDING = """
import atexit, ctypes, sys
from curation_resources.processes import leave
library = ctypes.CDLL(None)
library.__cxa_atexit(library.abort, None, None)  # what a C++ library leaves to be done when the process ends
atexit.register(print, "put away", end="")
print("made")
{}(3)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names a function of glibc")
@pytest.mark.parametrize(("how", "code"), [("sys.exit", -6), ("leave", 3)])
def test_what_was_made_is_not_called_a_failure_because_of_a_library_that_aborts(how: str, code: int) -> None:
    done = subprocess.run([sys.executable, "-c", ENDING.format(how)], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (code, "made\nput away")
