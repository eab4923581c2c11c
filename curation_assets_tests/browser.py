"""The real web server and a real browser, for the UI's test and for the screenshots of the documentation."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation_assets_tests.ports import free_port

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoBrowser(RuntimeError):
    """There is no Chromium on this machine; the message says how to get one."""


def chromium() -> str:
    """Path of a Chromium: the variable CHROMIUM, else the first found on PATH."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise NoBrowser("no Chromium: install Debian's package chromium, or set CHROMIUM to one")
    return found


@contextmanager
def web_server(folder: Path, environment: Mapping[str, str], ready_s: float = 120) -> Iterator[str]:
    """Runs `dagster-webserver` over the code location in `folder` on a free loopback port; yields its address.

    Args:
        folder: working directory, against which relative paths of recipes and settings count.
        environment: added to this process's.
        ready_s: how long it may take until it answers.

    Raises:
        RuntimeError: it ended or did not answer; with what it wrote.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    command += ["-m", "curation_assets.definitions"]
    environment = {**os.environ, **environment}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + ready_s
            while not _answers(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise RuntimeError(f"the web server does not answer:\n{log.read()[-3000:]}")
                time.sleep(0.3)
            yield address
        finally:
            _stop(process)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/server_info", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the server with the code server and runs that it started, which share its process group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            continue
        time.sleep(0.5)


@contextmanager
def browser_page(address: str, size: tuple[int, int] = (1280, 800), timeout_s: float = 30) -> Iterator[Any]:
    """A page of a headless Chromium, whose relative URLs are below `address`.

    Raises:
        NoBrowser: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, base_url=address)
        page.set_default_timeout(timeout_s * 1000)
        try:
            yield page
        finally:
            browser.close()
