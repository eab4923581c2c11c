"""A pool of yt-dlp child processes that can be ended at any moment.

A process is started when one is needed and none is idle, answers one job at a time, is used again, and is killed with all its
children when a job outlives its time.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from curation_resources.deadline import Deadline
from curation_resources.download_errors import STOPPED, DownloadError

START_S = 120.0
"""Longest time that a child may take to import yt-dlp."""
POLL_S = 0.25
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from curation_resources.ytdlp_worker import main; main()"
)

Progress = Callable[[int], None]
T = TypeVar("T")


class _Child:
    """One worker process. One thread at a time talks to it and closes its pipes; any thread may end it."""

    def __init__(self) -> None:
        self._ending = threading.Lock()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._buffer = b""
        self._lines: list[bytes] = []

    def send(self, job: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise self._died() from error

    def event(self, end: float, cancelled: threading.Event) -> dict[str, Any] | None:
        """The next event, or None when `end` (monotonic) comes first or the run is being stopped."""
        assert self.process.stdout is not None
        while not self._lines:
            wait = end - time.monotonic()
            if wait <= 0 or cancelled.is_set():
                return None
            ready, _, _ = select.select([self.process.stdout], [], [], min(wait, POLL_S))
            if ready:
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                if not data:
                    raise self._died()
                *lines, self._buffer = (self._buffer + data).split(b"\n")
                self._lines += lines
        parsed = json.loads(self._lines.pop(0))
        assert isinstance(parsed, dict)
        return parsed

    def _died(self) -> DownloadError:
        """What is said of a process that ended by itself: one that a signal took says nothing about the video."""
        self.end()
        code = self.process.returncode
        return DownloadError(
            "unsupported" if code > 0 else "resource", f"the extractor's process died (exit code {code})"
        )

    def end(self) -> None:
        """Ends the process and everything that it started. Whoever waits for its next event learns that it died."""
        with self._ending:
            if self.process.returncode is None:  # its group's number is its own until it has been waited for
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def discard(self) -> None:
        """Ends the process and closes its pipes."""
        self.end()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class YtdlpPool:
    """Runs extraction jobs in child processes.

    Args:
        cancelled: an event that ends all jobs early.
    """

    def __init__(self, cancelled: threading.Event | None = None) -> None:
        self.cancelled = cancelled or threading.Event()
        self.version = ""
        self._lock = threading.Lock()
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._closed = False

    def run(
        self, job: Mapping[str, Any], deadline: Deadline, first_s: float, progress: Progress | None = None
    ) -> dict[str, Any]:
        """Runs `job` to its answer.

        Args:
            job: see `curation_resources.ytdlp_worker`.
            deadline: when the whole job has to be done; put off by the time that a process takes to start.
            first_s: how long the metadata call may take, seconds.
            progress: called with the bytes received so far.

        Raises:
            DownloadError: the job's own failure, or timeout.
        """
        began = time.monotonic()
        child = self._take()
        deadline.end += time.monotonic() - began
        answer = self._with(child, lambda: self._converse(child, job, deadline, first_s, progress))
        with self._lock:
            kept = not self._closed
            if kept:
                self._idle.append(child)
        if not kept:
            self._discard(child)
        if answer["event"] == "failed":
            raise DownloadError(answer["error_class"], answer["message"], answer["transient"])
        return answer

    def _converse(
        self, child: _Child, job: Mapping[str, Any], deadline: Deadline, first_s: float, progress: Progress | None
    ) -> dict[str, Any]:
        child.send(job)
        extracted_by = time.monotonic() + first_s
        extracted = False
        while True:
            end = deadline.end if extracted else min(deadline.end, extracted_by)
            event = child.event(end, self.cancelled)
            if event is None:
                deadline.check()
                raise DownloadError("timeout", f"the metadata call was not done after {first_s:g} s")
            if event["event"] == "extracted":
                extracted = True
            elif event["event"] == "progress":
                if progress:
                    progress(event["bytes"])
            else:
                return event

    def _take(self) -> _Child:
        with self._lock:
            if self._closed:
                raise DownloadError("network", STOPPED)
            if self._idle:
                return self._idle.pop()
            child = _Child()
            self._all.add(child)
        self.version = self._with(child, lambda: self._started(child))
        return child

    def _started(self, child: _Child) -> str:
        """The version of yt-dlp that `child` has imported."""
        ready = child.event(time.monotonic() + START_S, self.cancelled)
        if ready is None:
            raise DownloadError("network", "the extractor's process did not start in time")
        version = ready["version"]
        assert isinstance(version, str)
        return version

    def _with(self, child: _Child, talk: Callable[[], T]) -> T:
        """What `talk` gives; `child` is discarded when it fails."""
        try:
            return talk()
        except BaseException as error:
            self._discard(child)
            if isinstance(error, DownloadError) and self._closed:  # the process was ended under it
                raise DownloadError("network", STOPPED) from error
            raise

    def _discard(self, child: _Child) -> None:
        child.discard()
        with self._lock:
            self._all.discard(child)

    def close(self) -> None:
        """Ends all processes, also those at work."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            working = self._all - set(idle)
        for child in working:
            child.end()
        for child in idle:
            self._discard(child)
