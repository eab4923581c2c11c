"""A command that waits for a pool which a living run holds: it says so, is interrupted at once, and keeps nobody waiting afterwards."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from dagster import DagsterInstance

from curation_assets.orchestration import dead_runs
from curation_assets_tests.faults.pairs import faults, run, small_dataset
from curation_assets_tests.faults.shipped import kill_group
from curation_resources.storage import Storage

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
POOL = "cpu"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_command_that_waits_for_a_pool_is_stopped_and_keeps_nobody_waiting(
    tmp_path: Path, how: signal.Signals
) -> None:
    place = small_dataset(tmp_path)
    assert place.curation("doctor").returncode in (0, 1)  # makes Dagster's tables, before two look at them at once
    with DagsterInstance.from_config(str(place.home)) as instance:

        def slots(held: bool) -> set[str]:
            return {s.run_id for s in dead_runs.slots(instance) if s.pool == POOL and s.held is held}

        holder = run(place)
        while not slots(held=True):
            assert holder.poll() is None
            time.sleep(0.02)
        (holding,) = slots(held=True)
        (working,) = {h.process.pid for h in dead_runs.holders(instance) if h.run_id == holding and h.process}
        os.kill(working, signal.SIGSTOP)  # it lives, and does not come to an end
        try:
            waiting = run(place, "--select", "clips", "--force")
            while not slots(held=False):
                assert waiting.poll() is None
                time.sleep(0.02)
            (waiter,) = slots(held=False)
            if how == signal.SIGINT:
                assert waiting.stderr is not None
                while f"for pool {POOL}, held by run {holding[:8]}" not in (line := waiting.stderr.readline()):
                    assert line, "it ended without a word about whom it waits for"
                waiting.send_signal(how)
                out, err = waiting.communicate(timeout=120)
                assert waiting.returncode == 128 + how, out + err
                assert slots(held=False) == set()
                ended = instance.get_run_by_id(waiter)
                assert ended is not None
                assert ended.is_finished
            else:
                kill_group(waiting)
            assert slots(held=True) == {holding}, "who lives keeps what it holds"
        finally:
            os.kill(working, signal.SIGCONT)
        out, err = holder.communicate(timeout=240)
        assert holder.returncode == 0, out + err
        done = place.curation("run", str(place.root / "recipes/pair.yaml"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert slots(held=True) | slots(held=False) == set()
        assert faults(place, Storage(place.data)) == []
