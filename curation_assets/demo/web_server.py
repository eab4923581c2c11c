"""A web server on loopback, for lists of addresses to be tried with."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation_assets.settings import SettingsError

HOST = "127.0.0.1"


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could be started on that port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def served(folder: Path, port: int) -> Iterator[None]:
    """Serves a folder by HTTP on loopback while the block runs.

    Raises:
        SettingsError: the port is in use.
    """

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

    try:
        server = http.server.ThreadingHTTPServer((HOST, port), functools.partial(Quiet, directory=str(folder)))
    except OSError as error:
        raise SettingsError(
            f"port {port} of {HOST}, which the web server of the samples needs, is in use ({error.strerror}); stop what uses it"
            " (another demo?) and try again"
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
