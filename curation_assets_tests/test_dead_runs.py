"""Dead runs: told from living ones and from those that cannot be judged, cleared, and named while they are waited for."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, DagsterRunStatus, Definitions, job, op
from dagster._core.test_utils import create_run_for_test

from curation_assets.orchestration import dead_runs
from curation_assets.orchestration.instance import make_limits, opened
from curation_assets_tests.fault_server import wait_until
from curation_assets_tests.faults.shipped import INSTANCE_FILE
from curation_resources.processes import Life, ProcessId, started, this_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterInstance]:
    """The instance that `make` installs, with a pool of one slot."""
    shutil.copy(INSTANCE_FILE, tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with opened(["cpu"]) as found:
        yield found


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def of(process: subprocess.Popen[bytes]) -> ProcessId:
    return replace(this_process(), pid=process.pid, started=started(process.pid))


def start(instance: DagsterInstance, process: ProcessId | None, *steps: str) -> str:
    """A started run of a process that asks for the pool once for each step; its id."""
    tags = {dead_runs.PROCESS_TAG: process.dumps()} if process else {}
    run = create_run_for_test(instance, "some", status=DagsterRunStatus.STARTED, tags=tags)
    for step in steps:
        instance.event_log_storage.claim_concurrency_slot("cpu", run.run_id, step)
    return run.run_id


def test_a_dead_run_is_cleared_and_the_next_in_line_gets_its_slot(
    instance: DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    holder = start(instance, of(sleeper), "decode")
    waits = start(instance, this_process(), "decode")
    assert [(s.run_id, s.held) for s in dead_runs.slots(instance)] == [(holder, True), (waits, False)]
    assert dead_runs.dead(instance) == []
    sleeper.kill()
    sleeper.wait()
    (found,) = dead_runs.dead(instance)
    assert found.run_id == holder
    assert [(s.pool, s.step, s.held) for s in found.slots] == [("cpu", "decode", True)]
    assert [h.run_id for h in dead_runs.clear(instance, [found])] == [holder]
    assert instance.get_run_by_id(holder).status is DagsterRunStatus.FAILURE  # type: ignore[union-attr]
    assert instance.get_run_by_id(waits).status is DagsterRunStatus.STARTED  # type: ignore[union-attr]
    assert instance.event_log_storage.claim_concurrency_slot("cpu", waits, "decode").is_claimed
    assert dead_runs.dead(instance) == []


def test_a_killed_run_that_was_waiting_keeps_nobody_waiting(
    instance: DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    holder = start(instance, this_process(), "decode")
    waited = start(instance, of(sleeper), "decode")
    sleeper.kill()
    sleeper.wait()
    assert [h.run_id for h in dead_runs.dead(instance)] == [waited]
    dead_runs.clear(instance, dead_runs.dead(instance))
    instance.event_log_storage.free_concurrency_slots_for_run(holder)
    assert dead_runs.slots(instance) == []


def test_a_slot_that_was_given_to_a_run_that_died_waiting_is_freed_by_whoever_waits_behind_it(
    instance: DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    """The holder lives and asks again, behind one that was killed while it waited: nobody begins a command that would clear it."""
    holder = start(instance, this_process(), "decode")
    waited = start(instance, of(sleeper), "decode")
    sleeper.kill()
    sleeper.wait()
    instance.event_log_storage.free_concurrency_slots_for_run(holder)
    storage, said = instance.event_log_storage, list[str]()
    assert not storage.claim_concurrency_slot("cpu", holder, "duplicate_clusters").is_claimed
    assert {(s.run_id, s.held) for s in dead_runs.slots(instance)} == {(waited, True), (holder, False)}
    dead_runs.Watch(instance, said.append).look()
    assert [s.startswith(f"freed pool cpu: run {waited[:8]}") for s in said] == [True]
    assert storage.claim_concurrency_slot("cpu", holder, "duplicate_clusters").is_claimed


def test_a_run_that_was_made_and_never_started_is_cleared(
    instance: DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    """Whoever is killed in between leaves it; one of the UI, which nobody tagged, may still be started."""
    tags = {dead_runs.PROCESS_TAG: of(sleeper).dumps()}
    made = create_run_for_test(instance, "some", status=DagsterRunStatus.NOT_STARTED, tags=tags).run_id
    of_the_ui = create_run_for_test(instance, "some", status=DagsterRunStatus.NOT_STARTED).run_id
    assert dead_runs.dead(instance) == []
    sleeper.kill()
    sleeper.wait()
    assert [h.run_id for h in dead_runs.clear(instance, dead_runs.dead(instance))] == [made]
    assert {r.run_id: r.status for r in instance.get_runs()} == {
        made: DagsterRunStatus.FAILURE,
        of_the_ui: DagsterRunStatus.NOT_STARTED,
    }


def test_a_run_that_is_executed_again_is_not_judged_by_the_tags_of_the_first(
    instance: DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    """The UI and the daemon hand a run's tags on to the one that they start in its place."""
    first = start(instance, of(sleeper))
    sleeper.kill()
    sleeper.wait()
    dead_runs.clear(instance, dead_runs.dead(instance))
    tags = instance.get_run_by_id(first).tags  # type: ignore[union-attr]
    again = create_run_for_test(
        instance, "some", status=DagsterRunStatus.STARTED, tags=tags, parent_run_id=first, root_run_id=first
    )
    assert dead_runs.executing_process(instance, again) is None
    assert dead_runs.dead(instance) == []


@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"space": "another container"}])
def test_a_holder_that_cannot_be_judged_is_named_and_never_freed(
    instance: DagsterInstance, elsewhere: dict[str, str]
) -> None:
    holder = start(instance, replace(this_process(), **elsewhere), "decode")
    start(instance, this_process(), "decode")
    assert dead_runs.dead(instance) == []
    pools = dead_runs.waits_for(instance, this_process())
    said = dead_runs.sentence(12, pools)
    assert f"waiting since 12 s for pool cpu, held by run {holder[:8]}" in said
    assert f"process {os.getpid()} on" in said
    assert "Ctrl-C" in said
    assert "cannot be told from here" in said
    assert [s.held for s in dead_runs.slots(instance) if s.run_id == holder] == [True]


def test_a_run_without_our_tag_is_judged_by_what_dagster_noted(
    instance: DagsterInstance, sleeper: subprocess.Popen[bytes]
) -> None:
    """Runs that the daemon or the UI started."""
    from dagster._core.events import EngineEventData

    run_id = start(instance, None, "decode")
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert [h.life for h in dead_runs.holders(instance)] == [Life.UNKNOWN]
    instance.report_engine_event("Started process for run", run, EngineEventData.in_process(sleeper.pid))
    assert [h.life for h in dead_runs.holders(instance)] == [Life.ALIVE]
    sleeper.kill()
    sleeper.wait()
    assert [h.run_id for h in dead_runs.dead(instance)] == [run_id]


def test_the_watch_speaks_after_ten_seconds_and_frees_what_dies_meanwhile(
    instance: DagsterInstance, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [50.0]
    monkeypatch.setattr(dead_runs.time, "monotonic", lambda: now[0])
    holder = start(instance, of(sleeper), "decode")
    start(instance, this_process(), "decode")
    said: list[str] = []
    watch = dead_runs.Watch(instance, said.append)
    for _ in range(13):
        watch.look()
        now[0] += 1
    assert len(said) == 1
    assert "pool cpu, held by run " + holder[:8] in said[0]
    assert f"process {sleeper.pid} on" in said[0]
    sleeper.kill()
    sleeper.wait()
    watch.look()
    assert said[1] == f"freed pool cpu: run {holder[:8]} (process {sleeper.pid} on {this_process().host}) is dead"
    watch.look()
    assert len(said) == 2


def test_a_step_that_waits_sleeps(instance: DagsterInstance, sleeper: subprocess.Popen[bytes]) -> None:
    """Pins that Dagster asks without a pause, which `unhurried_claims` mends, and that the step starts once the slot is free."""
    from concurrent.futures import ThreadPoolExecutor

    @op(pool="cpu")
    def work() -> None:
        return

    @job
    def one() -> None:
        work()

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    definition = Definitions(jobs=[one]).resolve_job_def("one")

    def looks(until: Callable[[Sequence[float]], None]) -> int:
        """How often the run looked whether it may go on, from when its step waited for a slot until `until` had enough of it."""
        found: list[float] = []
        name = "interval_to_next_pending_claim_check"
        interval = getattr(dead_runs.InstanceConcurrencyContext, name)

        def noted(self: Any) -> float:
            found.append(interval(self))
            return found[-1]

        holder = start(instance, of(sleeper), "decode")
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
            patch.setattr(dead_runs.InstanceConcurrencyContext, name, noted)
            waiting = pool.submit(definition.execute_in_process, run_config=quiet, instance=instance)
            try:
                wait_until(lambda: any(not s.held for s in dead_runs.slots(instance)))
                found.clear()
                until(found)
                number = len(found)
            finally:
                instance.event_log_storage.free_concurrency_slots_for_run(holder)
            assert waiting.result().success
        return number

    with dead_runs.unhurried_claims():
        assert looks(lambda _: time.sleep(2)) < 20
    looks(lambda found: wait_until(lambda: len(found) > 200))


def test_limits_are_made_once_and_follow_the_instance_file(instance: DagsterInstance) -> None:
    def limits() -> dict[str, int]:
        return {p.name: p.limit for p in instance.event_log_storage.get_pool_limits()}

    make_limits(instance, ["cpu", "gpu"])
    instance.event_log_storage.set_concurrency_slots("gpu", 4)  # by hand: stays
    make_limits(instance, ["cpu", "gpu", "network"])
    assert limits() == {"cpu": 1, "gpu": 4, "network": 1}


def test_run_monitoring_notices_that_a_run_is_dead(instance: DagsterInstance, sleeper: subprocess.Popen[bytes]) -> None:
    """The launcher of the shipped instance file, as Dagster's monitoring daemon asks it."""
    import logging

    from dagster import RunsFilter
    from dagster._daemon.monitoring.run_monitoring import monitor_started_run

    def look() -> dict[str, DagsterRunStatus]:
        for record in instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.STARTED])):
            monitor_started_run(instance, None, record, logging.getLogger("monitor"))  # type: ignore[arg-type]
        return {r.run_id: r.status for r in instance.get_runs()}

    assert type(instance.run_launcher).__name__ == "LocalRunLauncher"
    living = start(instance, of(sleeper))
    elsewhere = start(instance, replace(this_process(), host="another"))
    assert set(look().values()) == {DagsterRunStatus.STARTED}
    sleeper.kill()
    sleeper.wait()
    assert look() == {living: DagsterRunStatus.FAILURE, elsewhere: DagsterRunStatus.STARTED}
