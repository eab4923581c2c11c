"""Runs in Dagster whose process is gone: found, marked, and made to let go of their slots in concurrency pools.

A run that is killed (SIGKILL, the out-of-memory killer, a crash of the machine) stays STARTED and keeps its slots, and every later step of
the same pool waits for it. Runs say in a tag which process executes them, so that the next one on the same machine can tell.

What belongs here: judging and clearing runs. What does not: starting them (`runner.py`, `run_launcher.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from curation_assets.orchestration.compat import IN_PROGRESS_RUN_STATUSES, InstanceConcurrencyContext
from curation_resources.processes import Life, ProcessId, started, started_at, this_process

PROCESS_TAG = "curation/process"
"""Which process executes the run, as `ProcessId.dumps` writes it."""
SAY_AFTER_S = 10.0
"""Waiting for a slot that long is worth a line."""
SAY_AGAIN_S = 60.0
LOOK_S = 1.0
"""Between two looks at the pools that steps of this process wait for."""
UNFINISHED = [DagsterRunStatus.NOT_STARTED, *IN_PROGRESS_RUN_STATUSES]
"""Runs that a process must be at work on, or about to begin: one that is killed between making its run and starting it leaves it `NOT_STARTED`,
and Dagster's monitoring does not look at those. Runs that wait in a queue have no process."""
CLOCK_S = 5.0
"""By how much a process may seem to have started after it said something: clocks are set now and then."""


@dataclass(frozen=True)
class Slot:
    """A place in a pool that a step holds, or waits for. One that was given to a step whose process has not come to take it is nobody else's
    either, so the step holds it."""

    pool: str
    run_id: str
    step: str
    held: bool


@dataclass(frozen=True)
class Holder:
    """A run, and what is known of the process that executes it.

    Attributes:
        run: as Dagster has it; None for a run that was deleted while it held slots.
        process: None if neither its tags nor its events say.
        life: whether the process lives.
        slots: what the run holds or waits for.
    """

    run_id: str
    run: DagsterRun | None
    process: ProcessId | None
    life: Life
    slots: tuple[Slot, ...]

    @property
    def unfinished(self) -> bool:
        return self.run is not None and not self.run.is_finished

    @property
    def queued(self) -> bool:
        return self.run is not None and self.run.status is DagsterRunStatus.QUEUED

    def __str__(self) -> str:
        where = str(self.process) if self.process else "a process that is not known"
        return f"run {self.run_id[:8]} ({where})"


def run_tags() -> dict[str, str]:
    """Tags for a run that this process executes, by which others see whether it still does."""
    return {PROCESS_TAG: this_process().dumps()}


def slots(instance: DagsterInstance) -> list[Slot]:
    """All slots of all pools that steps hold or wait for."""
    storage = instance.event_log_storage
    if not storage.supports_global_concurrency_limits:
        return []
    found = []
    for pool, info in sorted(storage.get_concurrency_infos(sorted(storage.get_concurrency_keys())).items()):
        held = {(s.run_id, s.step_key) for s in info.claimed_slots}
        found += [Slot(pool, run, step, True) for run, step in sorted(held)]
        found += [
            Slot(pool, p.run_id, p.step_key, p.assigned_timestamp is not None)
            for p in info.pending_steps
            if (p.run_id, p.step_key) not in held
        ]
    return found


def holders(instance: DagsterInstance) -> list[Holder]:
    """Every run that a process should be at work on, and every run that holds or waits for a slot."""
    by_run: dict[str, list[Slot]] = {}
    for slot in slots(instance):
        by_run.setdefault(slot.run_id, []).append(slot)
    runs = {r.run_id: r for r in instance.get_runs(RunsFilter(statuses=UNFINISHED))}
    runs |= {r.run_id: r for r in instance.get_runs(RunsFilter(run_ids=[i for i in by_run if i not in runs] or [""]))}
    return [_holder(instance, i, runs.get(i), by_run.get(i, ())) for i in dict.fromkeys([*runs, *by_run])]


def dead(instance: DagsterInstance) -> list[Holder]:
    """The holders whose process is gone for certain: it was on this machine and is not there any more."""
    return [h for h in holders(instance) if h.life is Life.DEAD]


def clear(instance: DagsterInstance, found: Iterable[Holder], canceled: bool = False) -> list[Holder]:
    """Marks runs as failed (or canceled) and frees their slots; those that were waiting go on.

    Args:
        found: of `holders`; also ones that live, if the caller has decided so.
        canceled: whether somebody stopped them on purpose.

    Returns:
        those that were unfinished or held something.
    """
    cleared = []
    for holder in found:
        run = instance.get_run_by_id(holder.run_id)
        if run is not None and not run.is_finished:
            if canceled:
                instance.report_run_canceled(run, "The run was interrupted.")
            else:
                instance.report_run_failed(run, f"The run was killed: {holder.process or 'its process'} is gone.")
        if instance.event_log_storage.supports_global_concurrency_limits:
            instance.event_log_storage.free_concurrency_slots_for_run(holder.run_id)
        if holder.unfinished or holder.slots:
            cleared.append(holder)
    return cleared


def of_process(instance: DagsterInstance, process: ProcessId) -> list[Holder]:
    """The holders that a process executes, or did."""
    return [h for h in holders(instance) if h.process == process]


def executing_process(instance: DagsterInstance, run: DagsterRun) -> ProcessId | None:
    """The process that a run's tag names; of a run without one, on an instance of one machine, what its events say.

    A run that was made from another one has that one's tags, which say nothing of it.
    """
    text = run.tags.get(PROCESS_TAG)
    if text and run.parent_run_id is None:
        try:
            return ProcessId.loads(text)
        except ValueError:
            return None
    return _by_events(instance, run) if of_one_machine(instance) else None


def of_one_machine(instance: DagsterInstance) -> bool:
    """Whether the instance is kept in SQLite files, which do not bear several machines."""
    return "Sqlite" in type(instance.run_storage).__name__


def _by_events(instance: DagsterInstance, run: DagsterRun) -> ProcessId | None:
    """What Dagster notes of itself: the number of the process that ran the steps last. The process is taken for the same one unless it was
    started after it spoke."""
    for entry in reversed(instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)):
        event = entry.dagster_event
        value = event.engine_event_data.metadata.get("pid") if event else None
        text = str(getattr(value, "value", ""))
        if text.isdigit():
            here, pid = this_process(), int(text)
            begun = started_at(pid)
            same = begun is not None and begun <= entry.timestamp + CLOCK_S
            return ProcessId(here.host, pid, started(pid) if same else -1, here.boot, here.space)
    return None


def _holder(instance: DagsterInstance, run_id: str, run: DagsterRun | None, held: Collection[Slot]) -> Holder:
    process = executing_process(instance, run) if run else None
    return Holder(run_id, run, process, process.life() if process else Life.UNKNOWN, tuple(held))


# ---- waiting for slots


def waits_for(instance: DagsterInstance, process: ProcessId) -> dict[str, list[Holder]]:
    """Pool -> who holds it, of the pools that steps of this process's runs wait for."""
    known = holders(instance)
    mine = {s.pool for h in known if h.process == process for s in h.slots if not s.held}
    return {p: [h for h in known if any(s.held and s.pool == p for s in h.slots)] for p in sorted(mine)}


def sentence(waited: float, pools: Mapping[str, Collection[Holder]]) -> str:
    """What a run waits for, and what may be done about it."""
    parts = []
    for pool, found in pools.items():
        who = ", ".join(str(h) for h in found) or "nobody any more"
        parts.append(f"pool {pool}, held by {who}")
    text = (
        f"waiting since {waited:.0f} s for {'; '.join(parts)}. Ctrl-C ends the waiting; the same command goes on later"
    )
    if any(h.life is Life.UNKNOWN for found in pools.values() for h in found):
        text += ". Whether that process still lives cannot be told from here: if it does not, mark its run as failed in the UI and free its slots under Deployment, Concurrency"
    return text


class Watch:
    """Looks after the runs of this process while they wait: clears holders that are dead, and says what is waited for.

    Args:
        instance: shared with the thread that executes.
        say: called with a sentence.
    """

    def __init__(self, instance: DagsterInstance, say: Callable[[str], None]) -> None:
        self._instance, self._say = instance, say
        self._over = threading.Event()
        self._me = this_process()
        self._thread = threading.Thread(target=self._look, daemon=True, name="pool-watch")
        self._since: float | None = None
        self._said = 0.0
        self._trouble = ""

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(LOOK_S):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - a database that is away for a moment must not end the watch
                if str(error) != self._trouble:
                    self._trouble = str(error)
                    self._say(f"the pools cannot be looked at: {error}")

    def look(self) -> None:
        """One look."""
        if not any(not s.held for s in slots(self._instance)):  # one query; the common case
            self._since = None
            return
        pools = waits_for(self._instance, self._me)
        gone = [h for found in pools.values() for h in found if h.life is Life.DEAD]
        for holder in clear(self._instance, gone):
            self._say(f"freed pool {', '.join(s.pool for s in holder.slots if s.held)}: {holder} is dead")
        now = time.monotonic()
        if not pools or gone:
            self._since = None
            return
        self._since = self._since or now
        waited = now - self._since
        if waited >= SAY_AFTER_S and now - self._said >= SAY_AGAIN_S:
            self._said = now
            self._say(sentence(waited, pools))


@contextmanager
def unhurried_claims() -> Iterator[None]:
    """Within the block, a step that waits for a slot sleeps until it asks again.

    Dagster 1.13 computes how long that is as the least of zero and the times left, so that it asks its plan without a pause: a core is
    busy for as long as anything waits (findings/dagster_pool_wait_spins.sh).
    """
    name = "interval_to_next_pending_claim_check"
    before = getattr(InstanceConcurrencyContext, name)

    def interval(self: InstanceConcurrencyContext) -> float:
        ready = [self._pending_timeouts[s] for s in self._pending_claims if s in self._pending_timeouts]
        return max(0.0, min(ready) - time.time()) if ready else 0.0

    setattr(InstanceConcurrencyContext, name, interval)
    try:
        yield
    finally:
        setattr(InstanceConcurrencyContext, name, before)
