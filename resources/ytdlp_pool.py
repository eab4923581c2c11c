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
from typing import Any

from curation_resources.deadline import Deadline
from curation_resources.download_errors import DownloadError

START_S = 120.0
"""Longest time that a child may take to import yt-dlp."""
POLL_S = 0.25
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from curation_resources.ytdlp_worker import main; main()"
)

Progress = Callable[[int], None]


class _Child:
    """One worker process."""

    def __init__(self) -> None:
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
        self.kill()
        return DownloadError("unsupported", f"the extractor's process died (exit code {self.process.returncode})")

    def kill(self) -> None:
        """Ends the process and everything that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
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
        try:
            answer = self._converse(child, job, deadline, first_s, progress)
        except BaseException:
            self._discard(child)
            raise
        with self._lock:
            if not self._closed:
                self._idle.append(child)
                child = None  # type: ignore[assignment]  # kept for the next job
        if child is not None:
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
                raise DownloadError("network", "the downloader is closed")
            if self._idle:
                return self._idle.pop()
            child = _Child()
            self._all.add(child)
        ready = child.event(time.monotonic() + START_S, self.cancelled)
        if ready is None:
            self._discard(child)
            raise DownloadError("network", "the extractor's process did not start in time")
        self.version = ready["version"]
        return child

    def _discard(self, child: _Child) -> None:
        child.kill()
        with self._lock:
            self._all.discard(child)

    def close(self) -> None:
        """Ends all processes, also those at work."""
        with self._lock:
            self._closed = True
            children = list(self._all)
            self._all.clear()
            self._idle.clear()
        for child in children:
            child.kill()
