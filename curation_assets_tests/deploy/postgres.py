"""A private PostgreSQL server on loopback, from the server programs of the machine."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curation_assets_tests.ports import free_port

PASSWORD = "a password with spaces & signs"


def program(name: str) -> str:
    """Path of a PostgreSQL program; Debian keeps them outside PATH. Skips the test if there is none."""
    candidates = [*sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]
    found = shutil.which(name) or next((str(c) for c in candidates if c.exists()), None)
    if found is None:
        pytest.skip(f"PostgreSQL's {name} is not installed (Debian: apt-get install postgresql)")
    return found


def unprivileged() -> list[str]:
    """Prefix that runs a command as another user than root, as whom PostgreSQL refuses to run."""
    if os.geteuid() != 0:
        return []
    runuser = shutil.which("runuser")
    if runuser is None:
        pytest.skip("running as root, and there is no runuser to leave it")
    return [runuser, "-u", "nobody", "--"]


@contextmanager
def postgres() -> Iterator[dict[str, str]]:
    """A running server with an empty database `dagster`; yields the variables that deploy/dagster.cluster.yaml reads."""
    initdb, pg_ctl, prefix = program("initdb"), program("pg_ctl"), unprivileged()
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder, data, port = Path(name), f"{name}/data", free_port()
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if prefix:
            nobody = pwd.getpwnam("nobody")
            for path in (folder, secret):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        quiet = {"check": True, "capture_output": True, "timeout": 120, "cwd": name}
        create = [initdb, "-D", data, "-U", "dagster", "--pwfile", str(secret), "-A", "scram-sha-256", "--no-sync"]
        subprocess.run([*prefix, *create], **quiet)  # type: ignore[call-overload]
        options = f"-h 127.0.0.1 -p {port} -k {name} -c fsync=off -c max_connections=60"
        start = [pg_ctl, "-D", data, "-w", "-o", options, "-l", f"{name}/log", "start"]
        subprocess.run([*prefix, *start], **quiet)  # type: ignore[call-overload]
        try:
            yield {
                "DAGSTER_PG_HOST": "127.0.0.1",
                "DAGSTER_PG_PORT": str(port),
                "DAGSTER_PG_USERNAME": "dagster",
                "DAGSTER_PG_PASSWORD": PASSWORD,
                "DAGSTER_PG_DB": "postgres",
            }
        finally:
            subprocess.run([*prefix, pg_ctl, "-D", data, "-m", "immediate", "stop"], **quiet)  # type: ignore[call-overload]
