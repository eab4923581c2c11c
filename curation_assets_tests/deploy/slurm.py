"""A private Slurm cluster of one node on loopback, from the daemons of the machine."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from curation_assets_tests.ports import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
CONFIG = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def program(name: str) -> str:
    """Path of a Slurm program. Skips the test if there is none."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip(f"Slurm's {name} is not installed (Debian: apt-get install slurm-wlm)")
    return found


@contextmanager
def daemon(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A process in the foreground, for as long as the block runs."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def slurm() -> Iterator[dict[str, str]]:
    """A running cluster; yields the environment in which its clients find it."""
    paths = {name: program(name) for name in PROGRAMS}
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as stack:
        folder = Path(name)
        for part in ("state", "spool", "munge"):
            (folder / part).mkdir()
        key = folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        config = folder / "slurm.conf"
        host = socket.gethostname().split(".")[0]
        ports = {"controller": free_port(), "node": free_port()}
        user = "root" if os.geteuid() == 0 else os.environ.get("USER", str(os.geteuid()))
        config.write_text(CONFIG.format(folder=folder, host=host, user=user, cpus=os.cpu_count(), **ports))
        environment = {**os.environ, "SLURM_CONF": str(config)}
        files = [f"--{what}={folder}/munge/{what.split('-')[0]}" for what in ("socket", "pid-file", "seed-file")]
        munged = [
            paths["munged"],
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--log-file={folder}/munge/log",
            *files,
        ]
        for command in (munged, [paths["slurmctld"], "-D"], [paths["slurmd"], "-D"]):
            stack.enter_context(daemon(command, environment, folder / f"{Path(command[0]).name}.log"))
        end = time.monotonic() + 60
        while (state := _state(environment)) != "idle":
            if time.monotonic() > end:
                logs = "\n".join(f"== {f.name}\n{f.read_text()[-1500:]}" for f in folder.glob("*.log"))
                pytest.skip(f"Slurm's daemons do not run here: node {state!r}\n{logs}")
            time.sleep(0.5)
        try:
            yield environment
        finally:
            subprocess.run([paths["scancel"], "--full", "--me"], env=environment, timeout=30, check=False)


def _state(environment: dict[str, str]) -> str:
    command = ["sinfo", "--noheader", "--format=%T"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    ).stdout.strip()
