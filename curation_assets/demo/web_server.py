"""A web server on loopback, for lists of addresses to be tried with."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation_assets.settings import SettingsError

HOST = "127.0.0.1"


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[int]:
    """Serves a folder by HTTP on loopback while the block runs, and gives the port.

    Args:
        folder: what is served.
        port: 0 is any that is free.

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
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
