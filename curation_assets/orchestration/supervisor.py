"""A command whose work is done in a child process, so that it ends at once when it is told to, whatever the work is at.

Dagster turns an interrupt into one more failed step and goes on; a decoder or a model that computes does not look at signals at all. The
parent does nothing but wait: at SIGINT (Ctrl-C), SIGTERM or SIGHUP it kills the child and all that the child started. What the work
promises of a kill holds for an interrupt then: a table is the old one or the new one. The parent also sees, and says, when the child was
killed by somebody else.

What belongs here: processes, signals and the folder for temporary files. What does not: what is done about a run that was stopped.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from curation_resources.processes import Life, ProcessId, die_with_parent, started, this_process

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SCRATCH = "curation-"
"""How names of folders for temporary files begin; each says in a file which process it belongs to."""
OWNER = "process.json"


def supervised(work: Callable[[], int], afterwards: Callable[[ProcessId, bool], None], go_on: str) -> int:
    """Does `work` in a child process and waits for it.

    Args:
        work: returns an exit code.
        afterwards: called after a child that was stopped or killed, with its identity and whether it was asked to stop.
        go_on: a sentence on how to go on after an interrupt.

    Returns:
        In the child, what `work` returns: the caller exits with it. In the parent the child's exit code; 128 and the signal's number after an
        interrupt; 1 if the child was killed.
    """
    if not hasattr(os, "fork"):
        return work()
    _sweep()
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH))
    parent = os.getpid()
    (scratch / OWNER).write_text(this_process().dumps())
    heeded = [
        s for s in STOPPING if signal.getsignal(s) is not signal.SIG_IGN
    ]  # `nohup` and shells let some be ignored
    signal.pthread_sigmask(signal.SIG_BLOCK, heeded)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _become_child(parent, scratch)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, heeded)
        return work()
    here = this_process()
    identity = ProcessId(here.host, child, started(child), here.boot, here.space)
    try:
        return _wait(child, heeded, lambda asked: afterwards(identity, asked), go_on)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _become_child(parent: int, scratch: Path) -> None:
    """Leaves the terminal's signals to the parent, ends with it, and puts temporary files where they will be removed."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)


def _wait(child: int, heeded: list[signal.Signals], afterwards: Callable[[bool], None], go_on: str) -> int:
    """Waits for the child or a signal; `heeded` are blocked until it does. What a handler does would come too late for a call that blocks, and the signal may
    go to a thread that some library keeps, so that waiting for it misses it: the number of each is written to a pipe, whichever thread it comes to."""
    numbers, notes = os.pipe()
    os.set_blocking(notes, False)
    pausing = [signal.SIGTSTP] if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL else []
    for one in (signal.SIGCHLD, *pausing, *heeded):
        signal.signal(one, lambda *_: None)  # what has no handler is not noted
    signal.set_wakeup_fd(notes, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heeded)
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        number = os.read(numbers, 1)[0]
        if number == signal.SIGTSTP:
            _pause(child)
        elif number != signal.SIGCHLD:
            _kill_group(child)
            threading.Thread(target=_end_at_next, args=(numbers, heeded), daemon=True).start()
            os.waitpid(child, 0)
            _say(f"stopped by {signal.Signals(number).name}: nothing was published after it. {go_on}")
            afterwards(True)
            return 128 + number
    for one in (signal.SIGCHLD, *pausing, *heeded):
        signal.signal(one, signal.SIG_DFL)
    _, status = ended
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        _kill_group(child, reaped=True)
        cause = ", perhaps for lack of memory (fewer CURATION_WORKERS need less)" if number == signal.SIGKILL else ""
        _say(f"the run was killed by {signal.Signals(number).name}{cause}. {go_on}")
        afterwards(False)
        return 1
    return os.waitstatus_to_exitcode(status)


def _end_at_next(numbers: int, heeded: list[signal.Signals]) -> None:
    """Ends this process at the next of these signals, whatever it is at."""
    while (number := os.read(numbers, 1)[0]) not in heeded:
        pass
    os._exit(128 + number)


def _kill_group(child: int, reaped: bool = False) -> None:
    """Kills the child and what it started; what it started in sessions of their own ends when it sees that the child is gone."""
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it had not made its group yet, or nothing of it is left
        if not reaped:
            os.kill(child, signal.SIGKILL)


def _pause(child: int) -> None:
    """Ctrl-Z: the child stands still as long as the parent does."""
    os.killpg(child, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    os.killpg(child, signal.SIGCONT)


def _sweep() -> None:
    """Removes folders for temporary files whose processes were killed."""
    for owner in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*/{OWNER}"):
        try:
            if ProcessId.loads(owner.read_text()).life() is Life.DEAD:
                shutil.rmtree(owner.parent, ignore_errors=True)
        except (OSError, ValueError):
            continue  # another user's, or just being made or removed


def _say(text: str) -> None:
    print(f"curation: {text}", file=sys.stderr, flush=True)
