"""Worker processes that survive what they work on: a task that crashes or hangs its process is reported, and the others go on.

`concurrent.futures` gives up a whole pool when one process dies and cannot end one that hangs, and a damaged video can do either inside
a decoder.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar

from curation_resources.processes import end_with_parent
from curation_resources.progress import told

Argument = TypeVar("Argument")
Result = TypeVar("Result")

START_S = 120.0
"""Time that a process may take to start and import, on top of its first task's limit."""


@dataclass(frozen=True)
class Task(Generic[Argument]):
    """What is to be done.

    Attributes:
        key: names it in the outcome.
        argument: handed to the function; must be picklable.
        limit_s: seconds of wall time after which its process is ended.
    """

    key: str
    argument: Argument
    limit_s: float


@dataclass(frozen=True)
class TaskOutcome(Generic[Result]):
    """What came of a task: `result`, or `error`, a sentence about the process that did not come back."""

    key: str
    result: Result | None
    error: str | None


class _Worker:
    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_serve, args=(function, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.task: Task[Any] | None = None
        self.deadline = 0.0
        self._fresh = True

    def give(self, task: Task[Any]) -> None:
        self.task = task
        self.deadline = time.monotonic() + task.limit_s + (START_S if self._fresh else 0.0)
        self._fresh = False
        with suppress(OSError):  # it died while idle; its closed pipe says so to whoever waits for the answer
            self.pipe.send(task.argument)

    def end(self) -> int | None:
        """Ends the process at once; its exit code."""
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()
        return self.process.exitcode


def _serve(function: Callable[[Any], Any], pipe: Connection) -> None:
    """The main loop of a worker process: answers until the pipe is closed or whoever started it is gone."""
    end_with_parent()
    while True:
        try:
            argument = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(function(argument))


def run_tasks(
    function: Callable[[Argument], Result], tasks: Iterable[Task[Argument]], workers: int, unit: str = "videos"
) -> Iterator[TaskOutcome[Result]]:
    """Runs `function` on every task in `workers` processes, in the order given; outcomes come as they are ready, and are told as progress.

    Args:
        function: module-level, so that a fresh interpreter can import it. It should not raise: an exception ends its process.
        workers: number of processes; 0 runs the tasks in this one, without limits.
        unit: what a task is about.
    """
    given = list(tasks)
    yield from told(_outcomes(function, given, workers), len(given), unit)


def _outcomes(
    function: Callable[[Argument], Result], tasks: Sequence[Task[Argument]], workers: int
) -> Iterator[TaskOutcome[Result]]:
    waiting = deque(tasks)
    if workers < 1:
        for task in waiting:
            yield TaskOutcome(task.key, function(task.argument), None)
        return
    idle = [_Worker(function) for _ in range(min(workers, len(waiting)))]
    busy: list[_Worker] = []
    try:
        while waiting or busy:
            while waiting and idle:
                worker = idle.pop()
                busy.append(worker)
                worker.give(waiting.popleft())
            soonest = min(w.deadline for w in busy)
            ready = wait([w.pipe for w in busy], timeout=max(0.0, soonest - time.monotonic()))
            for worker in list(busy):
                late = time.monotonic() >= worker.deadline
                if worker.pipe not in ready and not late:
                    continue
                busy.remove(worker)
                outcome, alive = _collect(worker, late=worker.pipe not in ready)
                if alive:
                    idle.append(worker)
                elif waiting:
                    idle.append(_Worker(function))
                yield outcome
    finally:
        for worker in idle + busy:
            worker.end()


def _collect(worker: _Worker, *, late: bool) -> tuple[TaskOutcome[Any], bool]:
    """The outcome of a worker's task, and whether the worker can go on."""
    task = worker.task
    assert task is not None
    if late:
        worker.end()
        return TaskOutcome(task.key, None, f"took longer than {task.limit_s:.0f} s and was ended"), False
    try:
        return TaskOutcome(task.key, worker.pipe.recv(), None), True
    except (EOFError, OSError):
        worker.process.join(5)
        code = worker.end()
        cause = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return TaskOutcome(task.key, None, f"ended the process that decoded it ({cause})"), False
