"""An installation as `make` and a user leave it: the shipped instance file, a recipe, a storage root, and the `curation` command in a process of its own.

What belongs here: starting, interrupting and killing commands, and comparing what they left. What does not: which faults are tried.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
INSTANCE_FILE = DEPLOY / "dagster.local.yaml"
"""What `make setup` copies to DAGSTER_HOME."""


@dataclass
class Shipped:
    """A folder with DAGSTER_HOME (the shipped instance file), recipes and a storage root.

    Attributes:
        root: the folder that holds `home`, `recipes` and, unless `storage` names another place, `data`.
        storage: storage root; None is `<root>/data`.
        instance: the instance file that is copied to DAGSTER_HOME.
        environment: further environment variables of every command.
    """

    root: Path
    storage: str | None = None
    instance: Path = INSTANCE_FILE
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.root / "recipes").mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        shutil.copy(self.instance, self.home / "dagster.yaml")

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def data(self) -> str:
        return self.storage or str(self.root / "data")

    def declare(self, name: str, text: str) -> Path:
        """Writes a recipe file and returns its path."""
        path = self.root / "recipes" / f"{name}.yaml"
        path.write_text(text)
        return path

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        """`curation` with these arguments, as the leader of a process group of its own."""
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "CURATION_STORAGE": self.data,
            "CURATION_RECIPES": str(self.root / "recipes"),
            "CURATION_WORKERS": "1",
            **self.environment,
        }
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("curation")), *arguments],
            cwd=self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )

    def curation(self, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; its group is killed after `timeout` seconds."""
        process = self.start(arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _heed_interrupts() -> None:
    """As a terminal's command does; one that is started from a shell's background job would ignore them, as it should."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def kill_group(process: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal to a command and all its children, and takes what is left of the command's output."""
    try:
        os.killpg(process.pid, how)
    except ProcessLookupError:
        pass
    if how == signal.SIGKILL:
        process.communicate()
