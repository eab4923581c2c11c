"""Runs a page as a reader would: writes its files, gives its commands to a shell, and compares what they print with what the page shows.

A block of bash is a command, a block with `title="PATH"` a file, and a block of text after a command is what it prints. In what is shown a line
`...` stands for any lines; numbers with a decimal point, hashes of versions and the widths of columns may differ, and the folder is
`/home/you/first`. A comment before a block says otherwise: `not run: WHY`; `background`, for what serves until it is stopped; `slow`, for the slow tier
alone; `wait for: TEXT`, for a command that is repeated until it prints that; `one machine`, where others are done by several.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HOME = "/home/you/first"
BLOCK = re.compile(r'(?:<!-- ([^\n]+) -->\n)?```(\w+)(?: title="([^"]+)")?\n(.*?)```', re.DOTALL)
KEPT = ("PATH", "LANG", "TMPDIR", "OMP_NUM_THREADS", "SSL_CERT_FILE")
"""Variables of the environment that a page's commands see."""


@dataclass(frozen=True)
class Step:
    """A file to write, or commands to run.

    Attributes:
        text: the file or the commands.
        file: path of the file; None for commands.
        shown: what the page shows as printed; None if nothing.
        note: what a comment before the block says.
    """

    text: str
    file: str | None = None
    shown: str | None = None
    note: str = ""

    @property
    def slow(self) -> bool:
        return "slow" in self.note or "background" in self.note


def steps(page: Path) -> list[Step]:
    """The steps of a page, in order."""
    found: list[Step] = []
    for note, language, title, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        if note.startswith("not run"):
            continue
        if title:
            found.append(Step(text, file=title, note=note))
        elif language == "bash":
            found.append(Step(text, note=note))
        elif language == "text":
            assert found, f"{page.name}: what prints {text!r}?"
            assert (found[-1].file, found[-1].shown) == (None, None), f"{page.name}: what prints {text!r}?"
            found[-1] = Step(found[-1].text, shown=text, note=found[-1].note)
    return found


def _plain(text: str, folder: str) -> list[str]:
    """Lines without what differs from run to run."""
    text = re.sub(r"/[0-9a-f]{12}\b", "/HASH", text.replace(folder, HOME))
    text = re.sub(r"\d+\.\d+", "#", text)
    return [re.sub(r"-{2,}", "--", re.sub(r"[ \t]+", " ", line)).rstrip() for line in text.strip().splitlines()]


def differs(shown: str, printed: str, folder: str) -> str | None:
    """The first line of `shown` that `printed` does not have in its place; None if it is as shown."""
    wanted, given = _plain(shown, folder), _plain(printed, folder)
    at, free = 0, False
    for line in wanted:
        if line == "...":
            free = True
            continue
        while free and at < len(given) and given[at] != line:
            at += 1
        if at >= len(given) or given[at] != line:
            return line
        at, free = at + 1, False
    return None if free or at == len(given) else f"(nothing, but there is) {given[at]}"


@dataclass
class Reader:
    """Somebody who follows a page in a folder.

    Attributes:
        folder: where; empty at first.
        variables: what the commands exported so far.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.variables = {k: os.environ[k] for k in KEPT if k in os.environ} | {
            "PATH": programs,
            "HOME": str(self.folder),
        }

    def _shell(self, commands: str) -> list[str]:
        return ["bash", "-e", "-o", "pipefail", "-c", f'{commands}\nenv -0 > "$KEEP_ENVIRONMENT"']

    def run(self, commands: str, timeout_s: float = 240) -> str:
        """What commands print on standard output; they must end well."""
        kept = self.folder.parent / "environment"
        done = subprocess.run(
            self._shell(commands),
            cwd=self.folder,
            env={**self.variables, "KEEP_ENVIRONMENT": str(kept)},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"{commands}{done.stdout}{done.stderr}"
        pairs = (p.split("=", 1) for p in kept.read_text().split("\0") if "=" in p)
        self.variables |= {k: v for k, v in pairs if k not in ("KEEP_ENVIRONMENT", "PWD", "OLDPWD", "SHLVL", "_")}
        return done.stdout

    @contextmanager
    def background(self, commands: str) -> Iterator[subprocess.Popen[bytes]]:
        """Commands that serve until the block ends, when they get what Ctrl-C sends."""
        with (self.folder.parent / "background.log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", "-e", "-c", commands],
                cwd=self.folder,
                env=self.variables,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                os.killpg(process.pid, signal.SIGINT)
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()

    def follow(self, page: Path, slow: bool = False) -> None:
        """Takes all steps of a page; without `slow` those that need patience are left out."""
        with ExitStack() as serving:
            for step in steps(page):
                if step.slow and not slow:
                    continue
                if "background" in step.note:
                    serving.enter_context(self.background(step.text))
                else:
                    self.take(step)

    def take(self, step: Step, patience_s: float = 600) -> None:
        """Writes the step's file, or runs its commands and compares what they print with what is shown."""
        if step.file is None:
            self._compare(step, patience_s)
            return
        path = self.folder / step.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(step.text)

    def _compare(self, step: Step, patience_s: float) -> None:
        waited = re.search(r"wait for: (.+)", step.note)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                printed = self.run(step.text)
            except AssertionError:
                if not waited or time.monotonic() > deadline:
                    raise
                printed = ""
            if not waited or waited[1] in printed or time.monotonic() > deadline:
                break
            time.sleep(10)
        if step.shown is not None:
            missing = differs(step.shown, printed, str(self.folder))
            assert missing is None, f"{step.text}does not print: {missing}\nbut:\n{printed}"
