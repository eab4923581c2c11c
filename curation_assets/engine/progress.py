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
START_S = 600.0
"""Longer than what has to be started, compiled and loaded before the first unit of some work takes, also on a machine that is busy otherwise."""

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


class Pace:
    """How many units a second get done, once that can be told.

    The first one takes the start of processes, compiling and the loading of weights with it, and the rest taken at its pace would be many times too long. So it is left out,
    and nothing is told before as much time has passed since it came as until then. Work that has lasted `START_S` goes by its average meanwhile.
    """

    def __init__(self, done: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began, self._there = clock, clock(), done
        self._first: tuple[float, int] | None = None

    def at(self, done: int) -> float | None:
        """Units a second, now that `done` are done; None if that can't be told yet. Those that were there at the start took no time."""
        now = self._clock()
        if self._first is None and done > self._there:
            self._first = (now, done)
        if self._first is None or now <= self._began:
            return None
        came, with_it = self._first
        if done > with_it and now - came >= came - self._began:
            return (done - with_it) / (now - came)
        return self.average(done) if now - self._began >= START_S else None

    def average(self, done: int) -> float | None:
        """Units a second since the start; None if nothing has been done."""
        elapsed = self._clock() - self._began
        return (done - self._there) / elapsed if done > self._there and elapsed > 0 else None

    @property
    def first_s(self) -> float | None:
        """After how many seconds the first one came."""
        return None if self._first is None else self._first[0] - self._began

    def left(self, done: int, total: int) -> str:
        """How long the rest will take, as a clause; empty if that can't be told yet."""
        rate = self.at(done)
        return f", {span((total - done) / rate)} left" if rate else ""


class Reporter:
    """Shows how far one piece of work is; a context manager, and a listener as `curation_resources.progress` takes it.

    Args:
        title: what is done, such as `decode mine-00003`.
        log: gets a line at the same times.
    """

    def __init__(self, title: str, log: Callable[[str], Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._title, self._clock = title, clock
        self._pace = Pace(0, clock)
        self._unit = ""
        self._bar: Any = None
        self._log = log

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, done: int, total: int, unit: str, words: str = "") -> None:
        if done == 0 or unit != self._unit:  # another part of the same work
            self._close()
            self._pace, self._unit = Pace(done, self._clock), unit
        rate = self._pace.at(done)  # at each unit: the first one is told apart
        if total <= 0:
            return
        if due():
            self._line(self.text(done, total, unit, words, rate))
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

    def text(self, done: int, total: int, unit: str, words: str, rate: float | None = None) -> str:
        """The line: how many of how many, how fast, how long it will still take at that pace. Before that can be told, after how long the first came; at the end, the average."""
        line = f"{self._title}: {done:,} of {total:,} {units(total, unit)}"
        if done >= total:
            rate = self._pace.average(done)
        if rate:
            line += f", {rate:,.1f}/s" if rate >= 1 else f", {1 / rate:,.1f} s each"
            if done < total:
                line += f", {span((total - done) / rate)} left"
        elif self._pace.first_s is not None and done < total:
            line += f", the first after {span(self._pace.first_s)}"
        return f"{line}; {words}" if words else line

    def _line(self, text: str) -> None:
        self._log(text)
        if _console is not None and not _console.isatty():
            say(f"  {text}")

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
