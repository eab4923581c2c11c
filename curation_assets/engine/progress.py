"""What is shown of work in progress: a bar on a terminal, else a line now and then with the same numbers, and a line in the run's log.

What belongs here: how progress looks and where it goes. What does not: counting, which the stages do (`resources/progress.py`).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from curation_resources.words import units

LINE_S = 10.0
"""Between two lines."""

_console: TextIO | None = None
_lock = threading.Lock()
_last = time.monotonic()
"""When the last line was written; the first comes when work has taken that long."""


@contextmanager
def console() -> Iterator[None]:
    """Within the block, progress and what `say` says go to what is standard error now.

    While a step runs, Dagster sends standard error to the step's log file, so it is remembered from before.
    """
    global _console
    try:
        copy = os.dup(sys.stderr.fileno())
    except (OSError, ValueError):  # a test's or a notebook's own stream
        yield
        return
    with os.fdopen(copy, "w", encoding=sys.stderr.encoding, errors="backslashreplace") as stream:
        _console = stream
        try:
            yield
        finally:
            _console = None


def say(text: str) -> None:
    """A line on standard error, above the bar if there is one."""
    with _lock:
        if _console is None:
            print(text, file=sys.stderr, flush=True)
        elif _console.isatty():
            from tqdm import tqdm

            tqdm.write(text, file=_console)
        else:
            print(text, file=_console, flush=True)


def due() -> bool:
    """Whether it is time for another line; if so, the next is due `LINE_S` later, whatever work it is about."""
    global _last
    with _lock:
        now = time.monotonic()
        if now - _last < LINE_S:
            return False
        _last = now
        return True


def span(seconds: float) -> str:
    """A length of time in the two largest units: 48 s, 3 min 20 s, 2 h 5 min, 4 d 3 h."""
    whole = round(seconds)
    for unit, name, below, below_name in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // below} {below_name}"
    return f"{whole} s"


def left(began: float, done: int, total: int) -> str:
    """How long the rest will take at the pace since `began` (monotonic), as a clause; nothing before anything is done."""
    return f", {span((time.monotonic() - began) * (total - done) / done)} left" if done else ""


class Reporter:
    """Shows how far one piece of work is; a context manager, and a listener as `curation_resources.progress` takes it.

    Args:
        title: what is done, such as `decode mine-00003`.
        log: gets a line at the same times.
    """

    def __init__(self, title: str, log: Callable[[str], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._clock = title, clock
        self._began = clock()
        self._unit, self._first = "", 0
        self._bar: Any = None
        self._log = log

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, done: int, total: int, unit: str, words: str = "") -> None:
        if done == 0 or unit != self._unit:  # another part of the same work
            self._close()
            self._began, self._unit, self._first = self._clock(), unit, done
        if total <= 0:
            return
        if due():
            self._line(self.text(done, total, unit, words))
        if _console is None or not _console.isatty():
            return
        if self._bar is None:
            from tqdm import tqdm

            self._bar = tqdm(
                total=total,
                initial=done,
                desc=self._title,
                unit=f" {unit}",
                leave=False,
                file=_console,
                dynamic_ncols=True,
            )
        self._bar.update(done - self._bar.n)
        if words:
            self._bar.set_postfix_str(words)

    def text(self, done: int, total: int, unit: str, words: str) -> str:
        """The line: how many of how many, how fast, how long it will still take at that pace."""
        elapsed = self._clock() - self._began
        line = f"{self._title}: {done:,} of {total:,} {units(total, unit)}"
        if done > self._first and elapsed > 0:
            rate = (done - self._first) / elapsed  # those that were there already took no time
            line += f", {rate:,.1f}/s" if rate >= 1 else f", {1 / rate:,.1f} s each"
            if done < total:
                line += f", {span((total - done) / rate)} left"
        return f"{line}; {words}" if words else line

    def _line(self, text: str) -> None:
        self._log(text)
        if _console is not None and not _console.isatty():
            say(f"  {text}")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
