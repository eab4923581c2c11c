"""A command that is told to end: at once, whatever it is at, with all that it started, and a second time without asking back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation_assets_tests.resources.test_processes import gone
from curation_resources.processes import PROC

PROGRAM = """
import hashlib, os, signal, subprocess, sys, tempfile
from pathlib import Path
from curation_assets.orchestration.supervisor import STOPPING, supervised
folder = Path(sys.argv[1])
for number in STOPPING:
    signal.signal(number, signal.SIG_DFL)  # whoever runs the tests in the background may have them ignored

def work():
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # like a library that keeps interrupts to itself
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen(["sleep", "600"])
    (Path(tempfile.mkdtemp()) / "spool").write_text("x" * 100)
    (folder / "scratch").write_text(tempfile.gettempdir())
    (folder / "started").write_text(f"{os.getpid()} {child.pid}")
    if sys.argv[2] == "ends":
        child.kill()
        return 7
    while True:
        pass

def afterwards(process, asked):
    print("after", process.pid, asked, flush=True)
    if sys.argv[2] == "slow":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # does not look at signals

sys.exit(supervised(work, afterwards, "Do it again."))
"""


def start(tmp_path: Path, kind: str) -> tuple[subprocess.Popen[str], list[int]]:
    (tmp_path / "tmp").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path), kind],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not (tmp_path / "started").exists() or not (tmp_path / "started").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    return process, [int(p) for p in (tmp_path / "started").read_text().split()]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_work_and_what_it_started(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process, (worker, grandchild) = start(tmp_path, "busy")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out.split() == ["after", str(worker), "True"]
    assert err == f"curation: stopped by {number.name}: nothing was published after it. Do it again.\n"
    assert gone(worker)
    assert gone(grandchild)
    assert list((tmp_path / "tmp").iterdir()) == []  # temporary files of the work lay in a folder of their own


def test_a_second_signal_ends_the_process_at_once(tmp_path: Path) -> None:
    process, (worker, _) = start(tmp_path, "slow")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("after")
    time.sleep(0.5)  # so that it is at work that does not look at signals
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(60) == 143
    finally:
        process.kill()
    assert gone(worker)
    process.communicate()


def test_work_stands_still_with_the_command_and_goes_on_with_it(tmp_path: Path) -> None:
    process, (worker, _) = start(tmp_path, "busy")
    process.send_signal(signal.SIGTSTP)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    end = time.monotonic() + 60
    while PROC.is_dir() and not (PROC / f"{worker}/stat").read_text().rpartition(") ")[2].startswith("T"):
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert gone(worker)


BETWEEN = """
import os, signal, sys, threading
from curation_assets.orchestration.supervisor import STOPPING, supervised
for number in STOPPING:
    signal.signal(number, signal.SIG_DFL)
threading.Thread(target=threading.Event().wait, daemon=True).start()  # as libraries have them; no signal is blocked in it
begin, begun = os.pipe()
look = os.waitpid

def looked(child, options):
    found = look(child, options)
    if options == os.WNOHANG and not found[0]:
        if sys.argv[1] == "ends":
            os.write(begun, b"x")
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        else:
            os.kill(os.getpid(), int(sys.argv[1]))
    return found

os.waitpid = looked
sys.exit(supervised(lambda: len(os.read(begin, 1)) + 6, lambda process, asked: print("after", asked), "Do it again."))
"""


@pytest.mark.parametrize(("what", "code"), [("ends", 7), (f"{signal.SIGINT:d}", 130), (f"{signal.SIGTERM:d}", 143)])
def test_what_comes_between_a_look_and_the_wait_is_not_missed(what: str, code: int) -> None:
    """With a thread that the signal may go to: the command waited for ever for a child that had ended, or ended without a word."""
    found = subprocess.run(
        [sys.executable, "-c", BETWEEN, what],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == code, found.stderr
    assert found.stdout == ("" if what == "ends" else "after True\n")


def test_work_that_is_killed_is_said_and_noted(tmp_path: Path) -> None:
    process, (worker, _) = start(tmp_path, "busy")
    os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert out.split() == ["after", str(worker), "False"]
    assert re.search("killed by SIGKILL, perhaps for lack of memory", err)


def test_work_ends_when_the_command_is_killed_and_the_next_one_sweeps(tmp_path: Path) -> None:
    process, (worker, grandchild) = start(tmp_path, "busy")
    process.kill()
    assert gone(worker)
    os.kill(grandchild, signal.SIGKILL)  # `sleep` does not look after whoever started it, as workers do
    process.communicate(timeout=60)
    scratch = Path((tmp_path / "scratch").read_text())
    assert scratch.is_dir()
    again = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), "ends"],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp"), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert again.returncode == 7
    assert not scratch.exists()
