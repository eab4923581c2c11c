"""Processes as the operating system knows them: which one this is, whether one that was noted down still lives, and children that end with
the process that started them.

What belongs here: identity and life of processes. What does not: what a process was working on.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from enum import Enum
from multiprocessing.connection import wait
from pathlib import Path
from typing import NoReturn

PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the thread that started it ends."""


class Life(Enum):
    """What can be said of a process from here."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ProcessId:
    """A process, told apart from every other one that ever had or will have its number.

    Attributes:
        host: name of the machine.
        pid: its number.
        started: clock ticks between the machine's start and the process's; None where there is no /proc.
        boot: identity of the machine's start; empty where there is no /proc.
        space: the space of process numbers that `pid` belongs to, of which each container has its own; empty where there is no /proc.
    """

    host: str
    pid: int
    started: int | None = None
    boot: str = ""
    space: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def dumps(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def loads(cls, text: str) -> ProcessId:
        """The inverse of `dumps`.

        Raises:
            ValueError: text that `dumps` did not write.
        """
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"no process: {text!r}") from error

    def life(self) -> Life:
        """Whether the process lives; unknown on another machine or in another container."""
        here = this_process()
        if self.host != here.host:
            return Life.UNKNOWN
        if self.boot != here.boot:
            return Life.DEAD
        if self.space != here.space:
            return Life.UNKNOWN
        if self.started is not None:
            return Life.ALIVE if started(self.pid) == self.started else Life.DEAD
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return Life.DEAD
        except PermissionError:
            return Life.ALIVE
        return Life.ALIVE


def this_process() -> ProcessId:
    return ProcessId(socket.gethostname(), os.getpid(), started(os.getpid()), _boot(), _space())


def started(pid: int) -> int | None:
    """When a process of this machine was started, in clock ticks since the machine's start; None if there is none, or it has ended and
    only waits to be asked for its exit code."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def started_at(pid: int) -> float | None:
    """The same as seconds since 1970, to about a second; None also where there is no /proc."""
    ticks = started(pid)
    if ticks is None:
        return None
    booted = time.time() - float((PROC / "uptime").read_text().split()[0])
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _space() -> str:
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def end_with_parent() -> None:
    """Called in a child process: ends it, at the latest when it next runs Python, as soon as the process that started it is gone.

    On Linux the kernel does it, whatever the child is at; elsewhere, and if the parent ended before the kernel was told, a thread that
    watches the parent. Interrupts of the terminal are left to the parent.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True, name="end-with-parent").start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def leave(code: int) -> NoReturn:
    """Ends this process, whose work is done, with an exit code: as `sys.exit` does, but without taking down the interpreter.

    Libraries (Arrow, DuckDB, ONNX Runtime, an event loop for S3) keep threads of their own until the process ends. One that comes back to
    a Python that is going is unwound, which aborts the process if it is inside C++ code, as does a pool that is destroyed while it works:
    exit code 134 after everything was made.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def die_with_parent() -> None:
    """Asks Linux to kill this process when the thread that started it ends; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
