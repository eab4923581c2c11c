"""Fixtures that several tests share: storage roots on a local folder and on a real S3 protocol server on loopback."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from absl import logging as absl_logging
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, settings
from moto.server import ThreadedMotoServer
from sqlalchemy import event
from sqlalchemy.engine import Engine

from curation_resources.storage import Storage

# mlcroissant logs through absl, whose handler closes its stream when logging is configured anew: by then pytest's capture file.
absl_logging.get_absl_handler().python_handler.stream = sys.__stderr__

# A shell that runs the tests in the background has interrupts ignored, and Dagster gives SIGTERM what SIGINT has; both pass on to all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples are the same in every run, and no time limit rules: what fails once fails again. `--hypothesis-profile=search` looks at others.
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("search", settings.get_profile("same"), derandomize=False)
settings.load_profile("same")

MEMORY = Path("/dev/shm")
ROOM = 8 << 30
"""Bytes that must be free in memory for tests to have their folders there: some ten times what all of them leave."""

SETTINGS = ("CURATION_", "DAGSTER_")


def pytest_configure() -> None:
    """Has tests keep their folders in memory where there is much of it: on a disk, commands that they start wait for it with each event of a run."""
    fits = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    if fits and min(shutil.disk_usage(MEMORY).free, _available()) > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def _available() -> int:
    """Bytes of memory that programs may still have: a file system in memory says how large it may grow, whatever else is in use."""
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(facts["MemAvailable"].split()[0]) << 10


@pytest.fixture(autouse=True)
def settings_of_one_test() -> Iterator[None]:
    """Commands that are called in this process leave settings in its environment (`CURATION_RECIPES`), where a test that follows would find them."""
    before = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
    yield
    for name in [name for name in os.environ if name.startswith(SETTINGS)]:
        del os.environ[name]
    os.environ.update(before)


@event.listens_for(Engine, "connect")
def _without_waiting_for_the_disk(connection: object, _record: object) -> None:
    """What Dagster notes in SQLite need not outlast a power cut here: with each of the hundreds of events of a run it would wait for the disk."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


_read = ScriptDirectory.from_config
_scripts: dict[tuple[str | None, str | None], ScriptDirectory] = {}


def _read_once(config: Config) -> ScriptDirectory:
    """Dagster reads its migrations, a module each, twice for each run and more often for each new instance; nothing changes them while tests run."""
    place = (config.config_file_name, config.get_main_option("script_location"))
    if place not in _scripts:
        _scripts[place] = _read(config)
    return _scripts[place]


ScriptDirectory.from_config = _read_once  # type: ignore[method-assign]

LONGEST = (
    "assets/test_export.py",
    "takedown/test_takedown.py",
    "test_plugins.py",
    "test_examples.py",
    "test_sensors.py",
    "faults/test_kills.py",
    "dedup/test_standing.py",
    "on_call/test_on_call.py",
    "test_ui.py",
    "test_publishing.py",
    "takedown/test_same_bytes.py",
    "test_numbered_words.py",
    "faults/test_races.py",
    "test_runner.py",
    "test_ingest.py",
    "test_unread.py",
    "docs/test_tutorial.py",
    "dedup/test_look_alikes.py",
)
"""Files that take longest, as `--durations=0` says, most of them with few tests. They are begun first, so that no worker is alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {Path(__file__).parent / name: number for number, name in enumerate(LONGEST)}
    if away := [str(path) for path in place if not path.is_file()]:
        raise pytest.UsageError(f"LONGEST in {__file__} names files that are away: {', '.join(away)}")
    items.sort(key=lambda item: place.get(item.path, len(place)))


KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class S3Server:
    """A running S3 server; `bucket()` makes a new empty bucket and returns its URI."""

    endpoint: str

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def bucket(self) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"

    @property
    def options(self) -> dict[str, Any]:
        return {
            "key": "testing",
            "secret": "testing",
            "client_kwargs": {"endpoint_url": self.endpoint, "region_name": "us-east-1"},
        }


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def s3_environment(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with its credentials in the environment, as a user would set them."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CURATION_S3_ENDPOINT", s3_server.endpoint)
    return s3_server


@pytest.fixture(params=["local", "s3", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty storage root of each kind."""
    if request.param == "local":
        return Storage(str(tmp_path / "root"))
    if request.param == "memory":
        return Storage(f"memory://{uuid.uuid4().hex}")
    server: S3Server = request.getfixturevalue("s3_server")
    return Storage(f"{server.bucket()}/prefix", server.options)


@pytest.fixture
def no_aws_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing from which credentials for S3 could be had."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
