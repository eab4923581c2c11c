"""A time by which an attempt is over, and an end to it before that, whatever it waits on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from curation_resources.download_errors import STOPPED, DownloadError


class Cancellation(threading.Event):
    """An event that, when it is set, also does what has been asked for, such as closing connections that are waited on."""

    def __init__(self) -> None:
        super().__init__()
        self._actions: set[Callable[[], None]] = set()
        self._actions_lock = threading.Lock()

    def set(self) -> None:
        super().set()
        with self._actions_lock:
            for action in self._actions:
                action()

    @contextmanager
    def doing(self, action: Callable[[], None]) -> Iterator[None]:
        """Within the block, `action` is done when the event is set, at once if it is already."""
        with self._actions_lock:
            self._actions.add(action)
        if self.is_set():
            action()
        try:
            yield
        finally:
            with self._actions_lock:
                self._actions.discard(action)


class Deadline:
    """A point in time by which an attempt has to be over.

    Args:
        seconds: time from now.
        cancelled: an event that ends waiting early.
    """

    def __init__(self, seconds: float, cancelled: Cancellation | None = None) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds
        self.cancelled = cancelled or Cancellation()

    @property
    def remaining(self) -> float:
        return self.end - time.monotonic()

    def check(self) -> None:
        """Raises DownloadError(timeout) when the time is over, or network when the run is being stopped."""
        if self.cancelled.is_set():
            raise DownloadError("network", STOPPED)
        if self.remaining <= 0:
            raise DownloadError("timeout", f"the attempt was not done after {self.seconds:g} s")

    @contextmanager
    def guard(self, sock: socket.socket) -> Iterator[None]:
        """Shuts the connection of `sock` down when the time is over or the run is stopped, whatever waits on it."""
        twin = sock.dup()

        def cut() -> None:
            try:
                twin.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

        timer = threading.Timer(max(0.0, self.remaining) + 0.01, cut)
        timer.daemon = True
        timer.start()
        try:
            with self.cancelled.doing(cut):
                yield
        finally:
            timer.cancel()
            twin.close()
